-- module: auth
-- The administrator of the platform: acts for a customer in an open admin session only, and reads across tenants only
-- after the fingerprint of that has been committed (TI-07, TI-08, AD-16, AD-19, Q24). Runs before the modules' tables
-- exist, since their policies name fx.bypass_active: what the bodies name is made by the migration of auth.
--
-- The bypass takes two transactions of one connection of fx_platform. In one transaction it would have a hole: read,
-- then ROLLBACK, and the evidence is gone.
--   1. select fx.open_bypass(…); commit        the entries RBAC_BYPASS, and a grant
--   2. begin read only; set local fx.bypass_rls = true; set local role fx_bypass; select …; commit
--   3. select fx.close_bypass()
-- A grant is for the tenants that have what was asked for, which its entries name, and for one transaction: the very
-- next one of this server process, whether it reads or not. No ROLLBACK brings that one back, since the process counts
-- its transactions (the second part of a virtual transaction id) however they end.
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

create or replace function fx.own_lxid() returns bigint
language sql volatile set search_path = '' as $$
-- The number of this transaction in its server process: every transaction holds a lock by that name.
select split_part(l.virtualtransaction, '/', 2)::bigint from pg_catalog.pg_lock_status() l
 where l.locktype = 'virtualxid' and l.pid = pg_catalog.pg_backend_pid()
$$;
alter function fx.own_lxid() owner to fx_fingerprint;

create or replace function fx.tenants_asked_for(asked text, reference text) returns text[]
language plpgsql stable set search_path = '' as $$
-- Who has it. Called by fx.open_bypass, which tells nobody but the entries.
declare
  having text[];
  place record;
begin
  select l.table_name, l.key_column into place from fx.lookups l where l.question = asked;
  if not found then raise exception 'there is no such question' using errcode = 'FX032'; end if;
  execute format('select coalesce(array_agg(distinct t.tenant_id order by t.tenant_id), ''{}'') from app.%I t where t.%I = $1',
                 place.table_name, place.key_column) into having using reference;
  return having;
end $$;
alter function fx.tenants_asked_for(text, text) owner to fx_fingerprint;

create or replace function fx.record_where_seen(
  of_tenant text, entry_id text, entry_at timestamptz, actor text, on_behalf_of text, admin_session text,
  entry_request_id text, diff json) returns void
language plpgsql security definer set search_path = '' as $$
-- The fingerprint in the trail of a tenant whose rows will show. It stands beside the entry that fx.change has judged.
begin
  insert into ops.audit_pending (xid, id, at, action, actor, actor_role, on_behalf_of, tenant_id, resource, request_id, diff)
  values (pg_current_xact_id(), entry_id, entry_at, 'RBAC_BYPASS', actor, 'platform_admin', on_behalf_of, of_tenant,
          admin_session, entry_request_id, diff);
end $$;
alter function fx.record_where_seen(text, text, timestamptz, text, text, text, text, json) owner to fx_writer;
grant execute on function fx.record_where_seen(text, text, timestamptz, text, text, text, text, json) to fx_fingerprint;

create or replace function fx.fingerprint_of(
  admin_session text, question text, reason text, reference text, seen text[]) returns json
language sql immutable set search_path = '' as $$
-- In canonical form (RFC 8785), as it is hashed.
select ('{"facts":[{"admin_session":' || to_json(admin_session)::text || ',"fact":"RbacBypass","question":'
        || to_json(question)::text || ',"reason":' || to_json(reason)::text || ',"reference":'
        || to_json(reference)::text || ',"tenants":' || to_json(seen)::text || '}],"rows":[]}')::json
$$;
alter function fx.fingerprint_of(text, text, text, text, text[]) owner to fx_fingerprint;

create or replace function fx.open_bypass(
  entry_id text, entry_at timestamptz, admin_session text, question text, reference text, entry_request_id text)
  returns void
language plpgsql security definer set search_path = '' as $$
-- Step 1. The entry names the actor, the customer it is about, the reason, what is asked, and the tenants whose rows
-- will show; each of those has one in its own trail, which names no other. It gives nothing before it is committed:
-- fx.bypass_tenants refuses a grant of its own transaction, and a rolled-back one does not exist.
declare
  s record;
  seen text[];
  own text := fx.tenant();
  this bigint := fx.own_lxid();
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
  seen := fx.tenants_asked_for(question, reference);
  perform fx.change(entry_id, entry_at, 'RBAC_BYPASS', s.requested_by, 'platform_admin', s.on_behalf_of, admin_session,
                    entry_request_id, fx.fingerprint_of(admin_session, question, s.reason, reference, seen));
  -- Its id: the time of the first one's, and no more chance than a digest of both.
  perform fx.record_where_seen(t, left(entry_id, 14) || left(encode(sha256(convert_to(entry_id || t, 'UTF8')), 'hex'), 16),
                               entry_at, s.requested_by, s.on_behalf_of, admin_session, entry_request_id,
                               fx.fingerprint_of(admin_session, question, s.reason, reference, array[t]))
     from unnest(seen) t where t <> own;
  perform fx.close_bypass();
  insert into ops.bypass_grants (entry_id, tenant_id, admin_session, backend_pid, backend_start, xid, granted_at,
                                 expires_at, lxid, tenants)
  select entry_id, own, admin_session, pg_backend_pid(), a.backend_start, pg_current_xact_id(),
         now_is, now_is + interval '60 seconds', case this when 4294967295 then 1 else this + 1 end, seen
    from pg_catalog.pg_stat_get_activity(pg_backend_pid()) a;
end $$;
alter function fx.open_bypass(text, timestamptz, text, text, text, text) owner to fx_fingerprint;
grant execute on function fx.open_bypass(text, timestamptz, text, text, text, text) to fx_platform;

create or replace function fx.bypass_tenants() returns text[]
language plpgsql stable security definer set search_path = '' as $$
-- Whose rows this very transaction may read: nobody's is {}, and NULL says that there is no grant for it. Asked once per
-- query by every policy of fx_bypass.
declare
  seen text[];
begin
  if session_user <> 'fx_platform'
     or lower(coalesce(current_setting('fx.bypass_rls', true), '')) <> 'true'
     or current_setting('transaction_read_only') <> 'on' then
    return null;
  end if;
  select g.tenants into seen from ops.bypass_grants g
    join pg_catalog.pg_stat_get_activity(pg_backend_pid()) a on a.backend_start = g.backend_start
    join app.admin_sessions s on s.tenant_id = g.tenant_id and s.id = g.admin_session and s.state = 'OPEN'
     and fx.admin_door_is_open(s.tenant_id, s.id)
    join app.audit_entries e on e.id = g.entry_id and e.action = 'RBAC_BYPASS'
   where g.backend_pid = pg_backend_pid() and g.closed_at is null and g.expires_at > clock_timestamp()
     and g.lxid = fx.own_lxid()
     and g.xid is distinct from pg_current_xact_id_if_assigned();
  if not found then return null; end if;
  -- The chain is linked with synchronous_commit off. The log is sequential: what is flushed here has the fingerprint
  -- on disk before the first foreign row is seen, whatever the connection set before.
  perform pg_catalog.pg_logical_emit_message(false, 'fx', '', true);
  return seen;
end $$;
alter function fx.bypass_tenants() owner to fx_fingerprint;
grant execute on function fx.bypass_tenants() to fx_bypass;

create or replace function fx.close_bypass() returns integer
language plpgsql security definer set search_path = '' as $$
-- Step 3: end every grant of this server process; how many there were. It may be called at any time, and again. What a
-- cursor holds beyond its transaction goes too.
declare
  ended integer;
begin
  execute 'close all';
  update ops.bypass_grants g set closed_at = clock_timestamp()
   where g.backend_pid = pg_backend_pid() and g.closed_at is null;
  get diagnostics ended = row_count;
  return ended;
end $$;
alter function fx.close_bypass() owner to fx_fingerprint;
grant execute on function fx.close_bypass() to fx_platform;

-- The readers' policies of every table that is there already ask the function above (fx.protect makes those to come).
select fx.admit_readers(t.table_name) from fx.tables t
 where t.kind = 'tenant' and t.table_name <> 'audit_entries' and to_regclass('app.' || t.table_name) is not null;
