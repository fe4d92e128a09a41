-- The auditor and the bypass read domain tables; those that exist already are opened to them. Runs as fx_owner.
-- Tables that come later are opened by fx.protect.
do $$
declare
  relation text;
begin
  for relation in select t.table_name from fx.tables t where t.kind = 'tenant' and t.table_name <> 'audit_entries' loop
    perform fx.admit_readers(relation);
  end loop;
end $$;
