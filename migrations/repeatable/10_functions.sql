-- module: audit
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

create or replace function fx.names_in_order(said json) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
-- Whether every object lists its members as RFC 8785 §3.2.3 demands. Names are ASCII (fx.refuse_unreadable), which bytes
-- and UTF-16 units order alike.
begin
  return not exists (
    with recursive part (said, is_object) as (
      select said, json_typeof(said) = 'object'
      union all
      select inner_part.value, json_typeof(inner_part.value) = 'object'
        from part cross join lateral (
          select m.value from json_each(case when part.is_object then part.said end) m
          union all
          select e.value from json_array_elements(case when not part.is_object then part.said end) e) inner_part
       where json_typeof(inner_part.value) in ('object', 'array'))
    select from part
     where part.is_object and array(select n from json_object_keys(part.said) n)
                           <> array(select n from json_object_keys(part.said) n order by n collate "C"));
end $$;
grant execute on function fx.names_in_order(json) to fx_writer;

create or replace function fx.refuse_unreadable(
  entry_id text, entry_at timestamptz, columns text[], entry_diff json, parsed jsonb) returns void
language plpgsql stable set search_path = '' as $$
-- What is recorded is never taken back, so nothing is that the canonical form cannot hold or a verifier cannot read:
-- years without four digits, text that is no I-JSON (RFC 7493), numbers that readers read differently, another spelling
-- than RFC 8785's, another shape than docs/audit-format.md's.
declare
  said text := entry_diff;
  allowed interval;
begin
  select w.tolerance into allowed from fx.entry_window w;
  if entry_at is null or entry_at < '2000-01-01Z' or entry_at >= '2101-01-01Z' then
    raise exception 'an entry is of the years 2000 to 2100' using errcode = 'FX009';
  end if;
  if entry_at < clock_timestamp() - allowed or entry_at > clock_timestamp() + allowed then
    raise exception 'an entry is of now: the clocks of platform and database differ by more than %', allowed
      using errcode = 'FX009';
  end if;
  if entry_id is null or entry_id !~ '^aud_[0-9a-z]{1,60}$' then
    raise exception 'the id of an entry is aud_ and letters and digits' using errcode = 'FX009';
  end if;
  if exists (select from unnest(columns) c where length(c) > 500) or octet_length(said) > 1048576 then
    raise exception 'a column of an entry has at most 500 characters, its diff a mebibyte' using errcode = 'FX009';
  end if;
  if said || array_to_string(columns, ' ') ~ ('[\ufdd0-\ufdef\ufffe\uffff'
      '\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe\U0003ffff\U0004fffe\U0004ffff'
      '\U0005fffe\U0005ffff\U0006fffe\U0006ffff\U0007fffe\U0007ffff\U0008fffe\U0008ffff'
      '\U0009fffe\U0009ffff\U000afffe\U000affff\U000bfffe\U000bffff\U000cfffe\U000cffff'
      '\U000dfffe\U000dffff\U000efffe\U000effff\U000ffffe\U000fffff\U0010fffe\U0010ffff]') then
    raise exception 'an entry holds a code point that is for ever no character' using errcode = 'FX009';
  end if;
  if jsonb_path_exists(parsed, '$.**{17}') then
    raise exception 'a diff is at most sixteen levels deep' using errcode = 'FX009';
  end if;
  -- It is JSON, so every token that is not one of these is refused: no space, the shortest escapes, names of ASCII, whole
  -- numbers to 2^53 - 1 (with the delimiter behind them, or a long one would pass as two short ones). Counted repeats
  -- make a pattern sixty times as slow, so the first takes nearly every diff, by less: numbers of fifteen digits, and
  -- names of any length where nothing of more than a hundred characters could be one.
  if not (said ~ ('^(?:[][{},]|true|false|null|"[]!#-[^-~ ]+":'
                  '|"(?:[^"\\\u0001-\u001f]|\\["\\bfnrt]|\\u00(?:0[0-7be-f]|1[0-9a-f]))*"[]},]'
                  '|(?:0|-?[1-9][0-9]{0,14})[]},])*$')
          and said !~ '[^"]{101}":')
     and said !~ ('^(?:[][{},]|true|false|null|"[]!#-[^-~ ]{1,100}":'
      '|"(?:[^"\\\u0001-\u001f]|\\["\\bfnrt]|\\u00(?:0[0-7be-f]|1[0-9a-f]))*"[]},]'
      '|(?:0|-?(?:[1-9][0-9]{0,14}|[1-8][0-9]{15}|900[0-6][0-9]{12}|90070[0-9]{11}|90071[0-8][0-9]{10}'
      '|900719[0-8][0-9]{9}|9007199[01][0-9]{8}|90071992[0-4][0-9]{7}|900719925[0-3][0-9]{6}|9007199254[0-6][0-9]{5}'
      '|90071992547[0-3][0-9]{4}|9007199254740[0-8][0-9]{2}|90071992547409[0-8][0-9]|900719925474099[01]))[]},])*$')
     or not fx.names_in_order(entry_diff) then
    raise exception 'a diff is spelled as RFC 8785 demands, its numbers whole and at most 2^53 - 1' using errcode = 'FX009';
  end if;
  if not fx.is_shaped(parsed) then
    raise exception 'the facts and rows of a diff are shaped as docs/audit-format.md says' using errcode = 'FX009';
  end if;
end $$;
grant execute on function fx.refuse_unreadable(text, timestamptz, text[], json, jsonb) to fx_writer;

create or replace function fx.is_shaped(parsed jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
-- Whether a diff has the members of docs/audit-format.md and no others. An unknown operation is fx.apply's to refuse.
declare
  part jsonb;
  parts text[];
begin
  if jsonb_typeof(parsed -> 'facts') <> 'array' or jsonb_typeof(parsed -> 'rows') <> 'array' then return false; end if;
  for part in select value from jsonb_array_elements(parsed -> 'facts') loop
    if jsonb_typeof(part) <> 'object' or jsonb_typeof(part -> 'fact') is distinct from 'string' then return false; end if;
  end loop;
  for part in select value from jsonb_array_elements(parsed -> 'rows') loop
    if jsonb_typeof(part) <> 'object' or jsonb_typeof(part -> 'table') is distinct from 'string' then return false; end if;
    parts := case part ->> 'op' when 'insert' then '{row}' when 'update' then '{key,before,after}'
                                when 'delete' then '{key,before}' else '{}' end;
    if part - parts - 'op' - 'table' <> '{}' and parts <> '{}'
       or exists (select from unnest(parts) p where jsonb_typeof(part -> p) is distinct from 'object')
       or part ->> 'op' = 'update' and not (array(select jsonb_object_keys(part -> 'before'))
                                            = array(select jsonb_object_keys(part -> 'after'))) then
      return false;
    end if;
  end loop;
  return true;
end $$;
grant execute on function fx.is_shaped(jsonb) to fx_writer;

create or replace function fx.refuse_misfit(entry_action text, changed jsonb) returns void
language plpgsql stable set search_path = '' as $$
-- An entry fits its rows: of an action those tables and columns that it declares and no others, and those that it always
-- has. An action that declares nothing carries facts only.
declare
  misfit text;
begin
  select format('%s of %s', r ->> 'op', r ->> 'table') into misfit
    from jsonb_array_elements(changed) r
    left join fx.action_carries c on c.action = entry_action and c.table_name = r ->> 'table' and c.op = r ->> 'op'
   where c.action is null
      or (c.op = 'update' and exists (select from jsonb_object_keys(r -> 'after') k where k <> all (c.columns)))
   limit 1;
  if found then raise exception '% carries no such %', entry_action, misfit using errcode = 'FX013'; end if;
  select format('%s of %s', c.op, c.table_name) into misfit from fx.action_carries c
   where c.action = entry_action and c.needed = 'always'
     and not exists (select from jsonb_array_elements(changed) r
                      where r ->> 'table' = c.table_name and r ->> 'op' = c.op)
   limit 1;
  if found then raise exception '% is nothing without its %', entry_action, misfit using errcode = 'FX014'; end if;
  if jsonb_array_length(changed) = 0
     and exists (select from fx.action_carries c where c.action = entry_action and c.needed = 'one of') then
    raise exception '% is nothing without its rows', entry_action using errcode = 'FX014';
  end if;
end $$;
grant execute on function fx.refuse_misfit(text, jsonb) to fx_writer;

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
  perform fx.refuse_unreadable(entry_id, entry_at, array[entry_action, entry_actor, entry_actor_role, entry_on_behalf_of,
                                                         entry_resource, entry_request_id], entry_diff, parsed);
  perform fx.refuse_misfit(entry_action, parsed -> 'rows');
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

create or replace function fx.lock(thing text, shared boolean) returns void
language plpgsql security definer set search_path = '' as $$
-- Until the transaction ends. The key is the pinned tenant's (whose name has no colon), so no tenant's SQL makes another
-- one wait; of a hash for which nobody can look for a collision.
declare
  pinned text := fx.tenant();
  key bigint := ('x' || encode(substr(sha256(convert_to(pinned || ':' || thing, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint;
begin
  if pinned is null then raise exception 'no tenant is pinned' using errcode = '42501'; end if;
  if shared then perform pg_catalog.pg_advisory_xact_lock_shared(key);
  else perform pg_catalog.pg_advisory_xact_lock(key);
  end if;
end $$;
grant execute on function fx.lock(text, boolean) to fx_app;

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
