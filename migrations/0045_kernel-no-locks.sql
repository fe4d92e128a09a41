-- LOCK TABLE asks for UPDATE, DELETE, TRUNCATE or MAINTAIN on the table as a whole, and any of them allows every lock: one
-- tenant's SQL stopped all others with one statement. UPDATE of every column does the same work and locks nothing. Runs as
-- fx_owner. Later migrations grant UPDATE by columns (the ratchet holds them to it).
do $$
declare
  granted record;
begin
  for granted in
    select c.oid, c.oid::regclass as relation, a.grantee::regrole as login,
           (select string_agg(quote_ident(k.attname), ', ' order by k.attnum) from pg_attribute k
             where k.attrelid = c.oid and k.attnum > 0 and not k.attisdropped and k.attgenerated = '') as columns
      from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
     where n.nspname in ('app', 'ops', 'fx') and c.relkind in ('r', 'p') and a.privilege_type = 'UPDATE'
       and a.grantee::regrole::text in ('fx_app', 'fx_worker', 'fx_sealer', 'fx_auditor', 'fx_platform')
  loop
    execute format('revoke update on %s from %s', granted.relation, granted.login);
    execute format('grant update (%s) on %s to %s', granted.columns, granted.relation, granted.login);
  end loop;
end $$;
