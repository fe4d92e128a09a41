-- module: audit
-- Policies of the entries, which fx.protect does not make. Never OR a bypass into a tenant policy (decisions §3).
drop policy if exists tenant_only on app.audit_entries;
create policy tenant_only on app.audit_entries for select to fx_app using (tenant_id = (select fx.tenant()));
drop policy if exists the_chain_sees_all on app.audit_entries;
create policy the_chain_sees_all on app.audit_entries for all to fx_linker using (true) with check (true);
drop policy if exists sealer_sees_hashes on app.audit_entries; -- column grants: seq, id, hash, batch
create policy sealer_sees_hashes on app.audit_entries for select to fx_sealer using (true);
drop policy if exists auditor_reads on app.audit_entries;
create policy auditor_reads on app.audit_entries for select to fx_auditor using (true);
-- An administrator who asks whose entry it is learns that, and not what it says.
grant select (tenant_id, id, seq, "timestamp", action, actor_role, resource) on app.audit_entries to fx_bypass;
drop policy if exists bypass_reads on app.audit_entries;
create policy bypass_reads on app.audit_entries for select to fx_bypass
  using (tenant_id = any ((select fx.bypass_tenants())::text[]));
drop function if exists fx.bypass_active(); -- which these policies asked before
