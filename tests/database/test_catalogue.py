"""The catalogue itself: what every table, policy, function and role must look like. Each rule of the red team's ratchet
is run on the real schema, where it finds nothing, and on a planted fault, which it names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from fintokenx.app.redteam.ratchet import RULES, Rule
from fintokenx.app.redteam.reviewed import MACHINERY, NAMES_WITHOUT_KEY, REFUSALS, WITHOUT_TENANT_KEY
from tests.support import world_from

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Fault:
    """``plant`` makes one and ``named`` is the line that then appears."""

    plant: str
    named: str


BARE = "create table app.bare (tenant_id text not null, id text not null, primary key (tenant_id, id))"

FAULTS = {
    "row-level security is on and forced wherever there is a tenant": Fault(
        f"{BARE}; alter table app.bare enable row level security",
        "app.bare",
    ),
    "a tenant is never NULL": Fault(
        """create table ops.loose (tenant_id text)""",
        "ops.loose",
    ),
    "every table of app is registered, and as what it is": Fault(
        BARE,
        "bare",
    ),
    "every domain table has its guards, and they fire always": Fault(
        """alter table app.things enable trigger a_guard_change""",
        "things",
    ),
    "the guard knows the machine of its table": Fault(
        """update fx.tables set machine = 'other' where table_name = 'things'""",
        "things",
    ),
    "a table with a state has a machine that is loaded": Fault(
        """delete from fx.machine_transitions where machine = 'thing'""",
        "things",
    ),
    "no policy has an OR (a bypass that is OR-ed in scans everybody's rows)": Fault(
        """create policy sly on app.things to fx_app using (tenant_id = (select fx.tenant()) or id = 'x')""",
        "app.things sly",
    ),
    "the serving roles have one policy per table: permissive policies of one role are OR-ed too": Fault(
        """create policy second on app.things to fx_app using (true)""",
        "app.things",
    ),
    "every policy of the serving roles is the pinned tenant, evaluated once": Fault(
        """drop policy tenant_only on app.things; create policy every on app.things to fx_app using (true)""",
        "app.things every",
    ),
    "definer functions pin their search path": Fault(
        """create function fx.loose() returns int language sql security definer as $$ select 1 $$""",
        "fx.loose()",
    ),
    "nobody but fx.tenant may be called by everybody": Fault(
        """grant execute on function fx.apply(text, jsonb) to public""",
        "fx.apply(text,jsonb)",
    ),
    "the serving roles call the functions on this list and no other": Fault(
        """grant execute on function fx.protect(text, text, text) to fx_app""",
        "fx_app protect",
    ),
    "no role of ours is superuser, BYPASSRLS, or may make roles or databases": Fault(
        """alter role fx_bypass bypassrls""",
        "fx_bypass",
    ),
    "no login owns anything": Fault(
        """alter table app.things owner to fx_platform""",
        "fx_platform",
    ),
    "nobody is a member of anything but what this list says": Fault(
        """grant fx_writer to fx_platform""",
        "fx_platform in fx_writer",
    ),
    "the serving roles write no domain table": Fault(
        """grant update on app.things to fx_app""",
        "fx_app things UPDATE",
    ),
    "no domain column has a default: every value comes from the command": Fault(
        """alter table app.things alter note set default 'x'""",
        "things.note",
    ),
    "no column is a float, a numeric or money, and what is money is a bigint (P-08)": Fault(
        """alter table app.things add price numeric""",
        "things.price",
    ),
    "every index of a tenant table starts with the tenant, unless it keeps something unique": Fault(
        """create index things_by_state on app.things (state)""",
        "app.things_by_state",
    ),
    "a reference between tenant tables carries the tenant, so that it cannot cross": Fault(
        """alter table app.things add constraint things_id_key unique (id);
           alter table app.parts add constraint parts_cross foreign key (thing_id) references app.things (id)""",
        "parts_cross",
    ),
    "a row belongs to a tenant that there is, by keys that are never NULL, unless that is reviewed": Fault(
        """alter table app.parts alter thing_id drop not null""",
        "app.parts",
    ),
    "what is called an id or a reference stands in a key, unless that is reviewed": Fault(
        """alter table app.parts add maker_id text""",
        "app.parts.maker_id",
    ),
    "there is no view that runs with its owner's eyes": Fault(
        """create view app.all_things as select * from app.things""",
        "app.all_things",
    ),
    "the record refuses rewriting always, in every replication role": Fault(
        """alter table app.audit_entries disable trigger a_append_only_rows""",
        "a_append_only_rows",
    ),
    "what entries name does not disappear: actions and batches keep their names, always": Fault(
        """alter table app.audit_actions enable trigger a_entries_name_it""",
        "audit_actions a_entries_name_it",
    ),
    "the entries that wait for their link are linked by a deferred trigger, in every replication role": Fault(
        """alter table ops.audit_pending enable trigger zz_link_at_commit""",
        "zz_link_at_commit",
    ),
    "what carries a tenant outside app is reviewed machinery": Fault(
        "create table ops.more (tenant_id text not null)",
        "ops.more",
    ),
    "every other policy stands on the reviewed list": Fault(
        "alter policy bypass_reads on app.things using (true)",
        "app.things bypass_reads",
    ),
    "the tenants' policy is for the roles that are pinned, and for nobody else": Fault(
        "alter policy tenant_only on app.things to fx_app, fx_worker",
        "app.things tenant_only",
    ),
    "functions with their owner's power stand on the reviewed list": Fault(
        "create function fx.more() returns int language sql security definer set search_path = '' as $$ select 1 $$;"
        "alter function fx.more() owner to fx_owner",
        "fx.more() of fx_owner",
    ),
    "the logins write the machinery on the reviewed list and nothing else": Fault(
        "grant update (tenant_id) on ops.login_codes to fx_worker",
        "fx_worker ops.login_codes",
    ),
    "no login may lock a table against the others (grant UPDATE by columns, and no DELETE)": Fault(
        "grant update on ops.idempotency_keys to fx_app",
        "fx_app ops.idempotency_keys",
    ),
    "statistics and sizes of what all tenants have together are told to no login": Fault(
        "grant execute on function pg_stat_get_live_tuples(oid) to fx_app",
        "fx_app pg_stat_get_live_tuples(oid)",
    ),
    "nothing of the platform is granted to everybody": Fault(
        "grant select on app.things to public",
        "app.things",
    ),
    "a function refuses with the codes on the reviewed list, each of which has one meaning": Fault(
        """create function fx.other() returns void language plpgsql as
           $$ begin raise exception 'no' using errcode = 'FX010'; end $$""",
        "FX010 of other",
    ),
}


@pytest.fixture(scope="module")
async def superuser(cluster: str, things_template: str) -> AsyncIterator[asyncpg.Connection]:
    """On a scratch database; every planted fault is rolled back."""
    async with world_from(cluster, things_template) as world:
        connection = await world.connect("postgres")
        # The things of other tests belong to tenants that nobody opened.
        await connection.execute("alter table app.things add foreign key (tenant_id) references app.tenants")
        await connection.execute("set search_path = ''")  # so that every name is shown with its schema
        yield connection
        await connection.close()


async def lines(connection: asyncpg.Connection, rule: Rule) -> set[str]:
    return {row[0] for row in await connection.fetch(rule.sql)}


@pytest.mark.parametrize("rule", RULES, ids=[rule.title for rule in RULES])
async def test_the_schema_holds(superuser: asyncpg.Connection, rule: Rule) -> None:
    assert await lines(superuser, rule) == set()


@pytest.mark.parametrize("rule", RULES, ids=[rule.title for rule in RULES])
async def test_a_planted_fault_is_named(superuser: asyncpg.Connection, rule: Rule) -> None:
    fault = FAULTS[rule.title]
    transaction = superuser.transaction()
    await transaction.start()
    try:
        await superuser.execute(fault.plant)
        assert fault.named in await lines(superuser, rule)
    finally:
        await transaction.rollback()


async def test_everything_that_carries_a_tenant_outside_app_is_on_the_reviewed_list(
    superuser: asyncpg.Connection,
) -> None:
    """And the list names nothing that is gone."""
    rows = await superuser.fetch(
        """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
            where n.nspname in ('ops', 'fx', 'public') and c.relkind in ('r', 'p')"""
    )
    assert {row["relname"] for row in rows} == MACHINERY


def test_a_code_of_ours_has_one_meaning() -> None:
    assert len({code for code, _ in REFUSALS}) == len({(code, meaning) for (code, _), meaning in REFUSALS.items()})


async def test_what_is_reviewed_as_without_a_key_is_there_and_has_none(superuser: asyncpg.Connection) -> None:
    """A line that has lost its reason goes."""
    tables = await superuser.fetch(
        """select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'p') and not exists (select from pg_constraint k join pg_attribute a
              on a.attrelid = c.oid and a.attnum = any (k.conkey) where k.conrelid = c.oid and k.contype = 'f'
              and a.attname = 'tenant_id')"""
    )
    columns = await superuser.fetch(
        """select n.nspname || '.' || c.relname || '.' || a.attname as name from pg_class c
             join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
            where not exists (select from pg_constraint k
              where k.conrelid = c.oid and k.contype = 'f' and a.attnum = any (k.conkey))"""
    )
    assert {row["name"] for row in tables} >= WITHOUT_TENANT_KEY.keys()
    assert {row["name"] for row in columns} >= NAMES_WITHOUT_KEY.keys()


def test_every_fault_that_is_planted_belongs_to_a_rule() -> None:
    assert FAULTS.keys() == {rule.title for rule in RULES}
