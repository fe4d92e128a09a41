-- The administrator of the platform: acts for a customer in an open admin session only, and reads across tenants only
-- after the fingerprint of that has been committed (TI-07, TI-08, AD-16, AD-19, Q24). Runs before the modules' tables
-- exist, since their policies name fx.bypass_active: what the bodies name is made by 0014_auth-admin.sql.
--
-- The bypass takes two transactions of one connection of fx_platform. In one transaction it would have a hole: read,
-- then ROLLBACK, and the evidence is gone.
--   1. select fx.open_bypass(…); commit        the entry RBAC_BYPASS, and a grant for this server process, ≤ 60 s
--   2. begin read only; set local fx.bypass_rls = true; set local role fx_bypass; select …; commit
--   3. select fx.close_bypass()
grant create on schema fx to fx_fingerprint; -- the owner of a function must be able to create it

create or replace function fx.is_administrator(who text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
-- Administrators are staff of the platform's own tenant and of no other.
begin
  return exists (select from app.subjects s
                  where s.tenant_id = 'tnt_fintokenx' and s.id = who and s.role = 'platform_admin'
                    and s.state = 'ACTIVE');
end $$;
alter function fx.is_administrator(text) owner to fx_fingerprint;

create or replace function fx.admin_door_is_open(of_tenant text, session_id text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
-- Fifteen minutes by the database's own clock, whatever times an entry names.
begin
  return exists (select from ops.admin_doors d where d.tenant_id = of_tenant and d.admin_session = session_id
                    and d.opened_clock > clock_timestamp() - interval '15 minutes');
end $$;
alter function fx.admin_door_is_open(text, text) owner to fx_fingerprint;

create or replace function fx.refuse_unfit_administrator(
  entry_action text, customer_facing boolean, entry_actor text, entry_on_behalf_of text, entry_at timestamptz)
  returns void
language plpgsql security definer set search_path = '' as $$
-- Called by fx.change for actor_role platform_admin and for nobody else: on behalf of a customer, in an admin session
-- that another administrator approved, that is open, and that is for that very customer in the pinned tenant.
declare
  wanted text := case entry_action when 'RBAC_BYPASS' then 'BYPASS' else 'ACT' end;
begin
  if entry_on_behalf_of is null and not customer_facing and entry_action not like 'ADMIN\_SESSION\_%' then return; end if;
  if not fx.is_administrator(entry_actor) then
    raise exception 'the actor is not an active administrator of the platform' using errcode = 'FX030';
  end if;
  if entry_action like 'ADMIN\_SESSION\_%' then return; end if;
  if not exists (select from app.admin_sessions s
                  where s.tenant_id = (select fx.tenant()) and s.requested_by = entry_actor
                    and s.on_behalf_of = entry_on_behalf_of and s.purpose = wanted and s.state = 'OPEN'
                    and s.approved_by is distinct from entry_actor and s.expires_at > entry_at
                    and s.opened_at <= entry_at and fx.admin_door_is_open(s.tenant_id, s.id)) then
    raise exception 'no open admin session covers %', entry_action using errcode = 'FX031';
  end if;
  if wanted = 'BYPASS' and session_user <> 'fx_platform' then
    raise exception 'only fx.open_bypass records %', entry_action using errcode = 'FX032';
  end if;
end $$;
alter function fx.refuse_unfit_administrator(text, boolean, text, text, timestamptz) owner to fx_fingerprint;
grant execute on function fx.refuse_unfit_administrator(text, boolean, text, text, timestamptz) to fx_writer;

create or replace function fx.open_bypass(
  entry_id text, entry_at timestamptz, admin_session text, question text, reference text, entry_request_id text)
  returns void
language plpgsql security definer set search_path = '' as $$
-- Step 1. The entry names the actor, the customer it is about, the reason, and what is asked. It gives nothing before
-- it is committed: fx.bypass_active refuses a grant of its own transaction, and a rolled-back one does not exist.
declare
  s record;
  diff text;
  now_is timestamptz := clock_timestamp(); -- the database's own: a sandbox clock may stand anywhere
begin
  if session_user <> 'fx_platform' then
    raise exception 'the bypass is for administrators'' own connections' using errcode = 'FX032';
  end if;
  if length(question) not between 1 and 40 or length(reference) not between 1 and 200 then
    raise exception 'a lookup has a question and a reference' using errcode = 'FX032';
  end if;
  select a.requested_by, a.approved_by, a.on_behalf_of, a.reason into s from app.admin_sessions a
   where a.tenant_id = (select fx.tenant()) and a.id = admin_session and a.purpose = 'BYPASS' and a.state = 'OPEN'
     and a.expires_at > entry_at and a.opened_at <= entry_at and fx.admin_door_is_open(a.tenant_id, a.id);
  if not found or s.approved_by = s.requested_by or not fx.is_administrator(s.approved_by) then
    raise exception 'no open admin session allows this' using errcode = 'FX031';
  end if;
  diff := '{"facts":[{"admin_session":' || to_json(admin_session)::text || ',"fact":"RbacBypass","question":'
    || to_json(question)::text || ',"reason":' || to_json(s.reason)::text || ',"reference":'
    || to_json(reference)::text || '}],"rows":[]}';
  perform fx.change(entry_id, entry_at, 'RBAC_BYPASS', s.requested_by, 'platform_admin', s.on_behalf_of,
                    admin_session, entry_request_id, diff::json);
  perform fx.close_bypass();
  insert into ops.bypass_grants (entry_id, tenant_id, admin_session, backend_pid, backend_start, xid, granted_at,
                                 expires_at)
  select entry_id, fx.tenant(), admin_session, pg_backend_pid(), a.backend_start, pg_current_xact_id(),
         now_is, now_is + interval '60 seconds'
    from pg_catalog.pg_stat_get_activity(pg_backend_pid()) a;
end $$;
alter function fx.open_bypass(text, timestamptz, text, text, text, text) owner to fx_fingerprint;
grant execute on function fx.open_bypass(text, timestamptz, text, text, text, text) to fx_platform;

create or replace function fx.bypass_active() returns boolean
language plpgsql stable security definer set search_path = '' as $$
-- Whether this very transaction may read across tenants; asked once per query by every policy of fx_bypass.
begin
  if session_user <> 'fx_platform'
     or lower(coalesce(current_setting('fx.bypass_rls', true), '')) <> 'true'
     or current_setting('transaction_read_only') <> 'on' then
    return false;
  end if;
  if not exists (
    select from ops.bypass_grants g
      join pg_catalog.pg_stat_get_activity(pg_backend_pid()) a on a.backend_start = g.backend_start
      join app.admin_sessions s on s.tenant_id = g.tenant_id and s.id = g.admin_session and s.state = 'OPEN'
       and fx.admin_door_is_open(s.tenant_id, s.id)
      join app.audit_entries e on e.id = g.entry_id and e.action = 'RBAC_BYPASS'
     where g.backend_pid = pg_backend_pid() and g.closed_at is null and g.expires_at > clock_timestamp()
       and g.xid is distinct from pg_current_xact_id_if_assigned()) then
    return false;
  end if;
  -- The chain is linked with synchronous_commit off. The log is sequential: what is flushed here has the fingerprint
  -- on disk before the first foreign row is seen, whatever the connection set before.
  perform pg_catalog.pg_logical_emit_message(false, 'fx', '', true);
  return true;
end $$;
alter function fx.bypass_active() owner to fx_fingerprint;
grant execute on function fx.bypass_active() to fx_bypass;

create or replace function fx.close_bypass() returns integer
language plpgsql security definer set search_path = '' as $$
-- Step 3: end every grant of this server process; how many there were. It may be called at any time, and again.
declare
  ended integer;
begin
  update ops.bypass_grants g set closed_at = clock_timestamp()
   where g.backend_pid = pg_backend_pid() and g.closed_at is null;
  get diagnostics ended = row_count;
  return ended;
end $$;
alter function fx.close_bypass() owner to fx_fingerprint;
grant execute on function fx.close_bypass() to fx_platform;
