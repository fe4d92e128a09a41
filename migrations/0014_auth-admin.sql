-- Administrators: the sessions in which they come in, and the grants of the bypass. Runs as fx_owner.
-- tenant_id is the tenant acted upon, so that its partner sees who came in, for whom and why. The administrators
-- themselves are staff of tnt_fintokenx.
create table app.admin_sessions (
  tenant_id     text not null,
  id            text not null check (id ~ '^ads_[0-9a-z]{26}$'),
  purpose       text not null check (purpose in ('ACT', 'BYPASS')),
  on_behalf_of  text not null, -- AD-16, AD-19: a subject of this tenant
  reason        text not null check (length(btrim(reason)) between 20 and 500), -- staff text
  state         text not null,
  requested_by  text not null check (requested_by ~ '^sub_[0-9a-z]{26}$'),
  requested_at  timestamptz not null,
  approved_by   text check (approved_by ~ '^sub_[0-9a-z]{26}$'),
  approved_at   timestamptz,
  opened_at     timestamptz,
  expires_at    timestamptz, -- from when it is opened
  closed_at     timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, on_behalf_of) references app.subjects (tenant_id, id),
  check (approved_by <> requested_by), -- four eyes
  check ((approved_by is null) = (approved_at is null)),
  check ((opened_at is null) = (expires_at is null)),
  check (expires_at > opened_at and expires_at <= opened_at + interval '15 minutes'),
  check (opened_at is null or approved_at is not null),
  check (state <> 'REQUESTED' or approved_at is null),
  check (state <> 'APPROVED' or (approved_at is not null and opened_at is null)),
  check (state not in ('OPEN', 'CLOSED') or opened_at is not null),
  check ((state = 'CLOSED') = (closed_at is not null))
);
select fx.protect('admin_sessions', 'auth', 'admin session');
create index admin_sessions_open on app.admin_sessions (tenant_id, requested_by, on_behalf_of) where state = 'OPEN';

create function fx.admin_session_is_fixed() returns trigger language plpgsql set search_path = '' as $$
begin -- what was approved is what is opened
  if (new.tenant_id, new.id, new.purpose, new.on_behalf_of, new.reason, new.requested_by, new.requested_at)
     is distinct from
     (old.tenant_id, old.id, old.purpose, old.on_behalf_of, old.reason, old.requested_by, old.requested_at)
     or (old.approved_at is not null
         and (new.approved_by, new.approved_at) is distinct from (old.approved_by, old.approved_at))
     or (old.opened_at is not null
         and (new.opened_at, new.expires_at) is distinct from (old.opened_at, old.expires_at)) then
    raise exception 'what admin session % is for is fixed', old.id using errcode = 'FX033';
  end if;
  return new;
end $$;
grant execute on function fx.admin_session_is_fixed() to fx_writer;
create trigger b_admin_session_is_fixed before update on app.admin_sessions
  for each row execute function fx.admin_session_is_fixed();
alter table app.admin_sessions enable always trigger b_admin_session_is_fixed;

-- A leave to read across tenants: for one server process, for a minute. Not domain state: the entry is what counts.
create table ops.bypass_grants (
  entry_id       text primary key,
  tenant_id      text not null,
  admin_session  text not null,
  backend_pid    integer not null,
  backend_start  timestamptz not null,
  xid            xid8 not null, -- of the transaction that made it, which sees nothing by it
  granted_at     timestamptz not null,
  expires_at     timestamptz not null check (expires_at > granted_at and expires_at <= granted_at + interval '60 seconds'),
  closed_at      timestamptz
);
create unique index bypass_grants_one_live_per_process on ops.bypass_grants (backend_pid, backend_start) where closed_at is null;
alter table ops.bypass_grants enable row level security;
alter table ops.bypass_grants force row level security;

-- fx_fingerprint runs nothing but the functions of 15_bypass.sql; it sees what they must judge.
grant usage on schema app, fx, ops to fx_fingerprint;
grant select, insert, update (closed_at) on ops.bypass_grants to fx_fingerprint;
create policy fingerprint_keeps on ops.bypass_grants for all to fx_fingerprint using (true) with check (true);
grant select on app.admin_sessions to fx_fingerprint;
create policy fingerprint_judges on app.admin_sessions for select to fx_fingerprint using (true);
grant select (tenant_id, id, role, state) on app.subjects to fx_fingerprint;
create policy fingerprint_judges on app.subjects for select to fx_fingerprint using (role = 'platform_admin');
grant select (id, action) on app.audit_entries to fx_fingerprint;
create policy fingerprint_judges on app.audit_entries for select to fx_fingerprint using (action = 'RBAC_BYPASS');
grant execute on function fx.change(text, timestamptz, text, text, text, text, text, text, json) to fx_fingerprint;

-- Which time step of a factor was used last, and how often its code was tried: machinery like login codes (AU-11).
create table ops.mfa_tries (
  tenant_id    text not null,
  factor_id    text not null,
  last_step    bigint, -- of RFC 6238: a code is accepted once
  window_from  timestamptz not null,
  attempts     integer not null check (attempts >= 0),
  primary key (tenant_id, factor_id)
);
alter table ops.mfa_tries enable row level security;
alter table ops.mfa_tries force row level security;
create policy tenant_only on ops.mfa_tries for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select, insert, update on ops.mfa_tries to fx_app;
