-- A claim on chain is never younger than the check behind it: it ends a year (365 days) after that check, whenever it
-- was written (CH-16). Runs as fx_owner. Rows that stood before are held to it when they next change.
alter table app.wallets add column checked_at timestamptz; -- of the checks behind the claims that it has
alter table app.wallets add constraint wallets_claims_rest_on_a_check
  check (claims = 0 or (checked_at is not null and claims_expire_at <= checked_at + interval '8760 hours')) not valid;

create function fx.claims_rest_on_the_subjects_check() returns trigger language plpgsql set search_path = '' as $$
begin -- no claim names a check that its subject has not passed
  if new.checked_at is not null and not exists (
    select from app.subjects s
     where s.tenant_id = new.tenant_id and s.id = new.subject_id and s.cleared_at >= new.checked_at)
  then
    raise exception 'the claims of wallet % rest on no check of its subject', new.id using errcode = 'FX023';
  end if;
  return new;
end $$;
grant execute on function fx.claims_rest_on_the_subjects_check() to fx_writer;
create trigger b_claims_rest_on_a_check before insert or update of checked_at, claims, claims_expire_at on app.wallets
  for each row execute function fx.claims_rest_on_the_subjects_check();
alter table app.wallets enable always trigger b_claims_rest_on_a_check;
