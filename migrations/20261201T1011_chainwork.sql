-- module: chainwork
-- The chain-transaction engine: what is wanted of the FinToken X Network, and the nonces that its senders use (TK-12).
-- One row per thing wanted of the chain; its business key makes it happen once (TK-12).
create table app.chain_tx (
  tenant_id        text not null references app.tenants (tenant_id),
  id               text not null,
  business_key     text not null check (length(business_key) between 1 and 200),
  kind             text not null
                   check (kind in ('mint', 'transfer', 'burn', 'identity', 'flag', 'recovery', 'removal', 'refresh')),
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
  -- What a transaction is about: a token, or a wallet, or neither of them.
  check ((kind in ('identity', 'flag', 'recovery', 'removal')) = (wallet_id is not null)),
  check ((kind in ('mint', 'transfer', 'burn')) = (token_reference is not null)),
  check ((sender is null) = (nonce is null)),
  check ((state = 'PROMISED') = (nonce is null)),
  check ((state in ('SIGNED', 'CONFIRMED', 'REVERTED', 'SUPERSEDED')) = (tx_hash is not null and raw is not null)),
  check ((state in ('CONFIRMED', 'REVERTED', 'SUPERSEDED')) = (block_number is not null)),
  check ((state = 'CONFIRMED') = (confirmed_at is not null)),
  check ((state in ('REVERTED', 'SUPERSEDED')) = (revert_reason is not null)),
  -- That the chain's sanctions list is complete is confirmed by a promise like any other (CH-14, TK-12). There is one list:
  -- only the platform's own tenant confirms it, once at a time.
  constraint chain_tx_refresh_is_the_platforms check (kind <> 'refresh' or tenant_id = 'tnt_fintokenx')
);
create unique index chain_tx_one_mint on app.chain_tx (tenant_id, token_reference) where kind = 'mint';
create unique index chain_tx_one_move_at_a_time on app.chain_tx (tenant_id, token_reference)
  where kind in ('transfer', 'burn') and state in ('PROMISED', 'RESERVED', 'SIGNED');
create unique index chain_tx_one_word_of_a_wallet_at_a_time on app.chain_tx (tenant_id, wallet_id)
  where kind in ('identity', 'flag') and state not in ('CONFIRMED', 'SUPERSEDED');
create unique index chain_tx_one_step_of_a_recovery_at_a_time on app.chain_tx (tenant_id, wallet_id)
  where kind in ('recovery', 'removal') and state <> 'CONFIRMED';
create unique index chain_tx_one_refresh_at_a_time on app.chain_tx (tenant_id, resource)
  where kind = 'refresh' and state not in ('CONFIRMED', 'SUPERSEDED');
create index chain_tx_of_token on app.chain_tx (tenant_id, token_reference, id);
create index chain_tx_open on app.chain_tx (tenant_id, sender, nonce) where state in ('PROMISED', 'RESERVED', 'SIGNED');
create index chain_tx_to_repeat on app.chain_tx (tenant_id, submitted_at)
  where state = 'REVERTED' and kind in ('mint', 'burn', 'recovery', 'removal');
select fx.protect('chain_tx', 'chainwork', 'chain tx');

-- The next nonce per sending address. Not domain state and nobody's data: our senders sign for all tenants, and a number
-- must go to one transaction only. It is given out only together with a promise of the same transaction (TK-12): a nonce
-- that nothing is sent with stops everybody behind it, so no tenant's SQL may take one alone, claim one for later, or say
-- how far the chain has come. The functions below are the only way to it.
create table ops.chain_senders (
  sender      text primary key check (sender ~ '^0x[0-9a-fA-F]{40}$'),
  next_nonce  bigint not null check (next_nonce >= 0),
  mined       bigint not null check (mined between 0 and next_nonce), -- the chain's own count, as last told
  taken_by    xid8, -- the transaction that took the newest ones,
  taken_from  bigint, -- and the first of those
  check (next_nonce <= 9007199254740991)
);
grant select (sender, next_nonce, mined) on ops.chain_senders to fx_auditor;

-- A nonce is given out for a sender of the platform only: one whose count on the chain the worker has told, which it does
-- before it has a transaction of that sender numbered. A tenant's SQL could name a stranger, or one of ours in other
-- letters, and leave rows, and work for whoever looks after senders.
create function fx.next_nonce(of_sender text) returns bigint
language plpgsql security definer set search_path = '' as $$
-- Take the sender's next nonce. Its row stays locked until the transaction ends, which it does well only with a promise
-- that has the nonce: fx.nonce_has_its_promise.
declare
  me xid8 := pg_current_xact_id();
  taken bigint;
begin
  if fx.tenant() is null then raise exception 'no tenant is pinned' using errcode = '42501'; end if;
  update ops.chain_senders s
     set next_nonce = s.next_nonce + 1, taken_by = me,
         taken_from = case when s.taken_by = me then s.taken_from else s.next_nonce end
   where s.sender = of_sender returning s.next_nonce - 1 into taken;
  if not found then raise exception '% is no sender of the platform', of_sender using errcode = 'FX026'; end if;
  return taken;
end $$;
grant execute on function fx.next_nonce(text) to fx_app;

create function fx.nonce_has_its_promise() returns trigger
language plpgsql security definer set search_path = '' as $$
begin -- at COMMIT, under the pin of whoever took it
  if not exists (select from app.chain_tx c
                  where c.sender = new.sender and c.nonce = new.next_nonce - 1
                    and c.state in ('RESERVED', 'SIGNED', 'CONFIRMED')) then
    raise exception 'nonce % of % was taken for no promise', new.next_nonce - 1, new.sender using errcode = 'FX024';
  end if;
  return null;
end $$;
alter function fx.nonce_has_its_promise() owner to fx_writer;
create constraint trigger a_goes_to_a_promise after update of taken_by on ops.chain_senders
  deferrable initially deferred for each row execute function fx.nonce_has_its_promise();
alter table ops.chain_senders enable always trigger a_goes_to_a_promise;

create function fx.nonce_was_given() returns trigger
language plpgsql security definer set search_path = '' as $$
-- A promise has the nonce that this transaction took. A confirmation may name one that the chain has used: it found a
-- transaction of an earlier life of the database.
begin
  if not exists (select from ops.chain_senders s
                  where s.sender = new.sender
                    and case when s.taken_by = pg_current_xact_id()
                              and new.nonce between s.taken_from and s.next_nonce - 1 then true
                             else new.state = 'CONFIRMED' and new.nonce < s.mined end) then
    raise exception 'nonce % of % was not given to this promise', new.nonce, new.sender using errcode = 'FX025';
  end if;
  return new;
end $$;
grant execute on function fx.nonce_was_given() to fx_writer;
create trigger b_nonce_was_given before insert on app.chain_tx
  for each row when (new.nonce is not null) execute function fx.nonce_was_given();
create trigger b_nonce_was_given_anew before update on app.chain_tx
  for each row when (new.nonce is not null and (new.sender, new.nonce) is distinct from (old.sender, old.nonce))
  execute function fx.nonce_was_given();
alter table app.chain_tx enable always trigger b_nonce_was_given;
alter table app.chain_tx enable always trigger b_nonce_was_given_anew;

create function fx.sender_has_mined(of_sender text, count bigint) returns void
language plpgsql security definer set search_path = '' as $$
-- The chain's own count: it starts the counter, and puts it right when the database was restored from a backup older than
-- the chain. For the login that claims jobs, which runs no tenant's SQL. A count far ahead of what is known is no count of
-- ours; where it is true after all (a new database, an old sender), fx_owner writes the row by hand.
declare
  known bigint;
begin
  insert into ops.chain_senders (sender, next_nonce, mined) values (of_sender, 0, 0) on conflict (sender) do nothing;
  select s.next_nonce into strict known from ops.chain_senders s where s.sender = of_sender for update;
  if count is null or count < 0 or count > known + 1000 then
    raise exception 'the chain cannot have mined % of %, of whom % are known', count, of_sender, known
      using errcode = 'FX023';
  end if;
  update ops.chain_senders s set mined = greatest(s.mined, count), next_nonce = greatest(s.next_nonce, count)
   where s.sender = of_sender and s.mined < count;
end $$;
grant execute on function fx.sender_has_mined(text, bigint) to fx_worker;
