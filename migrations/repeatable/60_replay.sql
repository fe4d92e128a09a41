-- module: audit
-- The replay: every domain table again, from the entries alone, beside the live ones (P-06). For fx_auditor.

create or replace function fx.shadow_open() returns text[]
language plpgsql security definer set search_path = '' as $$
-- An empty temporary twin of every domain table, found in the catalogue; returns their names. The auditor may not make
-- temporary objects himself: what stands in pg_temp is found before pg_catalog, also by a function with an empty
-- search path, so a type of his own there could run inside every definer function. He gets these twins, by these names.
-- Twins have the key and nothing else of the table: what is odd in the record must show as a difference.
declare
  relation text;
  keys text;
  opened text[] := '{}';
begin
  for relation, keys in
    select t.table_name, string_agg(format('%I', a.attname), ', ' order by k.place)
      from fx.tables t
      join pg_index i on i.indrelid = format('app.%I', t.table_name)::regclass and i.indisprimary
     cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where t.kind = 'tenant' and t.table_name <> 'audit_entries'
     group by t.table_name order by t.table_name
  loop
    execute format('create temporary table %1$I as select * from app.%1$I with no data', relation);
    execute format('create unique index on pg_temp.%I (%s)', relation, keys);
    execute format('grant select, insert, update, delete on pg_temp.%I to fx_auditor', relation);
    opened := opened || relation;
  end loop;
  return opened;
end $$;
grant execute on function fx.shadow_open() to fx_auditor;

-- It runs as its caller, and fx_auditor may write nothing but those twins.
grant execute on function fx.apply(text, jsonb) to fx_auditor;

create or replace function fx.replay(
  after_seq bigint, up_to bigint, out last_seq bigint, out entries bigint, out operations bigint, out failed text)
language plpgsql set search_path = '' as $$
-- Carry out the entries (after_seq, up_to] on the twins, all or none. ``failed`` says what the database said of the
-- entry ``last_seq``, which cannot be carried out.
declare
  entry record;
begin
  last_seq := after_seq;
  entries := 0;
  operations := 0;
  for entry in
    select e.seq, (e.diff -> 'rows')::jsonb as changes
      from app.audit_entries e where e.seq > after_seq and e.seq <= up_to order by e.seq
  loop
    last_seq := entry.seq;
    operations := operations + fx.apply('pg_temp', entry.changes);
    entries := entries + 1;
  end loop;
  last_seq := up_to;
exception
  -- Out of resources, stopped by an operator, broken inside: that is not the entry's doing.
  when insufficient_resources or operator_intervention or system_error or internal_error then
    raise;
  when others then
    entries := 0;
    operations := 0;
    failed := format('%s (%s)', sqlerrm, sqlstate);
end $$;
grant execute on function fx.replay(bigint, bigint) to fx_auditor;

create or replace function fx.shadow_columns(relation text, out is_key boolean, out name text, out spelled text)
returns setof record language sql stable set search_path = '' as $$
-- The columns of a domain table; ``spelled`` is what to compare: json by its text, so that no spelling is lost on it.
select coalesce(a.attnum = any (i.indkey), false), a.attname::text,
       case when a.atttypid in ('json'::regtype, 'jsonb'::regtype) then '%1$s.%2$I::text' else '%1$s.%2$I' end
  from pg_attribute a
  left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
 where a.attrelid = format('app.%I', relation)::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
 order by a.attnum
$$;
grant execute on function fx.shadow_columns(text) to fx_auditor;

create or replace function fx.shadow_join(relation text) returns text
language sql stable set search_path = '' as $$
-- Twin (s) and live table (l) side by side, both cut to the tenant $1 when there is one; ``differs`` is what is wanted.
select format('from (select true as is_there, r.* from pg_temp.%1$I r where $1 is null or r.tenant_id = $1) as s full join '
              '(select true as is_there, r.* from app.%1$I r where $1 is null or r.tenant_id = $1) as l on %2$s',
              relation, (select string_agg(format('s.%1$I = l.%1$I', c.name), ' and ')
                           from fx.shadow_columns(relation) c where c.is_key))
$$;
grant execute on function fx.shadow_join(text) to fx_auditor;

create or replace function fx.shadow_differs(relation text) returns text
language sql stable set search_path = '' as $$
select '(s.is_there is null or l.is_there is null or '
       || string_agg(format('%s is distinct from %s', format(c.spelled, 's', c.name), format(c.spelled, 'l', c.name)), ' or ')
       || ')' from fx.shadow_columns(relation) c
$$;
grant execute on function fx.shadow_differs(text) to fx_auditor;

create or replace function fx.shadow_count(
  relation text, only_tenant text, out replayed bigint, out live bigint, out differing bigint)
language plpgsql stable set search_path = '' as $$
-- How many rows the twin and the live table have, and how many of them differ.
begin
  execute format('select count(s.is_there), count(l.is_there), count(*) filter (where %s) %s',
                 fx.shadow_differs(relation), fx.shadow_join(relation))
    into replayed, live, differing using only_tenant;
end $$;
grant execute on function fx.shadow_count(text, text) to fx_auditor;

create or replace function fx.shadow_differences(relation text, only_tenant text, at_most integer)
returns table (key jsonb, tenant_id text, kind text, cells jsonb)
language plpgsql stable set search_path = '' as $$
-- The rows that differ, in the order of their keys. ``kind``: CHANGED, MISSING (the record has it, the table does not),
-- UNEXPLAINED (the table has it, the record does not). ``cells``: [column, replayed, live] of each column that differs.
declare
  key_parts text;
  cell_parts text;
begin
  select string_agg(format('%1$L, coalesce(s.%1$I, l.%1$I)', c.name), ', ') into key_parts
    from fx.shadow_columns(relation) c where c.is_key;
  select string_agg(
           format('case when %1$s is distinct from %2$s '
                  'then jsonb_build_array(jsonb_build_array(%3$L, s.%3$I::text, l.%3$I::text)) else ''[]'' end',
                  format(c.spelled, 's', c.name), format(c.spelled, 'l', c.name), c.name), ' || ')
    into cell_parts from fx.shadow_columns(relation) c;
  return query execute format(
    'select jsonb_build_object(%s) as key, coalesce(s.tenant_id, l.tenant_id), '
    'case when l.is_there is null then ''MISSING'' when s.is_there is null then ''UNEXPLAINED'' else ''CHANGED'' end, '
    'case when s.is_there and l.is_there then %s else ''[]'' end %s where %s order by key limit $2',
    key_parts, cell_parts, fx.shadow_join(relation), fx.shadow_differs(relation)) using only_tenant, at_most;
end $$;
grant execute on function fx.shadow_differences(text, text, integer) to fx_auditor;

create or replace function fx.sealed_under_dead_keys(
  relation text, sealed_column text, owner_columns text[], only_tenant text) returns bigint
language plpgsql stable set search_path = '' as $$
-- How many fields of a column nobody can open any more: the first of ``owner_columns`` that is not null names whose key
-- they are under, and that one is destroyed.
declare
  found_many bigint;
begin
  if not exists (select from ops.subject_keys k where k.shredded_at is not null) then return 0; end if;
  execute format(
    'select count(*) from app.%I r join ops.subject_keys k on k.tenant_id = r.tenant_id and k.subject_id = coalesce(%s) '
    'where ($1 is null or r.tenant_id = $1) and r.%I is not null and k.shredded_at is not null',
    relation, (select string_agg(format('r.%I', c), ', ' order by place)
                 from unnest(owner_columns) with ordinality as o (c, place)), sealed_column)
    into found_many using only_tenant;
  return found_many;
end $$;
grant execute on function fx.sealed_under_dead_keys(text, text, text[], text) to fx_auditor;
