-- The worker learns from the table whom it works for: ids and states, nothing that was agreed. Runs as fx_owner.
grant select (tenant_id, state) on app.tenants to fx_worker;
create policy worker_counts on app.tenants for select to fx_worker using (true);

-- Whether anything is open in a tenant at all is asked every few seconds.
create index invoices_open on app.invoices (tenant_id)
  where state not in ('REJECTED', 'DECLINED_BY_BUYER', 'WITHDRAWN', 'SETTLED');
