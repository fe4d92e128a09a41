-- A nonce is given out for a sender of the platform only: one whose count on the chain the worker has told, which it does
-- before it has a transaction of that sender numbered. A tenant's SQL could name a stranger, or one of ours in other
-- letters, and leave rows, and work for whoever looks after senders. Runs as fx_owner.
create or replace function fx.next_nonce(of_sender text) returns bigint
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

-- One SQLSTATE, one meaning: FX023 is a count that no chain of ours can have (fx.sender_has_mined).
create or replace function fx.claims_rest_on_the_subjects_check() returns trigger
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
