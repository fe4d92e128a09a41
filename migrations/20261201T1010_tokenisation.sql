-- module: tokenisation
-- Receivables on the FinToken X Network (TK-*).
create table app.wallets (
  tenant_id         text not null,
  id                text not null,
  subject_id        text not null,
  address           text not null unique check (address ~ '^0x[0-9a-fA-F]{40}$'), -- on chain there is one namespace
  key_name          text not null,
  claims            integer not null check (claims between 0 and 31),
  claims_expire_at  timestamptz,
  state             text not null,
  created_at        timestamptz not null,
  registered_at     timestamptz,
  flagged_at        timestamptz, -- since when SanctionsRule names it (CH-14)
  checked_at        timestamptz, -- of the checks behind the claims that it has (CH-16)
  primary key (tenant_id, id),
  unique (tenant_id, subject_id, address),
  unique (tenant_id, subject_id, id),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  constraint wallets_check check (state = 'LOST' or (state = 'REGISTERED') = (claims > 0)),
  constraint wallets_check1 check ((state = 'REGISTERED') <= (registered_at is not null and claims_expire_at is not null)),
  -- A claim on chain is never younger than the check behind it: it ends a year (365 days) after that check, whenever it was
  -- written (CH-16).
  constraint wallets_claims_rest_on_a_check
    check (claims = 0 or (checked_at is not null and claims_expire_at <= checked_at + interval '8760 hours'))
);
-- A subject has one wallet that is in use; those that it lost stay as history, for entries and chain name them (CH-17).
create unique index wallets_one_in_use on app.wallets (tenant_id, subject_id) where state not in ('LOST', 'RETIRED');
select fx.protect('wallets', 'tokenisation', 'wallet');

create function fx.claims_rest_on_the_subjects_check() returns trigger
language plpgsql set search_path = '' as $$
begin -- no claim names a check that its subject has not passed
  if new.checked_at is not null and not exists (
    select from app.subjects s
     where s.tenant_id = new.tenant_id and s.id = new.subject_id and s.cleared_at >= new.checked_at)
  then
    raise exception 'the claims of wallet % rest on no check of its subject', new.id using errcode = 'FX027';
  end if;
  return new;
end $$;
grant execute on function fx.claims_rest_on_the_subjects_check() to fx_writer;
create trigger b_claims_rest_on_a_check before insert or update of checked_at, claims, claims_expire_at on app.wallets
  for each row execute function fx.claims_rest_on_the_subjects_check();
alter table app.wallets enable always trigger b_claims_rest_on_a_check;

create table app.tokens (
  tenant_id          text not null,
  reference          text not null unique check (reference ~ '^FXR-INV-[0-9A-HJKMNP-TV-Z]{5,7}$'), -- TK-06: for ever
  invoice_reference  text not null,
  obligor_id         text not null,
  token_id_hex       text not null unique check (token_id_hex ~ '^0x[0-9a-f]{64}$'),
  contract_address   text check (contract_address ~ '^0x[0-9a-fA-F]{40}$'),
  face_pence         bigint not null check (face_pence between 1 and 9007199254740991),
  due_date           date not null,
  document_sha256    text not null check (document_sha256 ~ '^[0-9a-f]{64}$'),
  state              text not null,
  holder_subject_id  text,
  holder_wallet      text check (holder_wallet ~ '^0x[0-9a-fA-F]{40}$'),
  requested_at       timestamptz not null,
  minted_at          timestamptz,
  burned_at          timestamptz,
  burn_tx            text check (burn_tx ~ '^0x[0-9a-f]{64}$'),
  primary key (tenant_id, reference),
  unique (tenant_id, invoice_reference),
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  foreign key (tenant_id, obligor_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, holder_subject_id, holder_wallet) references app.wallets (tenant_id, subject_id, address),
  check ((state = 'BURNED') = (burned_at is not null and burn_tx is not null)), -- TK-08
  check ((burned_at is null) = (burn_tx is null)),
  check ((state in ('REQUESTED', 'PENDING_MINT', 'MINT_SUBMITTED', 'MINT_ABANDONED')) = (minted_at is null)),
  check ((minted_at is null) = (holder_wallet is null)),
  check (contract_address is not null or state in ('REQUESTED', 'PENDING_MINT', 'MINT_ABANDONED')),
  check (state <> 'HELD' or holder_subject_id is not null),
  check (state <> 'MINTED' or holder_subject_id is null)
);
create index tokens_of_holder on app.tokens (tenant_id, holder_subject_id, obligor_id) where holder_subject_id is not null;
select fx.protect('tokens', 'tokenisation', 'token');
select fx.may_be_asked('token', 'tokens', 'reference');

create function fx.token_identity_is_fixed() returns trigger language plpgsql set search_path = '' as $$
begin -- what was minted stands on chain and cannot be said differently here
  if (new.tenant_id, new.reference, new.invoice_reference, new.token_id_hex, new.face_pence, new.due_date, new.document_sha256)
     is distinct from
     (old.tenant_id, old.reference, old.invoice_reference, old.token_id_hex, old.face_pence, old.due_date, old.document_sha256)
  then
    raise exception 'what token % stands for is final', old.reference using errcode = 'FX021';
  end if;
  return new;
end $$;
grant execute on function fx.token_identity_is_fixed() to fx_writer;
create trigger b_identity_is_fixed before update on app.tokens
  for each row execute function fx.token_identity_is_fixed();
alter table app.tokens enable always trigger b_identity_is_fixed;

-- A whole token has no slices: its holder stands on its own row. Slices come with fractionalisation (TK-09).
create table app.slices (
  tenant_id          text not null,
  id                 text not null,
  token_reference    text not null,
  index              integer not null check (index >= 0),
  face_pence         bigint not null check (face_pence between 1 and 9007199254740991),
  holder_subject_id  text not null,
  holder_wallet      text not null,
  primary key (tenant_id, id),
  unique (tenant_id, token_reference, index),
  foreign key (tenant_id, token_reference) references app.tokens (tenant_id, reference),
  foreign key (tenant_id, holder_subject_id, holder_wallet) references app.wallets (tenant_id, subject_id, address) -- TK-10
);
create index slices_of_holder on app.slices (tenant_id, holder_subject_id);
select fx.protect('slices', 'tokenisation');

create function fx.slices_must_add_up() returns trigger language plpgsql set search_path = '' as $$
-- At COMMIT (TK-09): a fractionalised token is the sum of its slices, a whole one has none; after the burn they stay
-- as history. Argument 1: the column that names the token.
declare
  touched text;
  token record;
  sliced numeric;
begin
  foreach touched in array array[to_jsonb(old) ->> tg_argv[0], to_jsonb(new) ->> tg_argv[0]] loop
    select t.state, t.face_pence into token from app.tokens t
     where t.tenant_id = coalesce(new.tenant_id, old.tenant_id) and t.reference = touched;
    continue when not found;
    select coalesce(sum(s.face_pence), 0) into sliced from app.slices s
     where s.tenant_id = coalesce(new.tenant_id, old.tenant_id) and s.token_reference = touched;
    if (token.state = 'FRACTIONALISED' and sliced <> token.face_pence)
       or (token.state in ('BURN_PENDING', 'BURNED') and sliced not in (0, token.face_pence))
       or (token.state not in ('FRACTIONALISED', 'BURN_PENDING', 'BURNED') and sliced <> 0) then
      raise exception 'the slices of % do not add up to its face', touched using errcode = 'FX022';
    end if;
  end loop;
  return null;
end $$;
grant execute on function fx.slices_must_add_up() to fx_writer;
create constraint trigger c_slices_add_up after insert or update or delete on app.slices
  deferrable initially deferred for each row execute function fx.slices_must_add_up('token_reference');
create constraint trigger c_slices_add_up after update on app.tokens
  deferrable initially deferred for each row execute function fx.slices_must_add_up('reference');

-- Recovery of a lost wallet (CH-17).
create table app.wallet_recoveries (
  tenant_id       text not null,
  id              text not null check (id ~ '^rec_[0-9a-z]{26}$'),
  subject_id      text not null,
  lost_wallet_id  text not null,
  new_wallet_id   text,
  case_id         text not null,
  reason          text not null check (length(reason) between 20 and 500),
  state           text not null,
  requested_at    timestamptz not null,
  requested_by    text not null,
  decided_at      timestamptz,
  decided_by      text,
  completed_at    timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id, lost_wallet_id) references app.wallets (tenant_id, subject_id, id),
  foreign key (tenant_id, subject_id, new_wallet_id) references app.wallets (tenant_id, subject_id, id), -- the same subject
  foreign key (tenant_id, case_id) references app.review_queue (tenant_id, id),
  unique (tenant_id, case_id),
  check (new_wallet_id <> lost_wallet_id),
  check (decided_by <> requested_by), -- four eyes
  check ((state = 'REQUESTED') = (decided_at is null)),
  check ((decided_at is null) = (decided_by is null)),
  check ((state in ('MOVING', 'RETIRING', 'COMPLETED')) = (new_wallet_id is not null)),
  check ((state = 'COMPLETED') = (completed_at is not null))
);
create unique index wallet_recoveries_one_open on app.wallet_recoveries (tenant_id, subject_id)
  where state not in ('DECLINED', 'COMPLETED');
create index wallet_recoveries_by_state on app.wallet_recoveries (tenant_id, state, id);
select fx.protect('wallet_recoveries', 'tokenisation', 'wallet recovery');
create trigger b_for_ever before delete on app.wallet_recoveries for each row execute function fx.deny();
alter table app.wallet_recoveries enable always trigger b_for_ever;
