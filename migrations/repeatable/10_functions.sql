-- Functions and triggers; re-applied whenever this file changes. Every definer function pins its search_path.

create or replace function fx.tenant() returns text
language plpgsql stable security definer parallel safe set search_path = '' as $$
-- The pinned tenant, or NULL when there is no valid pin: no pin, no rows (TI-02).
declare
  pin text := nullif(current_setting('fx.pin', true), '');
  parts text[];
  k record;
begin
  if pin is null then return null; end if;
  parts := string_to_array(pin, '.');
  if array_length(parts, 1) is distinct from 3 or parts[2] !~ '^[0-9]{1,12}$' or parts[3] !~ '^[0-9a-f]{64}$' then
    return null;
  end if;
  if parts[2]::bigint < extract(epoch from clock_timestamp()) then return null; end if;
  for k in select inner_pad, outer_pad from fx.pin_keys where retired_at is null loop
    if sha256(k.outer_pad || sha256(k.inner_pad || convert_to(parts[1] || '.' || parts[2], 'UTF8')))
       = decode(parts[3], 'hex') then
      return parts[1];
    end if;
  end loop;
  return null;
end $$;
grant execute on function fx.tenant() to public;

create or replace function fx.deny() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception '% is append-only (% denied)', tg_table_name, tg_op using errcode = '42501';
end $$;

create or replace function fx.guard_change() returns trigger
language plpgsql security definer set search_path = '' set enable_seqscan = off as $$
-- No domain row changes without an audit entry of this transaction (P-05), and no state changes outside its
-- machine (IN-14). Argument 1: the machine's name, or nothing. fx.change hands over the place of its entry; what that
-- place holds counts only if this transaction has put it there.
declare
  place text := current_setting('fx.entry', true);
  recorded_action text;
  was text := '';
  becomes text;
begin
  if pg_input_is_valid(place, 'tid') then
    select p.action into recorded_action from ops.audit_pending p
     where p.ctid = place::tid and p.xid = pg_current_xact_id_if_assigned();
  end if;
  if recorded_action is null then
    raise exception 'no audit entry in this transaction explains this % of %', tg_op, tg_table_name
      using errcode = 'FX001';
  end if;
  if tg_nargs = 1 and tg_op <> 'DELETE' then
    becomes := new.state;
    if tg_op = 'UPDATE' then was := old.state; end if;
    if was is distinct from becomes and not exists (
      select from fx.machine_transitions m
       where m.machine = tg_argv[0] and m.from_state = was
         and m.to_state = becomes and m.action = recorded_action) then
      raise exception '% may not go from % to % by %', tg_argv[0], was, becomes, recorded_action
        using errcode = 'FX002';
    end if;
  end if;
  if tg_op = 'DELETE' then return old; end if;
  return new;
end $$;

create or replace function fx.apply(target_schema text, changes jsonb) returns integer
language plpgsql set search_path = '' as $$
-- Apply the row operations of one entry's diff. The only writer of domain rows, and what a replay calls for every
-- entry in turn (with another schema): state is the fold of the record by construction (P-06). Runs as its caller.
-- insert: {op, table, row}   update: {op, table, key, before, after}   delete: {op, table, key, before}
declare
  change jsonb;
  applied integer := 0;
  touched integer;
  relation text;
  columns text;
  assignments text;
  conditions text;
begin
  for change in select value from jsonb_array_elements(changes) loop
    relation := format('%I.%I', target_schema, change ->> 'table');
    if change ->> 'op' = 'insert' then
      select string_agg(format('%I', k), ', '), string_agg(format('n.%I', k), ', ')
        into columns, assignments from jsonb_object_keys(change -> 'row') as k;
      execute format('insert into %s (%s) select %s from jsonb_populate_record(null::%s, $1) as n',
                     relation, columns, assignments, relation) using change -> 'row';
    else
      -- Keys are never NULL, and only "=" can use the primary key's index. The values are taken in place and not from
      -- a joined row: every statement is planned anew, and a plan of one table takes half the time.
      select string_agg(format(case when (change -> 'key') ? k
                                    then 't.%1$I = (jsonb_populate_record(null::%2$s, $1)).%1$I'
                                    else 't.%1$I is not distinct from (jsonb_populate_record(null::%2$s, $1)).%1$I' end,
                               k, relation), ' and ')
        into conditions from jsonb_object_keys((change -> 'key') || (change -> 'before')) as k;
      if change ->> 'op' = 'update' then
        select string_agg(format('%1$I = (jsonb_populate_record(null::%2$s, $2)).%1$I', k, relation), ', ')
          into assignments from jsonb_object_keys(change -> 'after') as k;
        execute format('update %s as t set %s where %s', relation, assignments, conditions)
          using (change -> 'key') || (change -> 'before'), change -> 'after';
      elsif change ->> 'op' = 'delete' then
        execute format('delete from %s as t where %s', relation, conditions)
          using (change -> 'key') || (change -> 'before');
      else
        raise exception 'unknown row operation %', change ->> 'op' using errcode = 'FX004';
      end if;
      get diagnostics touched = row_count;
      if touched <> 1 then
        raise exception 'the row of % is not what the command read', change ->> 'table' using errcode = 'FX003';
      end if;
    end if;
    applied := applied + 1;
  end loop;
  return applied;
end $$;
grant execute on function fx.apply(text, jsonb) to fx_writer;

create or replace function fx.change(
  entry_id text, entry_at timestamptz, entry_action text, entry_actor text, entry_actor_role text,
  entry_on_behalf_of text, entry_resource text, entry_request_id text, entry_diff json) returns void
language plpgsql security definer set search_path = '' as $$
-- Record, then change: the entry of this transaction first, then the rows that it lists, as fx_writer, under the
-- caller's tenant pin. The entry is linked into the chain by fx.link at COMMIT.
declare
  pinned text := fx.tenant();
  parsed jsonb := entry_diff;
  rule record;
  place tid;
begin
  if pinned is null then raise exception 'no tenant is pinned' using errcode = '42501'; end if;
  -- json keeps duplicate keys: two readers of one entry must not see two different lists of rows.
  if not (entry_diff is json object with unique keys) or not parsed ?& array['facts', 'rows']
     or parsed - 'facts' - 'rows' <> '{}' then
    raise exception 'a diff holds facts and rows, once each' using errcode = 'FX008';
  end if;
  select a.actor_roles, a.on_behalf_of_rule, a.customer_facing into rule from app.audit_actions a where a.action = entry_action;
  if not found then raise exception 'unknown audit action %', entry_action using errcode = 'FX005'; end if;
  if not (entry_actor_role = any (rule.actor_roles)) then
    raise exception '% may not record %', entry_actor_role, entry_action using errcode = 'FX006';
  end if;
  if (rule.on_behalf_of_rule = 'forbidden' and entry_on_behalf_of is not null)
     or (rule.on_behalf_of_rule = 'required' and entry_on_behalf_of is null)
     or (rule.on_behalf_of_rule = 'required_from_admin' and entry_actor_role = 'platform_admin'
         and entry_on_behalf_of is null)
     or (entry_on_behalf_of is not null and entry_actor_role <> 'platform_admin') then
    raise exception 'on_behalf_of does not fit %', entry_action using errcode = 'FX007';
  end if;
  if entry_actor_role = 'platform_admin' then
    perform fx.refuse_unfit_administrator(entry_action, rule.customer_facing, entry_actor, entry_on_behalf_of, entry_at);
  end if;
  insert into ops.audit_pending (xid, id, at, action, actor, actor_role, on_behalf_of, tenant_id, resource, request_id, diff)
  values (pg_current_xact_id(), entry_id, entry_at, entry_action, entry_actor, entry_actor_role, entry_on_behalf_of,
          pinned, entry_resource, entry_request_id, entry_diff)
  returning ctid into place;
  perform set_config('fx.entry', place::text, true);
  perform fx.apply('app', parsed -> 'rows');
  perform set_config('fx.entry', '', true);
end $$;
alter function fx.change(text, timestamptz, text, text, text, text, text, text, json) owner to fx_writer;
grant execute on function fx.change(text, timestamptz, text, text, text, text, text, text, json) to fx_app;

create or replace function fx.entry_bytes(
  e_seq bigint, e_id text, e_at timestamptz, e_action text, e_actor text, e_actor_role text, e_on_behalf_of text,
  e_tenant_id text, e_resource text, e_request_id text, e_diff json, e_prev_hash bytea, e_batch bigint) returns bytea
language sql stable parallel safe
-- The canonical bytes of an entry: RFC 8785 JSON, format version 1, documented in docs/audit-format.md and frozen by
-- the vectors in tests/audit. Keys stand in code-point order; json_scalar escapes as RFC 8785 §3.2.2.2 demands.
-- STABLE (json_scalar and to_char are) and without SET, so that it is inlined where fx.link calls it; a body of this
-- form is parsed here, once, and no caller's search_path reaches it.
return convert_to(
  '{"action":' || json_scalar(e_action)::text || ',"actor":' || json_scalar(e_actor)::text
  || ',"actor_role":' || json_scalar(e_actor_role)::text
  || ',"diff":' || e_diff::text
  || ',"id":' || json_scalar(e_id)::text
  || ',"merkle_batch_id":' || e_batch
  || ',"on_behalf_of":' || coalesce(json_scalar(e_on_behalf_of)::text, 'null')
  || ',"prev_hash":"' || encode(e_prev_hash, 'hex') || '"'
  || ',"request_id":' || json_scalar(e_request_id)::text
  || ',"resource":' || json_scalar(e_resource)::text
  || ',"seq":' || e_seq
  || ',"tenant_id":' || json_scalar(e_tenant_id)::text
  || ',"timestamp":"' || to_char(e_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"'
  || ',"v":1}', 'UTF8');
grant execute on function fx.entry_bytes(bigint, text, timestamptz, text, text, text, text, text, text, text, json, bytea, bigint)
  to fx_linker, fx_auditor;

create or replace function fx.take_chain_lock() returns void
language sql volatile return pg_advisory_xact_lock(4242, 1); -- inlined where it is called
grant execute on function fx.take_chain_lock() to fx_linker, fx_sealer;

create or replace function fx.link() returns trigger
language plpgsql security definer set search_path = '' set enable_seqscan = off set enable_sort = off as $$
-- Inside COMMIT: give this entry its place in the one chain. The lock is taken here and nowhere earlier; with
-- synchronous_commit off it is released before the fsync (decisions §4). What can be done before the lock is.
-- The settings: a plan that was made while the tables were small would read and sort all of them, at every COMMIT, for
-- as long as its connection lives.
declare -- scalars: a record costs a quarter of the whole function (bench/audit_append.py)
  open_batch bigint;
  next_seq bigint;
  head_hash bytea;
begin
  delete from ops.audit_pending p where p.ctid = new.ctid;
  perform fx.take_chain_lock();
  -- In a statement of its own: its snapshot must be younger than the lock.
  select b.id, coalesce(e.seq, 0) + 1, coalesce(e.hash, decode(repeat('00', 32), 'hex'))
    into strict open_batch, next_seq, head_hash
    from app.merkle_batches b
    left join lateral (select a.seq, a.hash from app.audit_entries a order by a.seq desc limit 1) e on true
   where b.state = 'COLLECTING';
  insert into app.audit_entries (seq, id, "timestamp", action, actor, actor_role, on_behalf_of, tenant_id, resource,
                                 request_id, diff, prev_hash, hash, merkle_batch_id)
  values (next_seq, new.id, new.at, new.action, new.actor, new.actor_role, new.on_behalf_of, new.tenant_id,
          new.resource, new.request_id, new.diff, head_hash,
          sha256('\x00'::bytea || fx.entry_bytes(next_seq, new.id, new.at, new.action, new.actor, new.actor_role,
            new.on_behalf_of, new.tenant_id, new.resource, new.request_id, new.diff, head_hash, open_batch)),
          open_batch);
  return null;
end $$;
alter function fx.link() owner to fx_linker;

drop trigger if exists zz_link_at_commit on ops.audit_pending;
create constraint trigger zz_link_at_commit after insert on ops.audit_pending
  deferrable initially deferred for each row execute function fx.link();
alter table ops.audit_pending enable always trigger zz_link_at_commit; -- as the guards: in every replication role

drop trigger if exists a_append_only_rows on app.audit_entries;
create trigger a_append_only_rows before update or delete on app.audit_entries for each row execute function fx.deny();
drop trigger if exists a_append_only_table on app.audit_entries;
create trigger a_append_only_table before truncate on app.audit_entries for each statement execute function fx.deny();
alter table app.audit_entries enable always trigger a_append_only_rows;
alter table app.audit_entries enable always trigger a_append_only_table;

create or replace function fx.admit_readers(relation text) returns void
language plpgsql set search_path = '' as $$
-- Who reads a domain table across tenants: the auditor, who compares it with the record (P-06), and a bypass that has
-- left its fingerprint (TI-07). Policies of roles of their own: one that is OR-ed into the tenants' policy makes every
-- query of every tenant a full scan (decisions §3).
begin
  execute format('grant select on app.%I to fx_auditor, fx_bypass', relation);
  execute format('drop policy if exists auditor_reads on app.%I', relation);
  execute format('create policy auditor_reads on app.%I for select to fx_auditor using (true)', relation);
  execute format('drop policy if exists bypass_reads on app.%I', relation);
  execute format('create policy bypass_reads on app.%I for select to fx_bypass '
                 'using (tenant_id = any ((select fx.bypass_tenants())::text[]))', relation);
end $$;

create or replace function fx.protect(relation text, owner_module text, machine_name text default null) returns void
language plpgsql set search_path = '' as $$
-- Called by a migration right after CREATE TABLE app.<relation>: tenant policy, FORCE RLS, grants, guards, ownership.
-- The table must have tenant_id text NOT NULL (TI-01).
begin
  execute format('alter table app.%I enable row level security', relation);
  execute format('alter table app.%I force row level security', relation);
  execute format('drop policy if exists tenant_only on app.%I', relation);
  execute format('create policy tenant_only on app.%I for all to fx_app, fx_writer '
                 'using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()))', relation);
  execute format('grant select on app.%I to fx_app', relation);
  perform fx.admit_readers(relation);
  execute format('grant select, insert, update, delete on app.%I to fx_writer', relation);
  execute format('drop trigger if exists a_guard_change on app.%I', relation);
  execute format('create trigger a_guard_change before insert or update or delete on app.%I '
                 'for each row execute function fx.guard_change(%s)', relation, coalesce(quote_literal(machine_name), ''));
  execute format('alter table app.%I enable always trigger a_guard_change', relation);
  execute format('drop trigger if exists a_no_truncate on app.%I', relation);
  execute format('create trigger a_no_truncate before truncate on app.%I for each statement execute function fx.deny()', relation);
  execute format('alter table app.%I enable always trigger a_no_truncate', relation);
  insert into fx.tables (table_name, module, kind, machine) values (relation, owner_module, 'tenant', machine_name)
  on conflict (table_name) do update set module = excluded.module, machine = excluded.machine;
end $$;
