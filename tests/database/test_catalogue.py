"""The catalogue itself: what every table, policy, function and role must look like. Each check is run on the real
schema, where it finds nothing, and on a planted fault, which it names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from tests.support import World, world_from

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Check:
    """``sql`` returns one line per fault; ``plant`` makes one and ``named`` is the line that then appears."""

    title: str
    sql: str
    plant: str
    named: str


TABLES = """
  with t as (select c.oid, n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relowner
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where c.relkind in ('r', 'p') and n.nspname in ('app', 'ops', 'fx')),
  carries as (select t.* from t join pg_attribute a on a.attrelid = t.oid and a.attname = 'tenant_id'
               where not (t.nspname = 'ops' and t.relname = 'audit_pending'))
"""
# ops.audit_pending carries a tenant but is read and written by fx_writer and fx_linker only, inside definer functions.

BARE = "create table app.bare (tenant_id text not null, id text not null, primary key (tenant_id, id))"

CHECKS = [
    Check(
        "row-level security is on and forced wherever there is a tenant",
        f"{TABLES} select nspname || '.' || relname from carries where not (relrowsecurity and relforcerowsecurity)",
        f"{BARE}; alter table app.bare enable row level security",
        "app.bare",
    ),
    Check(
        "a tenant is never NULL",
        f"""{TABLES} select nspname || '.' || relname from carries join pg_attribute a on a.attrelid = carries.oid
             where a.attname = 'tenant_id' and not a.attnotnull""",
        "create table ops.loose (tenant_id text)",
        "ops.loose",
    ),
    Check(
        "every table of app is registered, and as what it is",
        f"""{TABLES} select t.relname from t left join fx.tables f on f.table_name = t.relname
             where t.nspname = 'app' and (f.kind is null
                or (f.kind = 'tenant') <> exists (select from pg_attribute a
                                                   where a.attrelid = t.oid and a.attname = 'tenant_id'))
            union select table_name from fx.tables where to_regclass('app.' || table_name) is null""",
        BARE,
        "bare",
    ),
    Check(
        "every domain table has its guards, and they fire always",
        f"""{TABLES} select t.relname from t join fx.tables f on f.table_name = t.relname
             where t.nspname = 'app' and f.kind = 'tenant' and t.relname <> 'audit_entries'
               and (select count(*) from pg_trigger g where g.tgrelid = t.oid and g.tgenabled = 'A'
                      and g.tgname in ('a_guard_change', 'a_no_truncate')) <> 2""",
        "alter table app.things enable trigger a_guard_change",
        "things",
    ),
    Check(
        "the guard knows the machine of its table",
        """select f.table_name from fx.tables f join pg_trigger g on g.tgrelid = to_regclass('app.' || f.table_name)
            where g.tgname = 'a_guard_change'
              and encode(g.tgargs, 'escape') <> coalesce(f.machine || '\\000', '')""",
        "update fx.tables set machine = 'other' where table_name = 'things'",
        "things",
    ),
    Check(
        "a table with a state has a machine that is loaded",
        """select f.table_name from fx.tables f
            where f.machine is not null
              and not exists (select from fx.machine_transitions m where m.machine = f.machine)""",
        "delete from fx.machine_transitions where machine = 'thing'",
        "things",
    ),
    Check(
        "no policy has an OR (a bypass that is OR-ed in scans everybody's rows)",
        """select p.polrelid::regclass::text || ' ' || p.polname from pg_policy p
            where upper(pg_get_expr(p.polqual, p.polrelid)) ~ '\\mOR\\M'
               or upper(pg_get_expr(p.polwithcheck, p.polrelid)) ~ '\\mOR\\M'""",
        "create policy sly on app.things to fx_app using (tenant_id = (select fx.tenant()) or id = 'x')",
        "app.things sly",
    ),
    Check(
        "the serving roles have one policy per table: permissive policies of one role are OR-ed too",
        """select p.polrelid::regclass::text from pg_policy p
            where 'fx_app'::regrole::oid = any (p.polroles) or p.polroles = '{0}' group by 1 having count(*) > 1""",
        "create policy second on app.things to fx_app using (true)",
        "app.things",
    ),
    Check(
        "every policy of the serving roles is the pinned tenant, evaluated once",
        """select p.polrelid::regclass::text || ' ' || p.polname from pg_policy p
            where ('fx_app'::regrole::oid = any (p.polroles) or 'fx_writer'::regrole::oid = any (p.polroles)
                   or p.polroles = '{0}')
              and pg_get_expr(p.polqual, p.polrelid) !~
                  '^\\(tenant_id = \\( SELECT (fx\\.)?tenant\\(\\) AS tenant\\)\\)$'""",
        "drop policy tenant_only on app.things; create policy every on app.things to fx_app using (true)",
        "app.things every",
    ),
    Check(
        "definer functions pin their search path",
        """select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in ('app', 'ops', 'fx', 'public') and p.prosecdef
              and not coalesce('search_path=""' = any (p.proconfig), false)""",
        "create function fx.loose() returns int language sql security definer as $$ select 1 $$",
        "fx.loose()",
    ),
    Check(
        "nobody but fx.tenant may be called by everybody",
        """select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in ('app', 'ops', 'fx') and p.proname <> 'tenant'
              and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                           where a.grantee = 0 and a.privilege_type = 'EXECUTE')""",
        "grant execute on function fx.apply(text, jsonb) to public",
        "fx.apply(text,jsonb)",
    ),
    Check(
        "the serving roles call the functions on this list and no other",
        """select r.rolname || ' ' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
                  pg_roles r
            where n.nspname = 'fx' and r.rolname in ('fx_app', 'fx_worker', 'fx_sealer', 'fx_auditor', 'fx_platform')
              and has_function_privilege(r.oid, p.oid, 'EXECUTE')
              and (r.rolname, p.proname) not in (('fx_app', 'change'), ('fx_app', 'next_nonce'),
                                                 ('fx_sealer', 'take_chain_lock'), ('fx_auditor', 'entry_bytes'),
                  -- The replay, as its caller, who may write nothing but the twins that shadow_open makes for it.
                  ('fx_auditor', 'apply'), ('fx_auditor', 'replay'), ('fx_auditor', 'shadow_open'),
                  ('fx_auditor', 'shadow_columns'), ('fx_auditor', 'shadow_join'), ('fx_auditor', 'shadow_differs'),
                  ('fx_auditor', 'shadow_count'), ('fx_auditor', 'shadow_differences'),
                  ('fx_auditor', 'sealed_under_dead_keys'))
              and p.proname <> 'tenant'""",
        "grant execute on function fx.protect(text, text, text) to fx_app",
        "fx_app protect",
    ),
    Check(
        "no role of ours is superuser, BYPASSRLS, or may make roles or databases",
        """select rolname from pg_roles where rolname like 'fx\\_%'
              and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)""",
        "alter role fx_bypass bypassrls",
        "fx_bypass",
    ),
    Check(
        "no login owns anything",
        """select distinct r.rolname from pg_roles r join pg_class c on c.relowner = r.oid
            where r.rolname like 'fx\\_%' and r.rolcanlogin
            union select distinct r.rolname from pg_roles r join pg_proc p on p.proowner = r.oid
            where r.rolname like 'fx\\_%' and r.rolcanlogin""",
        "alter table app.things owner to fx_platform",
        "fx_platform",
    ),
    Check(
        "only the migrator is a member of anything",
        """select m.member::regrole || ' in ' || m.roleid::regrole from pg_auth_members m
            where m.member::regrole::text like 'fx\\_%'
              and (m.member::regrole::text, m.roleid::regrole::text) not in
                  (('fx_migrator', 'fx_owner'), ('fx_owner', 'fx_writer'), ('fx_owner', 'fx_linker'))""",
        "grant fx_writer to fx_platform",
        "fx_platform in fx_writer",
    ),
    Check(
        "the serving roles write no domain table",
        """select r.rolname || ' ' || c.relname || ' ' || p
             from pg_class c join pg_namespace n on n.oid = c.relnamespace, pg_roles r,
                  unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
            where n.nspname = 'app' and c.relkind = 'r'
              and r.rolname in ('fx_app', 'fx_worker', 'fx_auditor', 'fx_platform', 'fx_bypass')
              and has_table_privilege(r.oid, c.oid, p)""",
        "grant update on app.things to fx_app",
        "fx_app things UPDATE",
    ),
    Check(
        "no domain column has a default: every value comes from the command",
        f"""{TABLES} select t.relname || '.' || a.attname from t join pg_attribute a on a.attrelid = t.oid
             join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
             where t.nspname = 'app' and a.attgenerated = ''
            union select t.relname || '.' || a.attname from t join pg_attribute a on a.attrelid = t.oid
             where t.nspname = 'app' and a.attidentity <> ''""",
        "alter table app.things alter note set default 'x'",
        "things.note",
    ),
    Check(
        "no column is a float, a numeric or money, and what is money is a bigint (P-08)",
        f"""{TABLES} select t.relname || '.' || a.attname from t join pg_attribute a on a.attrelid = t.oid
             where a.attnum > 0 and not a.attisdropped
               and (a.atttypid in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype, 'money'::regtype)
                    or (a.attname ~ '_pence$' and a.atttypid <> 'bigint'::regtype))""",
        "alter table app.things add price numeric",
        "things.price",
    ),
    Check(
        "every index of a tenant table starts with the tenant, unless it keeps something unique",
        f"""{TABLES} select i.indexrelid::regclass::text from carries join pg_index i on i.indrelid = carries.oid
             join pg_attribute a on a.attrelid = carries.oid and a.attname = 'tenant_id'
             where not i.indisunique and i.indkey[0] <> a.attnum
               and i.indexrelid::regclass::text not in ('app.audit_entries_of_batch', 'ops.jobs_due')""",
        "create index things_by_state on app.things (state)",
        "app.things_by_state",
    ),
    Check(
        "a reference between tenant tables carries the tenant, so that it cannot cross",
        f"""{TABLES} select k.conname from pg_constraint k join carries c on c.oid = k.conrelid
             join carries d on d.oid = k.confrelid join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
             where k.contype = 'f' and not a.attnum = any (k.conkey)""",
        """alter table app.things add constraint things_id_key unique (id);
           alter table app.parts add constraint parts_cross foreign key (thing_id) references app.things (id)""",
        "parts_cross",
    ),
    Check(
        "there is no view that runs with its owner's eyes",
        """select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in ('app', 'ops', 'fx', 'public') and c.relkind in ('v', 'm')
              and not coalesce('security_invoker=true' = any (c.reloptions), false)""",
        "create view app.all_things as select * from app.things",
        "app.all_things",
    ),
    Check(
        "the record refuses rewriting always, in every replication role",
        """select w from unnest(array['a_append_only_rows', 'a_append_only_table']) w
            where not exists (select from pg_trigger t where t.tgname = w and t.tgenabled = 'A'
                                and t.tgrelid = 'app.audit_entries'::regclass)""",
        "alter table app.audit_entries disable trigger a_append_only_rows",
        "a_append_only_rows",
    ),
    Check(
        "the entries that wait for their link are linked by a deferred trigger",
        """select 'zz_link_at_commit' where not exists (select from pg_trigger t where t.tgname = 'zz_link_at_commit'
              and t.tgdeferrable and t.tginitdeferred and t.tgenabled in ('O', 'A'))""",
        "alter table ops.audit_pending disable trigger zz_link_at_commit",
        "zz_link_at_commit",
    ),
]


@pytest.fixture(scope="module")
async def superuser(cluster: str, things_template: str) -> AsyncIterator[asyncpg.Connection]:
    """On a scratch database; every planted fault is rolled back."""
    async with world_from(cluster, things_template) as world:
        connection = await world.connect("postgres")
        await connection.execute("set search_path = ''")  # so that every name is shown with its schema
        yield connection
        await connection.close()


async def lines(connection: asyncpg.Connection, check: Check) -> set[str]:
    return {row[0] for row in await connection.fetch(check.sql)}


@pytest.mark.parametrize("check", CHECKS, ids=[check.title for check in CHECKS])
async def test_the_schema_holds(superuser: asyncpg.Connection, check: Check) -> None:
    assert await lines(superuser, check) == set()


@pytest.mark.parametrize("check", CHECKS, ids=[check.title for check in CHECKS])
async def test_a_planted_fault_is_named(superuser: asyncpg.Connection, check: Check) -> None:
    transaction = superuser.transaction()
    await transaction.start()
    try:
        await superuser.execute(check.plant)
        assert check.named in await lines(superuser, check)
    finally:
        await transaction.rollback()


async def test_everything_that_carries_a_tenant_outside_app_is_on_the_reviewed_list(world: World) -> None:
    """Machinery that is not domain state; a new table here is a reviewed decision."""
    connection = await world.connect("postgres")
    rows = await connection.fetch(
        """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
            where n.nspname in ('ops', 'fx', 'public') and c.relkind in ('r', 'p')"""
    )
    await connection.close()
    assert {row["relname"] for row in rows} <= {
        "jobs", "idempotency_keys", "inbox", "audit_pending", "subject_keys", "tenant_keys", "api_key_use",
        "client_balances", "login_codes", "login_throttles",
    }  # fmt: skip
