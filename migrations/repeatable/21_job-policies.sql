-- module: kernel
-- Policies of jobs, idempotency keys and the inbox.
drop policy if exists tenant_only on ops.jobs;
-- A tenant leases nothing to itself, and what falls due by the clock is promised by the worker alone.
create policy tenant_only on ops.jobs for all to fx_app
  using (tenant_id = (select fx.tenant()))
  with check (tenant_id = (select fx.tenant()) and leased_until is null
              and not (state = 'READY' and payload ? 'every_seconds'));
drop policy if exists worker_claims on ops.jobs;
create policy worker_claims on ops.jobs for all to fx_worker using (true) with check (true);

drop policy if exists tenant_only on ops.idempotency_keys;
create policy tenant_only on ops.idempotency_keys for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));

drop policy if exists tenant_only on ops.inbox;
create policy tenant_only on ops.inbox for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
