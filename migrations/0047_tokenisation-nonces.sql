-- A nonce is given out only together with a promise of the same transaction (TK-12). Runs as fx_owner. Our senders sign
-- for all tenants: a nonce that nothing is sent with stops everybody behind it, so no tenant's SQL may take one alone,
-- claim one for later, or say how far the chain has come.
alter table ops.chain_senders
  add column mined bigint not null default 0 check (mined between 0 and next_nonce), -- the chain's own count, as last told
  add column taken_by xid8, -- the transaction that took the newest ones,
  add column taken_from bigint, -- and the first of those
  add check (next_nonce <= 9007199254740991);
alter table ops.chain_senders alter column mined drop default;
grant select (sender, next_nonce, mined) on ops.chain_senders to fx_auditor;

drop function fx.next_nonce(text, bigint);
create function fx.next_nonce(of_sender text) returns bigint
language plpgsql security definer set search_path = '' as $$
-- Take the sender's next nonce. Its row stays locked until the transaction ends, which it does well only with a promise
-- that has the nonce: fx.nonce_has_its_promise.
declare
  me xid8 := pg_current_xact_id();
  taken bigint;
begin
  if fx.tenant() is null then raise exception 'no tenant is pinned' using errcode = '42501'; end if;
  insert into ops.chain_senders (sender, next_nonce, mined) values (of_sender, 0, 0) on conflict (sender) do nothing;
  update ops.chain_senders s
     set next_nonce = s.next_nonce + 1, taken_by = me,
         taken_from = case when s.taken_by = me then s.taken_from else s.next_nonce end
   where s.sender = of_sender returning s.next_nonce - 1 into strict taken;
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
