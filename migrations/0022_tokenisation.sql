-- Receivables on the FinToken X Network (TK-*). Runs as fx_owner.
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
  primary key (tenant_id, id),
  unique (tenant_id, subject_id),
  unique (tenant_id, subject_id, address),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  check ((state = 'REGISTERED') = (claims > 0)),
  check ((state = 'REGISTERED') <= (registered_at is not null and claims_expire_at is not null))
);
select fx.protect('wallets', 'tokenisation', 'wallet');

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

-- One row per thing wanted of the chain; its business key makes it happen once (TK-12).
create table app.chain_tx (
  tenant_id        text not null,
  id               text not null,
  business_key     text not null check (length(business_key) between 1 and 200),
  kind             text not null check (kind in ('mint', 'transfer', 'burn', 'identity')),
  token_reference  text,
  wallet_id        text,
  resource         text not null,
  arguments        jsonb not null check (jsonb_typeof(arguments) = 'object'),
  state            text not null,
  sender           text check (sender ~ '^0x[0-9a-fA-F]{40}$'),
  nonce            bigint check (nonce between 0 and 9007199254740991),
  tx_hash          text check (tx_hash ~ '^0x[0-9a-f]{64}$'),
  raw              bytea,
  block_number     bigint check (block_number >= 0),
  revert_reason    text,
  promised_at      timestamptz not null,
  submitted_at     timestamptz,
  confirmed_at     timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, business_key),
  unique (sender, nonce), -- a nonce is used once, whoever uses it: senders are the platform's
  foreign key (tenant_id, token_reference) references app.tokens (tenant_id, reference),
  foreign key (tenant_id, wallet_id) references app.wallets (tenant_id, id),
  check ((kind = 'identity') = (wallet_id is not null)),
  check ((kind <> 'identity') = (token_reference is not null)),
  check ((sender is null) = (nonce is null)),
  check ((state = 'PROMISED') = (nonce is null)),
  check ((state in ('SIGNED', 'CONFIRMED', 'REVERTED', 'SUPERSEDED')) = (tx_hash is not null and raw is not null)),
  check ((state in ('CONFIRMED', 'REVERTED', 'SUPERSEDED')) = (block_number is not null)),
  check ((state = 'CONFIRMED') = (confirmed_at is not null)),
  check ((state in ('REVERTED', 'SUPERSEDED')) = (revert_reason is not null))
);
create unique index chain_tx_one_mint on app.chain_tx (tenant_id, token_reference) where kind = 'mint';
create unique index chain_tx_one_move_at_a_time on app.chain_tx (tenant_id, token_reference)
  where kind in ('transfer', 'burn') and state in ('PROMISED', 'RESERVED', 'SIGNED');
create unique index chain_tx_one_identity_at_a_time on app.chain_tx (tenant_id, wallet_id)
  where kind = 'identity' and state not in ('CONFIRMED', 'SUPERSEDED');
create index chain_tx_of_token on app.chain_tx (tenant_id, token_reference, id);
create index chain_tx_open on app.chain_tx (tenant_id, sender, nonce) where state in ('PROMISED', 'RESERVED', 'SIGNED');
create index chain_tx_to_repeat on app.chain_tx (tenant_id, submitted_at)
  where state = 'REVERTED' and kind in ('mint', 'burn');
select fx.protect('chain_tx', 'tokenisation', 'chain tx');

-- Where the walks look for a lost mint, a lost listing and lost claims; few invoices are between two steps at a time.
create index invoices_between_steps on app.invoices (tenant_id, reference) where state in ('CONFIRMED', 'TOKENISED');
create index subjects_that_may_hold on app.subjects (tenant_id, id)
  where state = 'ACTIVE' and role in ('lender', 'investor');

-- The next nonce per sending address. Not domain state and nobody's data: our senders sign for all tenants, and a
-- number must go to one transaction only. The function below is the only way to it.
create table ops.chain_senders (
  sender      text primary key check (sender ~ '^0x[0-9a-fA-F]{40}$'),
  next_nonce  bigint not null check (next_nonce >= 0)
);

create function fx.next_nonce(of_sender text, mined bigint) returns bigint
language plpgsql security definer set search_path = '' as $$
-- Take the sender's next nonce; its row stays locked until the transaction that records the use ends. `mined` is the
-- chain's own count: it starts the counter, and puts it right when the database was restored from a backup older than
-- the chain. A count far ahead of what is known is no count of ours: it would leave a gap that stops the sender for
-- everybody. Where it is true after all (a new database, an old sender), fx_owner writes the row by hand.
declare
  known bigint;
  taken bigint;
begin
  if fx.tenant() is null then raise exception 'no tenant is pinned' using errcode = '42501'; end if;
  insert into ops.chain_senders (sender, next_nonce) values (of_sender, 0) on conflict (sender) do nothing;
  select s.next_nonce into strict known from ops.chain_senders s where s.sender = of_sender for update;
  if mined is null or mined < 0 or mined > known + 1000 then
    raise exception 'the chain cannot have mined % of %, of whom % are known', mined, of_sender, known
      using errcode = 'FX023';
  end if;
  taken := greatest(known, mined);
  update ops.chain_senders set next_nonce = taken + 1 where sender = of_sender;
  return taken;
end $$;
grant execute on function fx.next_nonce(text, bigint) to fx_app;
