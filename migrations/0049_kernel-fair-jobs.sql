-- A queue that no tenant can keep from the others. Runs as fx_owner.

-- The worker goes from tenant to tenant: one probe each, however many jobs stand in between. An index that begins with
-- the time instead would lead it through all that a busy tenant has waiting, so there is none.
drop index ops.jobs_due;
drop index ops.jobs_of_tenant;
create index jobs_of_turn on ops.jobs (tenant_id, run_at) where state = 'READY';

-- Never while the last one is unfinished.
create unique index jobs_one_periodic on ops.jobs (tenant_id, name) where state = 'READY' and payload ? 'every_seconds';

-- One row that the worker cannot read, add up or compare would keep it from all others.
alter table ops.jobs
  add check (length(id) <= 100), add check (length(name) <= 100), add check (length(dedupe_key) <= 1000),
  add check (octet_length(payload::text) <= 65536), add check (attempts <= 1000000),
  add check (run_at between timestamptz '2000-01-01 00:00Z' and timestamptz '2200-01-01 00:00Z'),
  add check (first_run_at between timestamptz '2000-01-01 00:00Z' and timestamptz '2200-01-01 00:00Z');

-- A tenant promises jobs and completes them. Leases, tries and what went wrong are the worker's.
revoke insert, update on ops.jobs from fx_app;
grant insert (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at),
      update (state, finished_at, leased_until, last_error) on ops.jobs to fx_app;

-- When each periodic job of each tenant falls due next. The worker's alone.
create table ops.periodic_turns (
  tenant_id  text not null,
  name       text not null,
  due_at     timestamptz not null,
  resting    boolean not null, -- nothing is open there: it falls due rarely, until a job of the tenant runs
  woken_at   timestamptz,      -- the database's own clock
  primary key (tenant_id, name)
);
create index periodic_turns_due on ops.periodic_turns (due_at);
alter table ops.periodic_turns enable row level security;
alter table ops.periodic_turns force row level security;
grant select, insert, update, delete on ops.periodic_turns to fx_worker;
create policy worker_keeps on ops.periodic_turns for all to fx_worker using (true) with check (true);
