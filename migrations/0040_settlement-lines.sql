-- One line of a statement stays one line under whatever a bank shows of it (SE-10, ADR 0014). Runs as fx_owner.
alter table app.reconciliations drop constraint reconciliations_kind_check;
alter table app.reconciliations add constraint reconciliations_kind_check
  check (kind in ('funding', 'return', 'seller_credit', 'collection', 'nothing', 'doubt', 'repeat'));
alter table app.reconciliations drop constraint reconciliations_method_check;
alter table app.reconciliations add constraint reconciliations_method_check check (method in ('AIS', 'FPS'));
alter table app.reconciliations add column repeat_of text; -- of a 'repeat': the line that it is, by a person's word
alter table app.reconciliations add foreign key (tenant_id, repeat_of) references app.reconciliations (tenant_id, id);
alter table app.reconciliations add constraint reconciliations_repeat_check
  check ((kind = 'repeat') = (repeat_of is not null) and repeat_of <> id);

-- Everything that a line was ever shown as. Of a narration only its length and a digest: people write names there.
create table app.line_forms (
  tenant_id         text not null,
  id                text not null check (id ~ '^frm_[0-9a-z]{26}$'),
  line_id           text not null,
  account           text not null check (account ~ '^[0-9]{14}$'),
  amount_pence      bigint not null check (amount_pence between 0 and 9007199254740991),
  source            text not null check (source in ('AIS', 'FPS')),
  transaction_id    text check (length(transaction_id) between 1 and 210), -- null: none shown, or known of the line before
  booked_at         timestamptz not null,
  narration_length  integer not null check (narration_length between 0 and 1500),
  narration_sha256  text not null check (narration_sha256 ~ '^[0-9a-f]{64}$'),
  bank_reference    text not null check (length(bank_reference) <= 210),
  end_to_end_id     text not null check (length(end_to_end_id) <= 210),
  seen_at           timestamptz not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, line_id) references app.reconciliations (tenant_id, id)
);
create unique index line_forms_one_line_per_id on app.line_forms (tenant_id, account, source, transaction_id)
  where transaction_id is not null;
create index line_forms_of_line on app.line_forms (tenant_id, line_id);
create index line_forms_by_time on app.line_forms (tenant_id, account, booked_at);
select fx.protect('line_forms', 'settlement');
create trigger b_for_ever before update or delete on app.line_forms for each row execute function fx.deny();

-- A line that may be a known one and is not surely so: not booked until a person has said which.
create table app.line_doubts (
  tenant_id   text not null,
  line_id     text not null,
  may_be      jsonb not null check (jsonb_typeof(may_be) = 'array' and jsonb_array_length(may_be) > 0), -- ids of lines
  state       text not null,
  opened_at   timestamptz not null,
  decided_at  timestamptz,
  decided_by  text,
  primary key (tenant_id, line_id),
  foreign key (tenant_id, line_id) references app.reconciliations (tenant_id, id),
  check ((state = 'OPEN') = (decided_at is null)),
  check ((decided_at is null) = (decided_by is null))
);
create index line_doubts_by_state on app.line_doubts (tenant_id, state, line_id);
select fx.protect('line_doubts', 'settlement', 'line_doubt');
create trigger b_for_ever before delete on app.line_doubts for each row execute function fx.deny();
