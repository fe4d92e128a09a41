"""What is recorded can be read for ever: the database takes nothing else, whoever asks, and verification names what
it cannot read and goes on (AD-01, AD-03)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.errors import Invalid
from tests.database.things import A, all_entries, change, make, noted, verify
from tests.support import World

pytestmark = pytest.mark.anyio
CHANGE = "select fx.change($1, $2::text::timestamptz, 'THING_NOTE', $3, 'system', null, $4, $5, $6::text::json)"
EMPTY = '{"facts":[],"rows":[]}'
NON_CHARACTERS = ("\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0008ffff", "\U0010ffff")


@pytest.fixture
async def injected(world: World) -> AsyncIterator[asyncpg.Connection]:
    """Whoever got SQL into a request: fx_app, under the tenant's own valid pin. It is rolled back."""
    connection = await world.connect("fx_app")
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetchval("select set_config('fx.pin', $1, true)", world.pins.pin(A))
    yield connection
    await transaction.rollback()
    await connection.close()


async def answer(
    connection: asyncpg.Connection,
    *,
    entry_id: str = "aud_1",
    at: str = "2026-06-02 09:00Z",
    actor: str = "sub_1",
    resource: str = "t1",
    request_id: str = "",
    diff: str = EMPTY,
) -> str:
    """The SQLSTATE of recording this, empty when it is taken."""
    nested = connection.transaction()
    await nested.start()
    try:
        await connection.execute(CHANGE, entry_id, at, actor, resource, request_id, diff)
    except asyncpg.PostgresError as fault:
        return str(fault.sqlstate)
    finally:
        await nested.rollback()
    return ""


@pytest.mark.parametrize(
    "at", ["0044-03-15 BC", "20000-01-01Z", "1999-12-31 23:59:59.999999Z", "2101-01-01Z", "infinity", "-infinity"]
)
async def test_a_time_that_the_canonical_form_cannot_hold_is_refused(injected: asyncpg.Connection, at: str) -> None:
    assert await answer(injected, at=at) == "FX009"


@pytest.mark.parametrize("at", ["2000-01-01Z", "2100-12-31 23:59:59.999999Z"])
async def test_business_time_may_stand_anywhere_in_a_century_where_there_is_a_sandbox_clock(
    injected: asyncpg.Connection, at: str
) -> None:
    assert await answer(injected, at=at) == ""


async def test_without_a_sandbox_clock_an_entry_is_of_now(world: World, injected: asyncpg.Connection) -> None:
    superuser = await world.connect("postgres")
    await superuser.execute("update fx.entry_window set tolerance = interval '5 minutes'")
    now = await superuser.fetchval("select clock_timestamp()")
    await superuser.close()
    for minutes, said in ((-6, "FX009"), (-4, ""), (4, ""), (6, "FX009")):
        assert await answer(injected, at=(now + timedelta(minutes=minutes)).isoformat()) == said, minutes


def row(**values: Any) -> dict[str, Any]:
    return {"op": "insert", "table": "things", "row": {"tenant_id": A, "id": "t", **values}}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BAD_DIFFS = {
    "a space": '{"facts":[], "rows":[]}',
    "members out of order": '{"rows":[],"facts":[]}',
    "members of a fact out of order": '{"facts":[{"fact":"X","a":1}],"rows":[]}',
    "members deep inside out of order": '{"facts":[{"fact":"X","z":[{"b":1,"a":1}]}],"rows":[]}',
    "a longer escape": '{"facts":[{"fact":"\\u0058"}],"rows":[]}',
    "another escape for a tab": '{"facts":[{"fact":"\\u0009"}],"rows":[]}',
    "an escaped slash": '{"facts":[{"fact":"\\/"}],"rows":[]}',
    "a capital hex digit": '{"facts":[{"fact":"\\u001F"}],"rows":[]}',
    "a fraction": '{"facts":[{"fact":"X","n":1.5}],"rows":[]}',
    "a whole fraction": '{"facts":[{"fact":"X","n":1.0}],"rows":[]}',
    "an exponent": '{"facts":[{"fact":"X","n":1e3}],"rows":[]}',
    "minus zero": '{"facts":[{"fact":"X","n":-0}],"rows":[]}',
    "2^53": '{"facts":[{"fact":"X","n":9007199254740992}],"rows":[]}',
    "-2^53": '{"facts":[{"fact":"X","n":-9007199254740992}],"rows":[]}',
    "a number of 40 digits": f'{{"facts":[{{"fact":"X","n":{"9" * 40}}}],"rows":[]}}',
    "a number of 5,000 digits": f'{{"facts":[{{"fact":"X","n":{"9" * 5000}}}],"rows":[]}}',
    "a name that is not ASCII": '{"facts":[{"fact":"X","ü":1}],"rows":[]}',
    "an empty name": '{"facts":[{"":1,"fact":"X"}],"rows":[]}',
    "a name of 101 characters": f'{{"facts":[{{"{"a" * 101}":1,"fact":"X"}}],"rows":[]}}',
    "too deep": canonical_json({"facts": [{"fact": "X", "n": nested(15)}], "rows": []}).decode(),
    "deeper than any parser's stack": f'{{"facts":[{{"fact":"X","n":{"[" * 3000}{"]" * 3000}}}],"rows":[]}}',
    "longer than a mebibyte": canonical_json({"facts": [{"fact": "x" * 2**20}], "rows": []}).decode(),
    "a fact without a name": '{"facts":[{"n":1}],"rows":[]}',
    "a fact that is text": '{"facts":["X"],"rows":[]}',
    "facts that are no list": '{"facts":{},"rows":[]}',
    "rows that are no list": '{"facts":[],"rows":null}',
    "a row with a member too many": canonical_json({"facts": [], "rows": [{**row(), "why": "x"}]}).decode(),
    "a row that is text": '{"facts":[],"rows":["x"]}',
    "a row without a table": '{"facts":[],"rows":[{"op":"insert","row":{}}]}',
    "an update of other columns than before": '{"facts":[],"rows":[{"after":{"a":1},"before":{"b":1},"key":{},'
    '"op":"update","table":"things"}]}',
    **{f"U+{ord(c):04X}": canonical_json({"facts": [{"fact": c}], "rows": []}).decode() for c in NON_CHARACTERS},
}


@pytest.mark.parametrize("fault", BAD_DIFFS)
async def test_a_diff_that_is_not_canonical_or_that_a_verifier_cannot_read_is_refused(
    injected: asyncpg.Connection, fault: str
) -> None:
    assert await answer(injected, diff=BAD_DIFFS[fault]) in ("FX008", "FX009", "54001")


@pytest.mark.parametrize("part", ["\\u0000", "\\ud800", "\\udc00x"])
async def test_nul_and_half_a_surrogate_pair_are_refused(injected: asyncpg.Connection, part: str) -> None:
    assert await answer(injected, diff=f'{{"facts":[{{"fact":"{part}"}}],"rows":[]}}') in ("22P05", "22P02", "FX009")


@pytest.mark.parametrize(
    "said",
    [
        {"entry_id": "aud_"},
        {"entry_id": "AUD_1"},
        {"entry_id": "aud_\n"},
        {"actor": "x" * 501},
        {"resource": "x" * 501},
        {"request_id": "x" * 501},
        *({column: c} for column in ("actor", "resource", "request_id") for c in NON_CHARACTERS[:2]),
    ],
)
async def test_a_column_that_cannot_be_read_is_refused(injected: asyncpg.Connection, said: dict[str, str]) -> None:
    assert await answer(injected, **said) == "FX009"


GOOD_VALUES = {
    "numbers": [0, -1, 7, 10**14, 2**53 - 1, -(2**53 - 1), 9007199254740989, 8999999999999999, 9007099999999999],
    "text": [
        "",
        "\t\n\r\b\f\x01\x1f\x7f",
        'quote " and \\ and /',
        "£ ü 漢 \U0001f600 \u2028 \ufeff \ufdcf \ufffd",
        '":1',
    ],
    "words": [True, False, None],
    "nested": {"a": {"b": [{"c": []}, {}]}, "b-2": nested(8), "~ !": 1},
}


@pytest.mark.parametrize("values", GOOD_VALUES)
async def test_whatever_the_platform_spells_is_taken(injected: asyncpg.Connection, values: str) -> None:
    """The twin of the above: what canonical_json makes is what the database asks for."""
    diff = canonical_json({"facts": [{"fact": "X", "v": GOOD_VALUES[values]}, {"fact": "Y"}], "rows": []}).decode()
    assert await answer(injected, diff=diff) == ""


async def test_a_command_with_such_text_is_told_so_and_does_not_break(world: World) -> None:
    await make(world, A, "t1")
    with pytest.raises(Invalid):
        async with world.database.transaction(A) as tx:
            await change(tx, "THING_NOTE", noted(A, "t1", None, "\uffff"))


# ── Verification goes on


async def plant(world: World, statement: str) -> None:
    """As a superuser who has put the guards to sleep."""
    superuser = await world.connect("postgres")
    await superuser.execute("alter table app.audit_entries disable trigger all")
    await superuser.execute(statement)
    await superuser.execute("alter table app.audit_entries enable always trigger a_append_only_rows")
    await superuser.close()


@pytest.mark.parametrize("time", ["0044-03-15 BC", "20000-01-01Z"])
async def test_verification_names_an_entry_that_it_cannot_read_and_goes_on(world: World, time: str) -> None:
    await make(world, A, *(f"t{number}" for number in range(6)))
    [*_, fourth, fifth, _] = await all_entries(world)
    await plant(world, f"update app.audit_entries set \"timestamp\" = '{time}' where seq in (3, 4)")
    await plant(world, "update app.audit_entries set actor = 'nobody' where seq = 5")
    verdict = await verify(world)
    assert verdict.entries == 6
    assert [fault.split(": ")[:2] for fault in verdict.faults] == [
        ["entry 3 (" + (await all_ids(world))[2] + ")", "cannot be read"],
        [f"entry 4 ({fourth['id']})", "cannot be read"],
        [f"entry 5 ({fifth['id']})", "its content is not what was hashed"],
    ]


async def all_ids(world: World) -> list[str]:
    superuser = await world.connect("postgres")
    rows = await superuser.fetch("select id from app.audit_entries order by seq")
    await superuser.close()
    return [found["id"] for found in rows]


async def test_a_link_to_an_entry_that_cannot_be_read_is_checked_all_the_same(world: World) -> None:
    await make(world, A, "t1", "t2", "t3")
    await plant(world, "update app.audit_entries set \"timestamp\" = '0044-03-15 BC', hash = sha256('x') where seq = 2")
    told = (await verify(world)).faults
    assert [fault.split(": ")[1] for fault in told[:2]] == ["cannot be read", "does not link to the entry before it"]


async def test_a_record_whose_last_entry_cannot_be_read_ends_there(world: World) -> None:
    await make(world, A, "t1", "t2")
    await plant(world, "update app.audit_entries set \"timestamp\" = '20000-01-01Z' where seq = 2")
    verdict = await verify(world)
    assert (verdict.entries, len(verdict.faults)) == (2, 1)
