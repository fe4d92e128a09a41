"""The ratchet: what every table, policy, function, role and grant must look like, asked of the catalogue itself.

A rule's SQL returns one line per fault. The tests of the database run the same rules, each with a fault planted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fintokenx.app.redteam.reviewed import (
    CALLS,
    DEFINERS,
    INDEXES_ACROSS_TENANTS,
    LOCKS,
    MACHINERY,
    MEMBERS,
    NAMES_WITHOUT_KEY,
    POLICIES,
    READERS,
    REFUSALS,
    WITHOUT_TENANT_KEY,
    WRITES_OF_MACHINERY,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """``sql`` returns one line per fault; names in it are spelled under an empty search path."""

    group: str
    title: str
    sql: str


def _names(names: Iterable[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(names))


def _pairs(rows: Iterable[tuple[str, ...]]) -> str:
    return ", ".join(f"({_names_in_order(row)})" for row in sorted(rows))


def _names_in_order(row: tuple[str, ...]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in row)


TABLES: Final = """
  with t as (select c.oid, n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relowner
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.relkind in ('r', 'p') and n.nspname in ('app', 'ops', 'fx')),
  carries as (select t.* from t join pg_attribute a on a.attrelid = t.oid and a.attname = 'tenant_id'
               where not (t.nspname = 'ops' and t.relname = 'audit_pending'))
"""
# ops.audit_pending carries a tenant but is read and written by fx_writer and fx_linker only, inside definer functions.

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "tables",
        "row-level security is on and forced wherever there is a tenant",
        f"""{TABLES} select nspname || '.' || relname from carries
        where not (relrowsecurity and relforcerowsecurity)""",
    ),
    Rule(
        "tables",
        "a tenant is never NULL",
        f"""{TABLES} select nspname || '.' || relname from carries join pg_attribute a on a.attrelid = carries.oid
        where a.attname = 'tenant_id' and not a.attnotnull""",
    ),
    Rule(
        "tables",
        "every table of app is registered, and as what it is",
        f"""{TABLES} select t.relname from t left join fx.tables f on f.table_name = t.relname
        where t.nspname = 'app' and (f.kind is null
        or (f.kind = 'tenant') <> exists (select from pg_attribute a
        where a.attrelid = t.oid and a.attname = 'tenant_id'))
        union select table_name from fx.tables where to_regclass('app.' || table_name) is null""",
    ),
    Rule(
        "guards",
        "every domain table has its guards, and they fire always",
        f"""{TABLES} select t.relname from t join fx.tables f on f.table_name = t.relname
        where t.nspname = 'app' and f.kind = 'tenant' and t.relname <> 'audit_entries'
        and (select count(*) from pg_trigger g where g.tgrelid = t.oid and g.tgenabled = 'A'
        and g.tgname in ('a_guard_change', 'a_no_truncate')) <> 2""",
    ),
    Rule(
        "guards",
        "the guard knows the machine of its table",
        """select f.table_name from fx.tables f join pg_trigger g on g.tgrelid = to_regclass('app.' || f.table_name)
        where g.tgname = 'a_guard_change'
        and encode(g.tgargs, 'escape') <> coalesce(f.machine || '\\000', '')""",
    ),
    Rule(
        "guards",
        "a table with a state has a machine that is loaded",
        """select f.table_name from fx.tables f
        where f.machine is not null
        and not exists (select from fx.machine_transitions m where m.machine = f.machine)""",
    ),
    Rule(
        "policies",
        "no policy has an OR (a bypass that is OR-ed in scans everybody's rows)",
        """select p.polrelid::regclass::text || ' ' || p.polname from pg_policy p
        where upper(pg_get_expr(p.polqual, p.polrelid)) ~ '\\mOR\\M'
        or upper(pg_get_expr(p.polwithcheck, p.polrelid)) ~ '\\mOR\\M'""",
    ),
    Rule(
        "policies",
        "the serving roles have one policy per table: permissive policies of one role are OR-ed too",
        """select p.polrelid::regclass::text from pg_policy p
        where 'fx_app'::regrole::oid = any (p.polroles) or p.polroles = '{0}' group by 1 having count(*) > 1""",
    ),
    Rule(
        "policies",
        "every policy of the serving roles is the pinned tenant, evaluated once",
        """select p.polrelid::regclass::text || ' ' || p.polname from pg_policy p
        where ('fx_app'::regrole::oid = any (p.polroles) or 'fx_writer'::regrole::oid = any (p.polroles)
        or p.polroles = '{0}')
        and pg_get_expr(p.polqual, p.polrelid) !~
        '^\\(tenant_id = \\( SELECT (fx\\.)?tenant\\(\\) AS tenant\\)\\)$'""",
    ),
    Rule(
        "functions",
        "definer functions pin their search path",
        """select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('app', 'ops', 'fx', 'public') and p.prosecdef
        and not coalesce('search_path=""' = any (p.proconfig), false)""",
    ),
    Rule(
        "functions",
        "nobody but fx.tenant may be called by everybody",
        """select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('app', 'ops', 'fx') and p.proname <> 'tenant'
        and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where a.grantee = 0 and a.privilege_type = 'EXECUTE')""",
    ),
    Rule(
        "functions",
        "the serving roles call the functions on this list and no other",
        f"""select r.rolname || ' ' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
        pg_roles r
        where n.nspname = 'fx' and r.rolname in ('fx_app', 'fx_worker', 'fx_sealer', 'fx_auditor', 'fx_platform')
        and has_function_privilege(r.oid, p.oid, 'EXECUTE')
        and (r.rolname, p.proname) not in ({_pairs(CALLS)})
        and p.proname <> 'tenant'""",
    ),
    Rule(
        "roles",
        "no role of ours is superuser, BYPASSRLS, or may make roles or databases",
        """select rolname from pg_roles where rolname like 'fx\\_%'
        and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)""",
    ),
    Rule(
        "roles",
        "no login owns anything",
        """select distinct r.rolname from pg_roles r join pg_class c on c.relowner = r.oid
        where r.rolname like 'fx\\_%' and r.rolcanlogin
        union select distinct r.rolname from pg_roles r join pg_proc p on p.proowner = r.oid
        where r.rolname like 'fx\\_%' and r.rolcanlogin""",
    ),
    Rule(
        "roles",
        "nobody is a member of anything but what this list says",
        f"""select m.member::regrole || ' in ' || m.roleid::regrole from pg_auth_members m
        where m.member::regrole::text like 'fx\\_%'
        and (m.member::regrole::text, m.roleid::regrole::text) not in ({_pairs(MEMBERS)})""",
    ),
    Rule(
        "roles",
        "the serving roles write no domain table",
        """select r.rolname || ' ' || c.relname || ' ' || p
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, pg_roles r,
        unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
        where n.nspname = 'app' and c.relkind = 'r'
        and r.rolname in ('fx_app', 'fx_worker', 'fx_auditor', 'fx_platform', 'fx_bypass')
        and has_table_privilege(r.oid, c.oid, p)""",
    ),
    Rule(
        "tables",
        "no domain column has a default: every value comes from the command",
        f"""{TABLES} select t.relname || '.' || a.attname from t join pg_attribute a on a.attrelid = t.oid
        join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
        where t.nspname = 'app' and a.attgenerated = ''
        union select t.relname || '.' || a.attname from t join pg_attribute a on a.attrelid = t.oid
        where t.nspname = 'app' and a.attidentity <> ''""",
    ),
    Rule(
        "tables",
        "no column is a float, a numeric or money, and what is money is a bigint (P-08)",
        f"""{TABLES} select t.relname || '.' || a.attname from t join pg_attribute a on a.attrelid = t.oid
        where a.attnum > 0 and not a.attisdropped
        and (a.atttypid in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype, 'money'::regtype)
        or (a.attname ~ '_pence$' and a.atttypid <> 'bigint'::regtype))""",
    ),
    Rule(
        "tables",
        "every index of a tenant table starts with the tenant, unless it keeps something unique",
        f"""{TABLES} select i.indexrelid::regclass::text from carries join pg_index i on i.indrelid = carries.oid
        join pg_attribute a on a.attrelid = carries.oid and a.attname = 'tenant_id'
        where not i.indisunique and i.indkey[0] <> a.attnum
        and i.indexrelid::regclass::text not in ({_names(INDEXES_ACROSS_TENANTS)})""",
    ),
    Rule(
        "tables",
        "a reference between tenant tables carries the tenant, so that it cannot cross",
        f"""{TABLES} select k.conname from pg_constraint k join carries c on c.oid = k.conrelid
        join carries d on d.oid = k.confrelid join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where k.contype = 'f' and not a.attnum = any (k.conkey)""",
    ),
    Rule(
        "tables",
        "a row belongs to a tenant that there is, by keys that are never NULL, unless that is reviewed",
        f"""with recursive key as (
          select k.conrelid, k.confrelid from pg_constraint k
           where k.contype = 'f' and k.convalidated
           and exists (select from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any (k.conkey)
                       and a.attname = 'tenant_id')
           and not exists (select from pg_attribute a where a.attrelid = k.conrelid and a.attnum = any (k.conkey)
                           and not a.attnotnull)),
        held as (select 'app.tenants'::regclass::oid as relation
          union select key.conrelid from key join held on held.relation = key.confrelid)
        select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where c.relkind in ('r', 'p') and n.nspname in ('app', 'ops', 'fx')
        and c.oid not in (select relation from held)
        and n.nspname || '.' || c.relname not in ({_names(WITHOUT_TENANT_KEY)})""",
    ),
    Rule(
        "tables",
        "what is called an id or a reference stands in a key, unless that is reviewed",
        f"""select name from (
          select n.nspname || '.' || c.relname || '.' || b.attname as name, c.oid, b.attnum
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
          join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
          join pg_attribute b on b.attrelid = c.oid and b.attname ~ '_(id|reference)$' and b.attnum <> a.attnum
          where c.relkind in ('r', 'p') and n.nspname in ('app', 'ops', 'fx') and not b.attisdropped) as named
        where not exists (select from pg_constraint k
          where k.contype = 'f' and k.convalidated and k.conrelid = named.oid and named.attnum = any (k.conkey))
        and name not in ({_names(NAMES_WITHOUT_KEY)})""",
    ),
    Rule(
        "views",
        "there is no view that runs with its owner's eyes",
        """select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('app', 'ops', 'fx', 'public') and c.relkind in ('v', 'm')
        and not coalesce('security_invoker=true' = any (c.reloptions), false)""",
    ),
    Rule(
        "guards",
        "the record refuses rewriting always, in every replication role",
        """select w from unnest(array['a_append_only_rows', 'a_append_only_table']) w
        where not exists (select from pg_trigger t where t.tgname = w and t.tgenabled = 'A'
        and t.tgrelid = 'app.audit_entries'::regclass)""",
    ),
    Rule(
        "guards",
        "what entries name does not disappear: actions and batches keep their names, always",
        """select k.relation || ' ' || w
        from (values ('audit_actions'), ('merkle_batches')) as k (relation),
        unnest(array['a_entries_name_it', 'a_entries_name_them', 'a_entries_know_its_name']) w
        where not exists (select from pg_trigger t where t.tgname = w and t.tgenabled = 'A'
        and t.tgrelid = ('app.' || k.relation)::regclass)""",
    ),
    Rule(
        "guards",
        "the entries that wait for their link are linked by a deferred trigger, in every replication role",
        """select 'zz_link_at_commit' where not exists (select from pg_trigger t where t.tgname = 'zz_link_at_commit'
        and t.tgdeferrable and t.tginitdeferred and t.tgenabled = 'A')""",
    ),
    Rule(
        "tables",
        "what carries a tenant outside app is reviewed machinery",
        f"""select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
        where n.nspname in ('ops', 'fx', 'public') and c.relkind in ('r', 'p')
        and c.relname not in ({_names(MACHINERY)})""",
    ),
    Rule(
        "policies",
        "every other policy stands on the reviewed list",
        f"""select p.polrelid::regclass::text || ' ' || p.polname from pg_policy p
        where p.polname <> 'tenant_only'
        and (p.polrelid::regclass::text, p.polname::text, p.polroles::regrole[]::text,
             pg_get_expr(p.polqual, p.polrelid))
            not in (select a, b, '{{' || c || '}}', d from (values {_pairs(POLICIES)}) as known (a, b, c, d))
        and not (p.polcmd = 'r' and (p.polname::text, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid))
            in (select a, '{{' || b || '}}', c from (values {_pairs(READERS)}) as known (a, b, c)))""",
    ),
    Rule(
        "policies",
        "the tenants' policy is for the roles that are pinned, and for nobody else",
        """select p.polrelid::regclass::text || ' ' || p.polname from pg_policy p
        where p.polname = 'tenant_only' and (not p.polpermissive
          or exists (select from unnest(p.polroles) r where r::regrole::text not in ('fx_app', 'fx_writer')))""",
    ),
    Rule(
        "functions",
        "functions with their owner's power stand on the reviewed list",
        f"""select p.oid::regprocedure::text || ' of ' || p.proowner::regrole from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        where n.nspname not in ('pg_catalog', 'information_schema') and p.prosecdef
        and (n.nspname <> 'fx' or (p.proname::text, p.proowner::regrole::text) not in ({_pairs(DEFINERS.items())}))""",
    ),
    Rule(
        "roles",
        "the logins write the machinery on the reviewed list and nothing else",
        f"""select r.rolname || ' ' || c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace,
        pg_roles r
        where n.nspname in ('app', 'ops', 'fx', 'migrations') and c.relkind in ('r', 'p')
        and r.rolname in ('fx_app', 'fx_worker', 'fx_sealer', 'fx_auditor', 'fx_platform', 'fx_bypass')
        and (has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE')
             or has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE'))
        and (r.rolname::text, n.nspname::text, c.relname::text) not in ({_pairs(WRITES_OF_MACHINERY)})""",
    ),
    Rule(
        "roles",
        "no login may lock a table against the others (grant UPDATE by columns, and no DELETE)",
        f"""select r.rolname || ' ' || c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace,
        pg_roles r
        where n.nspname in ('app', 'ops', 'fx', 'migrations') and c.relkind in ('r', 'p')
        and r.rolname in ('fx_app', 'fx_worker', 'fx_sealer', 'fx_auditor', 'fx_platform', 'fx_bypass')
        and has_table_privilege(r.oid, c.oid, 'UPDATE, DELETE, TRUNCATE, MAINTAIN')
        and (r.rolname::text, n.nspname::text, c.relname::text) not in ({_pairs(LOCKS)})""",
    ),
    Rule(
        "functions",
        "statistics and sizes of what all tenants have together are told to no login",
        """select r.rolname || ' ' || p.oid::regprocedure from pg_proc p, pg_roles r
        where p.pronamespace = 'pg_catalog'::regnamespace
        and p.proname ~ '^pg_(stat_get_|(relation|table|total_relation|indexes|database|tablespace)_size$)'
        and r.rolname in ('fx_app', 'fx_worker', 'fx_sealer', 'fx_auditor', 'fx_platform', 'fx_bypass')
        and has_function_privilege(r.oid, p.oid, 'EXECUTE')""",
    ),
    Rule(
        "roles",
        "nothing of the platform is granted to everybody",
        """select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('app', 'ops', 'fx', 'migrations')
        and exists (select from aclexplode(c.relacl) a where a.grantee = 0)
        union
        select n.nspname from pg_namespace n where n.nspname in ('app', 'ops', 'fx', 'migrations', 'public')
        and exists (select from aclexplode(n.nspacl) a where a.grantee = 0)""",
    ),
    Rule(
        "functions",
        "a function refuses with the codes on the reviewed list, each of which has one meaning",
        f"""select found.code[1] || ' of ' || p.proname from pg_proc p,
        regexp_matches(p.prosrc, 'FX[0-9]{{3}}', 'g') as found (code)
        where p.pronamespace = 'fx'::regnamespace
        and (found.code[1], p.proname::text) not in ({_pairs(REFUSALS)})""",
    ),
)
