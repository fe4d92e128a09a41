-- Schemas, the tenant pin, the machines, jobs, idempotency. Runs as fx_owner.
-- app: domain tables (state = the fold of the record). ops: machinery that is not domain state. fx: functions.
create schema app authorization fx_owner;
create schema ops authorization fx_owner;
create schema fx authorization fx_owner;
grant create on schema fx to fx_writer, fx_linker; -- the owner of a function must be able to create it
grant usage on schema app, fx to fx_app, fx_writer, fx_linker, fx_worker, fx_sealer, fx_auditor, fx_platform, fx_bypass;
grant usage on schema ops to fx_app, fx_writer, fx_linker, fx_worker, fx_sealer;
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
  unique (tenant_id, name, dedupe_key)
);
create index jobs_due on ops.jobs (run_at) where state = 'READY';
create index jobs_of_tenant on ops.jobs (tenant_id, name);
alter table ops.jobs enable row level security;
alter table ops.jobs force row level security;
grant select, insert, update on ops.jobs to fx_app;
grant select, update on ops.jobs to fx_worker;
grant insert, delete on ops.jobs to fx_worker;

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
grant select, insert, update on ops.idempotency_keys to fx_app;

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
