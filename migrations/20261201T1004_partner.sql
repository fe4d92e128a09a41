-- module: partner
-- Under whose flag: tenants and their API keys (PA-02, PA-06).
create table app.tenants (
  tenant_id                   text primary key check (tenant_id ~ '^tnt_[a-z0-9_]{1,40}$'),
  display_name                text not null check (length(display_name) between 1 and 120),
  custom_domain               text unique check (custom_domain ~ '^[a-z0-9.-]{3,253}$'), -- public, so its uniqueness tells nothing
  theme                       jsonb not null check (jsonb_typeof(theme) = 'object'),
  plan                        text not null check (plan ~ '^[a-z_]{1,40}$'),
  scope_rules                 jsonb not null check (jsonb_typeof(scope_rules) = 'object'),
  mail_from                   text not null check (mail_from ~ '^[^@\s]+@[^@\s]+$'),
  collections_account_name    text not null check (length(collections_account_name) between 1 and 140),
  collections_sort_code       text not null check (collections_sort_code ~ '^[0-9]{6}$'),
  collections_account_number  text not null check (collections_account_number ~ '^[0-9]{8}$'),
  asking_discount_bps         integer not null check (asking_discount_bps between 1 and 5000),
  state                       text not null,
  opened_at                   timestamptz not null
);
select fx.protect('tenants', 'partner', 'tenant');
-- The worker learns from the table whom it works for: ids and states, nothing that was agreed.
grant select (tenant_id, state) on app.tenants to fx_worker;
create policy worker_counts on app.tenants for select to fx_worker using (true);

create table app.api_keys (
  tenant_id   text not null references app.tenants (tenant_id),
  id          text not null,
  name        text not null check (length(name) between 1 and 80),
  key_sha256  text not null check (key_sha256 ~ '^[0-9a-f]{64}$'), -- of 256 random bits: no salt, no stretching needed
  scopes      text[] not null check (cardinality(scopes) between 1 and 50),
  state       text not null,
  created_at  timestamptz not null,
  created_by  text not null,
  revoked_at  timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, key_sha256),
  check ((state = 'REVOKED') = (revoked_at is not null))
);
select fx.protect('api_keys', 'partner', 'api key');

-- When a key was last used is not domain state: it would make every read an entry of the record.
create table ops.api_key_use (
  tenant_id     text not null,
  key_id        text not null,
  last_used_at  timestamptz not null,
  primary key (tenant_id, key_id),
  foreign key (tenant_id, key_id) references app.api_keys (tenant_id, id)
);
alter table ops.api_key_use enable row level security;
alter table ops.api_key_use force row level security;
create policy tenant_only on ops.api_key_use for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select, insert, update (tenant_id, key_id, last_used_at) on ops.api_key_use to fx_app;
