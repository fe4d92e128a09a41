-- One SQLSTATE, one meaning: FX010 is a subject whose role or tenant would change. Runs as fx_owner.
create or replace function fx.journal_must_balance() returns trigger
language plpgsql set search_path = '' as $$
-- Runs as fx_writer, under the tenant's pin. A posted line is final: corrections are contra journals.
begin
  if (select sum(l.debit_pence) <> sum(l.credit_pence) from app.journal_lines l
       where l.tenant_id = new.tenant_id and l.journal_id = new.journal_id) then
    raise exception 'journal % does not balance', new.journal_id using errcode = 'FX015';
  end if;
  return null;
end $$;
