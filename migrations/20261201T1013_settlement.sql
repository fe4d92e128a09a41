-- module: settlement
-- Money on its way (SE-01 … SE-18).
create table app.disbursements (
  tenant_id               text not null,
  id                      text not null check (id ~ '^dis_[0-9a-z]{26}$'),
  listing_id              text not null,
  invoice_reference       text not null,
  token_reference         text not null,
  lender_subject_id       text not null,
  seller_subject_id       text not null,
  face_pence              bigint not null check (face_pence between 1 and 9007199254740991),
  discount_bps            integer not null check (discount_bps between 1 and 5000),
  discount_pence          bigint not null check (discount_pence between 0 and 9007199254740991),
  net_advance_pence       bigint not null check (net_advance_pence between 1 and 100000000), -- one Faster Payment
  state                   text not null,
  fps_ref                 text,
  payout_fps_ref          text,
  refund_fps_ref          text,
  chain_tx_hash           text check (chain_tx_hash ~ '^0x[0-9a-f]{64}$'),
  end_reason              text,
  committed_at            timestamptz not null,
  paid_out_at             timestamptz,
  recon_alerted_at        timestamptz,
  seller_credit_acked_at  timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, listing_id) references app.primary_listings (tenant_id, id),
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  foreign key (tenant_id, token_reference) references app.tokens (tenant_id, reference),
  foreign key (tenant_id, lender_subject_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, seller_subject_id) references app.subjects (tenant_id, id),
  check (discount_pence + net_advance_pence = face_pence),
  check (discount_pence = ceil(face_pence::numeric * discount_bps / 10000)), -- the published formula (SE-08)
  check (state <> 'CLOSED' or seller_credit_acked_at is not null), -- SE-07
  check (state not in ('TOKEN_MOVED', 'SELLER_PAYOUT_SENT', 'CLOSED') or (fps_ref is not null and chain_tx_hash is not null)),
  check (state <> 'REFUNDED' or refund_fps_ref is not null)
);
create unique index disbursements_one_live_per_token on app.disbursements (tenant_id, token_reference)
  where state not in ('CANCELLED', 'REFUNDED'); -- SE-06
create index disbursements_of_invoice on app.disbursements (tenant_id, invoice_reference);
create index disbursements_on_their_way on app.disbursements (tenant_id, state)
  where state in ('COMMITTED', 'FIAT_FINAL', 'SELLER_PAYOUT_SENT'); -- what the net under lost jobs looks at
create index disbursements_of_lender on app.disbursements (tenant_id, lender_subject_id, state);
select fx.protect('disbursements', 'settlement', 'disbursement');

create function fx.onward_total(onward jsonb) returns bigint language sql immutable set search_path = '' as $$
select coalesce(sum((part ->> 'amount_pence')::bigint), 0)::bigint from pg_catalog.jsonb_array_elements(onward) as part
$$;
grant execute on function fx.onward_total(jsonb) to fx_writer;

create table app.collections (
  tenant_id            text not null references app.tenants (tenant_id),
  id                   text not null check (id ~ '^col_[0-9a-z]{26}$'),
  bank_transaction_id  text not null check (length(bank_transaction_id) between 1 and 210),
  invoice_reference    text,
  narration_match      text check (length(narration_match) <= 40), -- the recognised part only: the rest may name people
  match_method         text check (match_method in ('EXACT', 'NORMALISED')),
  amount_pence         bigint not null check (amount_pence between 1 and 9007199254740991),
  allocated_pence      bigint not null check (allocated_pence >= 0),
  refund_due_pence     bigint not null check (refund_due_pence >= 0),
  received_at          timestamptz not null,
  onward_payments      jsonb not null check (jsonb_typeof(onward_payments) = 'array'),
  state                text not null,
  primary key (tenant_id, id),
  unique (tenant_id, bank_transaction_id), -- SE-10
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  check ((invoice_reference is null) = (narration_match is null) and (invoice_reference is null) = (match_method is null)),
  check (fx.onward_total(onward_payments) = allocated_pence), -- SE-12: nothing is lost, nothing is made
  check (allocated_pence + refund_due_pence = case when state in ('MATCHED', 'UNMATCHED') then 0 else amount_pence end)
);
create index collections_by_state on app.collections (tenant_id, state, id);
create index collections_of_invoice on app.collections (tenant_id, invoice_reference);
select fx.protect('collections', 'settlement', 'collection');

create table app.payment_instructions (
  tenant_id                text not null,
  end_to_end_id            text not null check (end_to_end_id ~ '^[!-~]{1,35}$'),
  leg                      text not null,
  attempt                  integer not null check (attempt between 1 and 99),
  purpose                  text not null check (purpose in ('disbursement_in', 'payout', 'refund', 'onward')),
  disbursement_id          text,
  collection_id            text,
  invoice_reference        text not null,
  subject_id               text not null, -- the customer on the other side of the collections account
  debtor_name              text not null,
  debtor_sort_code         text not null check (debtor_sort_code ~ '^[0-9]{6}$'),
  debtor_account_number    text not null check (debtor_account_number ~ '^[0-9]{8}$'),
  creditor_name            text not null,
  creditor_sort_code       text not null check (creditor_sort_code ~ '^[0-9]{6}$'),
  creditor_account_number  text not null check (creditor_account_number ~ '^[0-9]{8}$'),
  amount_pence             bigint not null check (amount_pence between 1 and 100000000),
  reference                text not null check (length(reference) between 1 and 18),
  state                    text not null, -- SENT: the bank may have it; look it up before sending it again
  bank_ref                 text,
  reason_code              text,
  queued_at                timestamptz not null,
  sent_at                  timestamptz,
  concluded_at             timestamptz,
  primary key (tenant_id, end_to_end_id),
  unique (tenant_id, leg, attempt),
  foreign key (tenant_id, disbursement_id) references app.disbursements (tenant_id, id),
  foreign key (tenant_id, collection_id) references app.collections (tenant_id, id),
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  check ((disbursement_id is null) = (purpose = 'onward') and (collection_id is null) = (purpose <> 'onward')),
  check (state in ('QUEUED', 'HELD', 'CANCELLED') or sent_at is not null),
  check (state <> 'SETTLED' or (bank_ref is not null and concluded_at is not null))
);
create unique index payment_instructions_one_live_per_leg on app.payment_instructions (tenant_id, leg)
  where state in ('QUEUED', 'HELD', 'SENT', 'SETTLED'); -- a leg is paid once, whatever the code does
create index payment_instructions_of_invoice on app.payment_instructions (tenant_id, invoice_reference);
create index payment_instructions_by_reference on app.payment_instructions (tenant_id, reference);
create index payment_instructions_held on app.payment_instructions (tenant_id, subject_id) where state = 'HELD';
create index payment_instructions_on_their_way on app.payment_instructions (tenant_id, state, queued_at)
  where state in ('QUEUED', 'SENT');
create index payment_instructions_of_disbursement on app.payment_instructions (tenant_id, disbursement_id);
select fx.protect('payment_instructions', 'settlement', 'payment_instruction');

-- One line of a statement stays one line under whatever a bank shows of it (SE-10, ADR 0014).
-- Lines that a bank has shown us and what each of them is, so that no line counts twice.
create table app.reconciliations (
  tenant_id       text not null references app.tenants (tenant_id),
  id              text not null,
  account         text not null check (account ~ '^[0-9]{14}$'), -- sort code and account number
  transaction_id  text not null,
  amount_pence    bigint not null check (amount_pence between 0 and 9007199254740991),
  booked_at       timestamptz not null,
  kind            text not null
                  check (kind in ('funding', 'return', 'seller_credit', 'collection', 'nothing', 'doubt', 'repeat')),
  matched_to      text not null, -- an end-to-end id, the id of a collection, or of a line that carries no money itself
  method          text not null check (method in ('AIS', 'FPS')),
  reconciled_at   timestamptz not null,
  repeat_of       text, -- of a 'repeat': the line that it is, by a person's word
  primary key (tenant_id, id),
  unique (tenant_id, account, transaction_id),
  unique (tenant_id, kind, matched_to),
  foreign key (tenant_id, repeat_of) references app.reconciliations (tenant_id, id),
  check ((amount_pence = 0) = (kind = 'nothing')),
  constraint reconciliations_repeat_check check ((kind = 'repeat') = (repeat_of is not null) and repeat_of <> id)
);
create index reconciliations_newest on app.reconciliations (tenant_id, account, booked_at);
select fx.protect('reconciliations', 'settlement');

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

-- Since when an account's statement has not been read whole, so that a failing bank or a line that cannot be booked is
-- neither forgotten nor kept quiet. A row changes when a gap begins and when it ends, not with every reading.
create table app.statement_readings (
  tenant_id          text not null references app.tenants (tenant_id),
  account            text not null check (account ~ '^[0-9]{14}$'),
  gap_since          timestamptz,
  balance_gap_since  timestamptz, -- first of the tries that told no balance
  primary key (tenant_id, account)
);
select fx.protect('statement_readings', 'settlement');

-- The books against the bank's own balance (SE-17, ADR 0014).
-- What the bank has beyond the books (or lacks), while nothing that is on its way explains it.
create table app.balance_differences (
  tenant_id         text not null references app.tenants (tenant_id),
  id                text not null check (id ~ '^dif_[0-9a-z]{26}$'),
  account           text not null check (account ~ '^[0-9]{14}$'),
  bank_pence        bigint not null check (bank_pence between -9007199254740991 and 9007199254740991),
  books_pence       bigint not null check (books_pence between -9007199254740991 and 9007199254740991),
  state             text not null,
  opened_at         timestamptz not null,
  closed_at         timestamptz,
  primary key (tenant_id, id),
  check ((state = 'OPEN') = (closed_at is null)),
  check ((state = 'CLOSED') = (bank_pence = books_pence))
);
create unique index balance_differences_one_open on app.balance_differences (tenant_id, account) where state = 'OPEN';
select fx.protect('balance_differences', 'settlement', 'balance_difference');
create trigger b_for_ever before delete on app.balance_differences for each row execute function fx.deny();

-- Accounts of their own for buyers or programmes; a credit on one needs no narration. Not opened by any command yet.
create table app.virtual_accounts (
  tenant_id       text not null,
  id              text not null,
  obligor_id      text not null,
  sort_code       text not null check (sort_code ~ '^[0-9]{6}$'),
  account_number  text not null check (account_number ~ '^[0-9]{8}$'),
  opened_at       timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, sort_code, account_number),
  foreign key (tenant_id, obligor_id) references app.subjects (tenant_id, id)
);
select fx.protect('virtual_accounts', 'settlement');
