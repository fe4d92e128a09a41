-- module: kernel
-- Schemas, the tenant pin, the machines, jobs, idempotency.
-- app: domain tables (state = the fold of the record). ops: machinery that is not domain state. fx: functions.
create schema app authorization fx_owner;
create schema ops authorization fx_owner;
create schema fx authorization fx_owner;
grant create on schema fx to fx_writer, fx_linker; -- the owner of a function must be able to create it
grant usage on schema app, fx to fx_app, fx_writer, fx_linker, fx_worker, fx_sealer, fx_auditor, fx_platform, fx_bypass;
grant usage on schema ops to fx_app, fx_writer, fx_linker, fx_worker, fx_sealer, fx_auditor;
-- fx_fingerprint runs nothing but the functions of 15_bypass.sql; it sees what they must judge.
grant usage on schema app, fx, ops to fx_fingerprint;
alter default privileges in schema fx revoke execute on functions from public;
alter default privileges revoke execute on functions from public;

-- The tenant pin: `tenant.expires_unix.hmac_hex` in the setting fx.pin, verified inside every policy.
-- Only fx_owner's definer functions can read the key, so SQL that is injected cannot pin another tenant (TI-04).
create table fx.pin_keys (
  key_id      smallint primary key,
  inner_pad   bytea not null check (length(inner_pad) = 64),
  outer_pad   bytea not null check (length(outer_pad) = 64),
  retired_at  timestamptz
);

-- Machines as data: the tables in `transitions.py` are loaded here by `fintokenx db migrate`.
create table fx.machine_transitions (
  machine     text not null,
  from_state  text not null, -- '' = does not exist yet
  event       text not null,
  to_state    text not null,
  action      text not null,
  primary key (machine, from_state, event, to_state)
);
create index machine_transitions_lookup on fx.machine_transitions (machine, from_state, to_state, action);
grant select on fx.machine_transitions to fx_app, fx_auditor, fx_platform;

-- Which table belongs to whom, and whether it carries a tenant; the catalogue test reads it (P-02, TI-01).
create table fx.tables (
  table_name  text primary key,
  module      text not null,
  kind        text not null check (kind in ('tenant', 'platform')),
  machine     text
);
grant select on fx.tables to fx_app, fx_auditor, fx_platform;

-- Reference numbers: never reused, gaps allowed; the code a person sees is a keyed permutation of them.
create sequence fx.invoice_numbers as bigint;
create sequence fx.token_numbers as bigint;
grant usage on sequence fx.invoice_numbers, fx.token_numbers to fx_app;

-- Jobs and outbox. Not domain state: a job is a promise to call a command.
create table ops.jobs (
  id           text primary key,
  tenant_id    text not null,
  name         text not null,
  payload      jsonb not null,
  dedupe_key   text not null,
  state        text not null check (state in ('READY', 'DONE', 'DEAD')),
  run_at       timestamptz not null,
  attempts     integer not null check (attempts >= 0),
  first_run_at timestamptz,
  leased_until timestamptz,
  lease        text,
  last_error   text,
  created_at   timestamptz not null,
  finished_at  timestamptz,
  -- A name that nobody has declared is kept in the lane of what concerns the outside, until somebody knows it. Which
  -- names there are is said in kernel/jobs/lanes.py; a lane that no process serves is waited for.
  lane         text collate "C" not null check (length(lane) <= 40),
  unique (tenant_id, name, dedupe_key),
  -- One row that the worker cannot read, add up or compare would keep it from all others.
  check (length(id) <= 100),
  check (length(name) <= 100),
  check (length(dedupe_key) <= 1000),
  check (octet_length(payload::text) <= 65536),
  check (attempts <= 1000000),
  check (run_at between timestamptz '2000-01-01 00:00Z' and timestamptz '2200-01-01 00:00Z'),
  check (first_run_at between timestamptz '2000-01-01 00:00Z' and timestamptz '2200-01-01 00:00Z')
);
-- The worker goes from tenant to tenant within each lane: one probe each, however many jobs stand in between (ADR 0020).
-- An index that begins with the time instead would lead it through all that a busy tenant has waiting, so there is none.
create index jobs_of_lane on ops.jobs (lane, tenant_id, run_at) where state = 'READY';
-- Never while the last one is unfinished.
create unique index jobs_one_periodic on ops.jobs (tenant_id, name) where state = 'READY' and payload ? 'every_seconds';
alter table ops.jobs enable row level security;
alter table ops.jobs force row level security;
-- UPDATE is granted by columns, here and in every later file: with any privilege to change a table as a whole comes LOCK
-- TABLE, by which one tenant's SQL would stop all others with one statement (the ratchet holds migrations to it).
-- A tenant promises jobs and completes them. Leases, tries and what went wrong are the worker's.
grant select, insert (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at),
      update (state, finished_at, leased_until, last_error) on ops.jobs to fx_app;
grant select, insert, delete,
      update (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, first_run_at, leased_until, lease, last_error,
              created_at, finished_at, lane) on ops.jobs to fx_worker;

-- Which lane each name has, as the worker's code declares it; written when a worker starts. Nothing of a tenant.
create table ops.job_lanes (
  name  text primary key check (length(name) <= 100),
  lane  text collate "C" not null
);
grant select on ops.job_lanes to fx_app, fx_worker;
grant insert, update (lane) on ops.job_lanes to fx_worker;

-- A tenant's SQL does not choose: the lane is that of the name.
create function fx.lane_of_job() returns trigger language plpgsql set search_path = '' as $$
begin
  new.lane := coalesce((select l.lane from ops.job_lanes l where l.name = new.name), 'outbound');
  return new;
end $$;
create trigger a_lane before insert on ops.jobs for each row execute function fx.lane_of_job();
alter table ops.jobs enable always trigger a_lane;

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

-- Idempotency keys live and die with their effect: same transaction (P-10 … P-14).
create table ops.idempotency_keys (
  tenant_id      text not null,
  key            text not null check (length(key) between 1 and 255),
  principal      text not null,
  route          text not null,
  request_digest bytea not null, -- keyed: bodies hold personal data
  status         integer,
  headers        jsonb,
  body           bytea,
  created_at     timestamptz not null,
  primary key (tenant_id, key)
);
alter table ops.idempotency_keys enable row level security;
alter table ops.idempotency_keys force row level security;
grant select, insert,
      update (tenant_id, key, principal, route, request_digest, status, headers, body, created_at)
      on ops.idempotency_keys to fx_app;

-- Inbound webhooks that were verified, by the provider's event id: a second delivery is answered and starts nothing
-- (P-15). What it said is not kept: the job reads the resource again.
create table ops.inbox (
  tenant_id    text not null,
  provider     text not null,
  event_id     text not null,
  received_at  timestamptz not null,
  primary key (tenant_id, provider, event_id)
);
alter table ops.inbox enable row level security;
alter table ops.inbox force row level security;
grant select, insert on ops.inbox to fx_app;

-- Which questions there are: a reference, looked for in one column. The entry names the tenants that have it before
-- anybody sees a row; nobody can read what comes of it but the definers of 15_bypass.sql.
create table fx.lookups (
  question    text primary key check (length(question) between 1 and 40),
  table_name  text not null references fx.tables,
  key_column  text not null
);
grant select on fx.lookups to fx_fingerprint;

create function fx.may_be_asked(question text, relation text, key_column text) returns void
language plpgsql set search_path = '' as $$
-- Called by a migration for each question that an administrator may ask across tenants.
begin
  insert into fx.lookups values (question, relation, key_column);
  execute format('grant select (tenant_id, %I) on app.%I to fx_fingerprint', key_column, relation);
  execute format('create policy fingerprint_locates on app.%I for select to fx_fingerprint using (true)', relation);
end $$;
