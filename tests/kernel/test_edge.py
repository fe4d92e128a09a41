"""At the edge: one effect per key, equal answers, none before the commit, problems that say nothing they must not
(P-10 … P-14, P-24)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from fintokenx.web.edge import REPLAY_HEADER
from tests.database.things import A, B, all_entries
from tests.kernel.edge_app import BODY, application_of, client, client_of, counted, key
from tests.support import World

pytestmark = pytest.mark.anyio
__all__ = ["client"]


async def test_fifty_identical_posts_at_once_have_one_effect_and_fifty_equal_answers(
    world: World, client: httpx.AsyncClient
) -> None:
    """P-13."""
    answers = await asyncio.gather(*(client.post("/v1/things", json=BODY, headers=key()) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(REPLAY_HEADER in answer.headers for answer in answers) == 49
    assert await counted(world) == (1, 1, 1, 1)


async def test_a_replay_is_the_stored_answer_byte_for_byte_and_says_so(world: World, client: httpx.AsyncClient) -> None:
    """P-11."""
    first = await client.post("/v1/things", json=BODY, headers=key())
    second = await client.post("/v1/things", json=BODY, headers=key())
    assert (second.status_code, second.content) == (201, first.content)
    assert REPLAY_HEADER not in first.headers
    assert second.headers[REPLAY_HEADER] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert len(await all_entries(world)) == 1


async def test_a_replay_waits_for_the_disk_before_it_tells_what_another_transaction_committed(world: World) -> None:
    """A committed row is visible a moment before it is flushed: the replay must not be quicker than the disk."""
    superuser = await world.connect("postgres")
    async with client_of(application_of(world)) as client:
        first = await client.post("/v1/things", json=BODY, headers=key())
        # The other transaction of this story: committed without waiting for its flush.
        await superuser.execute("set synchronous_commit = off; create table public.unflushed as select 1")
        written = await superuser.fetchval("select pg_current_wal_insert_lsn()")
        second = await client.post("/v1/things", json=BODY, headers=key())
        flushed = await superuser.fetchval("select pg_current_wal_flush_lsn() >= $1", written)
    await superuser.close()
    assert second.content == first.content
    assert flushed


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "REQUIRED"),
        (key(""), "REQUIRED"),
        (key("a" * 256), "TOO_LONG"),
        (key("a" * 300), "TOO_LONG"),
        (key("a\tb"), "UNREADABLE"),
        ([*key("a").items(), *key("b").items()], "TWICE"),
    ],
)
async def test_a_mutation_without_a_usable_key_is_refused_and_told_why(
    world: World, client: httpx.AsyncClient, headers: Any, code: str
) -> None:
    """P-10, A17: a long key was called missing."""
    answer = await client.post("/v1/things", json=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, f"IDEMPOTENCY_KEY_{code}")
    assert await counted(world) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"json": {**BODY, "amount_pence": 1251}},
        {"url": "/v1/others"},
        {"url": "/v1/things?dry=1"},
        {"headers": {**key(), "test-actor": "sub_2"}},
        {"headers": {**key(), "test-for": "sub_3"}},
    ],
)
async def test_a_key_is_refused_for_another_body_route_or_principal(
    world: World, client: httpx.AsyncClient, changed: dict[str, Any]
) -> None:
    """P-12."""
    request: dict[str, Any] = {"url": "/v1/things", "json": BODY, "headers": key()}
    assert (await client.post(**request)).status_code == 201
    answer = await client.post(**{**request, **changed})
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await counted(world) == (1, 1, 1, 1)


async def test_one_tenants_key_is_free_in_another(world: World, client: httpx.AsyncClient) -> None:
    """P-12, TI-06."""
    mine = await client.post("/v1/things", json=BODY, headers=key())
    theirs = await client.post(
        "/v1/things", json={"name": "pan", "amount_pence": 1}, headers={**key(), "test-tenant": B}
    )
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.content != theirs.content
    assert await counted(world) == (2, 2, 2, 2)


async def test_a_refusal_stores_nothing_and_leaves_the_key_free(world: World, client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/things", json={"name": "full", "amount_pence": 1}, headers=key())
    assert (refused.status_code, refused.json()["code"]) == (409, "NO_ROOM")
    assert await counted(world) == (0, 0, 0, 0)
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 201


@pytest.mark.parametrize(
    ("name", "status", "code"), [("bug", 500, "INTERNAL_FAULT"), ("bank", 503, "BANK_UNAVAILABLE")]
)
async def test_a_fault_stores_nothing_and_tells_nothing(
    world: World, client: httpx.AsyncClient, name: str, status: int, code: str
) -> None:
    """P-24: no stack trace, no text of an exception."""
    answer = await client.post("/v1/things", json={"name": name, "amount_pence": 1}, headers=key())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "xyzzy" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["request_id"] == answer.headers["fx-request-id"]
    assert await counted(world) == (0, 0, 0, 0)


async def break_at_commit(world: World) -> None:
    """A deferred constraint that fails inside COMMIT when the command asks for it."""
    superuser = await world.connect("postgres")
    await superuser.execute("""
        create function public.fail_at_commit() returns trigger language plpgsql as $$
        begin
          if current_setting('fx.test_break', true) = 'on' then
            raise exception 'refused inside COMMIT' using errcode = '23514';
          end if;
          return null;
        end $$;
        create constraint trigger z_fail_at_commit after insert on app.things
          deferrable initially deferred for each row execute function public.fail_at_commit();
        grant usage on schema public to public; grant execute on function public.fail_at_commit() to public;
    """)
    await superuser.close()


async def test_when_the_commit_fails_nobody_is_told_of_success(world: World, client: httpx.AsyncClient) -> None:
    """Trap 1: an answer that left before the commit would have been a 201."""
    await break_at_commit(world)
    body = {"name": "broken at commit", "amount_pence": 1}
    answer = await client.post("/v1/things", json=body, headers=key())
    assert answer.status_code == 500
    assert await counted(world) == (0, 0, 0, 0)
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 201, "and the key is free"


async def test_when_the_entry_cannot_be_linked_at_commit_nobody_is_told_of_success(
    world: World, client: httpx.AsyncClient
) -> None:
    """P-05 at the edge: a failing INSERT on audit_entries is a 5xx and no row."""
    superuser = await world.connect("postgres")
    await superuser.execute("alter table app.audit_entries add constraint broken check (false) not valid")
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 500
    assert await counted(world) == (0, 0, 0, 0)
    await superuser.execute("alter table app.audit_entries drop constraint broken")
    await superuser.close()
    assert (await client.post("/v1/things", json=BODY, headers=key())).status_code == 201


async def test_a_request_that_dies_with_its_connection_can_be_repeated_as_it_is(world: World) -> None:
    """P-14: killed between effect and answer, the same key gives exactly one effect."""
    app = application_of(world)
    superuser = await world.connect("postgres")
    async with client_of(app) as client:
        for attempt in range(4):
            lost = asyncio.create_task(client.post("/v1/things", json=BODY, headers=key()))
            await asyncio.sleep(0.002 * attempt)
            await superuser.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fx_app' and datname = $1",
                world.name,
            )
            assert (await lost).status_code in (201, 500, 503)
        final = await client.post("/v1/things", json=BODY, headers=key())
        if final.status_code == 503:
            final = await client.post("/v1/things", json=BODY, headers=key())
    await superuser.close()
    assert final.status_code == 201
    assert await counted(world) == (1, 1, 1, 1)


async def test_a_key_whose_first_request_still_runs_is_told_so_after_a_while(world: World) -> None:
    """The waiting twin gives up after five seconds with 409 and a Retry-After."""
    connection = await world.connect("fx_app")
    await connection.execute(f"begin; set local fx.pin = '{world.pins.pin(A)}'")
    await connection.execute(
        "insert into ops.idempotency_keys values ($1, 'k1', 'p', 'r', '\\x00', null, null, null, now())", A
    )
    async with client_of(application_of(world)) as client:
        answer = await client.post("/v1/things", json=BODY, headers=key())
    await connection.close()
    assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_IN_FLIGHT")
    assert answer.headers["retry-after"] == "2"
    assert await counted(world) == (0, 0, 0, 0)
