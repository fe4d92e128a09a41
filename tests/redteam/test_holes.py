"""Holes planted in a system: the run does not pass, and names the attack that got through (must-show 3)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, Request

from fintokenx.adapters.documents import workers
from fintokenx.app import redteam, serving
from fintokenx.app.redteam import doors
from fintokenx.kernel import sessions
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import NotFound
from fintokenx.web import edge, forms
from fintokenx.web.edge import Edge, Query, query
from fintokenx.web.routes import OFFICERS, may_call
from tests.redteam.house import House, house

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass(frozen=True)
class Hole:
    """``sql`` makes it as the superuser; ``undo`` where it is not the database's own but the cluster's. ``named`` are
    attacks that must get through; ``played`` are more that are run beside them and must not."""

    sql: str
    named: tuple[str, ...]
    undo: str = ""
    played: tuple[str, ...] = ()


def without(function: str, words: str, instead: str = "") -> str:
    """A function whose source lacks some words; fails loudly when they are not there."""
    return f"""do $plant$ declare source text; begin
      source := pg_get_functiondef('{function}'::regprocedure);
      if position($w${words}$w$ in source) = 0 then raise exception 'the words are not there'; end if;
      execute replace(source, $w${words}$w$, $w${instead}$w$);
    end $plant$"""


OPEN_BYPASS = "fx.open_bypass(text, timestamptz, text, text, text, text)"
UNFIT = "fx.refuse_unfit_administrator(text, boolean, text, text, timestamptz)"
READABLE = "fx.refuse_unreadable(text, timestamptz, text[], json, jsonb)"
CHANGE = "fx.change(text, timestamptz, text, text, text, text, text, text, json)"

HOLES = {
    "a table without FORCE": Hole(
        "alter table app.subjects no force row level security", ("RT-90",), played=("RT-02",)
    ),
    "row security disabled": Hole(
        "alter table app.sessions disable row level security", ("RT-01", "RT-02", "RT-16", "RT-90")
    ),
    "a policy with OR true": Hole(
        "alter policy tenant_only on app.subjects using (tenant_id = (select fx.tenant()) or true)",
        ("RT-01", "RT-02", "RT-52", "RT-91"),
    ),
    "a second permissive policy": Hole(
        "create policy second on app.subjects for select to fx_app using (true)", ("RT-02", "RT-36", "RT-91")
    ),
    "a policy for everybody": Hole(
        "create policy every on app.audit_entries for select using (true)", ("RT-02", "RT-91"), played=("RT-90",)
    ),
    "a bypass policy that asks for no grant": Hole(
        "alter policy bypass_reads on app.subjects using (true)", ("RT-68", "RT-91"), played=("RT-67",)
    ),
    "a bypass that may be read in its own transaction": Hole(
        without("fx.bypass_tenants()", "and g.xid is distinct from pg_current_xact_id_if_assigned()")
        + ";"
        + without("fx.bypass_tenants()", "or current_setting('transaction_read_only') <> 'on'")
        + ";"
        + without("fx.bypass_tenants()", "and g.lxid = fx.own_lxid()"),
        ("RT-69", "RT-80"),
    ),
    "a bypass without an end": Hole(
        without("fx.bypass_tenants()", "and g.expires_at > clock_timestamp()"), ("RT-72",), played=("RT-73",)
    ),
    "a bypass for every connection": Hole(
        without("fx.bypass_tenants()", "g.backend_pid = pg_backend_pid() and")
        + ";"
        + without("fx.bypass_tenants()", "on a.backend_start = g.backend_start", "on true")
        + ";"
        + without("fx.bypass_tenants()", "and g.lxid = fx.own_lxid()"),
        ("RT-71",),
        played=("RT-68",),
    ),
    "a bypass that outlives its admin session": Hole(
        without("fx.bypass_tenants()", "and s.state = 'OPEN'"), ("RT-74",), played=("RT-73",)
    ),
    "a bypass that asks nobody who is logged in": Hole(
        without(OPEN_BYPASS, "session_user <> 'fx_platform'", "false")
        + ";"
        + without(UNFIT, "session_user <> 'fx_platform'", "false"),
        ("RT-77", "RT-79"),
        played=("RT-78",),
    ),
    "an admin session approved by its requester": Hole(
        "alter table app.admin_sessions drop constraint admin_sessions_check", ("RT-75",), played=("RT-76",)
    ),
    "a definer function without search_path": Hole(
        f"alter function {CHANGE} reset search_path", ("RT-92",), played=("RT-93",)
    ),
    "a definer function for everybody that returns rows": Hole(
        "create function fx.everything() returns setof app.subjects language sql security definer set search_path = ''"
        " as $$ select * from app.subjects $$; grant execute on function fx.everything() to public",
        ("RT-92",),
    ),
    "fx_app is a member of fx_bypass": Hole(
        "grant fx_bypass to fx_app", ("RT-13", "RT-93"), "revoke fx_bypass from fx_app"
    ),
    "a serving login is a member of the owner": Hole(
        "grant fx_owner to fx_platform", ("RT-12", "RT-13", "RT-93"), "revoke fx_owner from fx_platform"
    ),
    "a serving login with BYPASSRLS": Hole(
        "alter role fx_platform bypassrls", ("RT-12", "RT-93"), "alter role fx_platform nobypassrls"
    ),
    "UPDATE on the record": Hole("grant update on app.audit_entries to fx_app", ("RT-39", "RT-93"), played=("RT-41",)),
    "a guard that is off": Hole("alter table app.subjects disable trigger a_guard_change", ("RT-28", "RT-94")),
    "a view with its owner's eyes": Hole(
        "create view app.all_subjects as select * from app.subjects; grant select on app.all_subjects to fx_app",
        ("RT-02", "RT-48", "RT-95"),
    ),
    "pins that never expire": Hole(
        without("fx.tenant()", "if parts[2]::bigint < extract(epoch from clock_timestamp()) then return null; end if;"),
        ("RT-05",),
        played=("RT-04", "RT-06"),
    ),
    "pins of retired keys": Hole(without("fx.tenant()", "where retired_at is null"), ("RT-09",), played=("RT-08",)),
    "pins that nobody verifies": Hole(
        without("fx.tenant()", "= decode(parts[3], 'hex')", "is not null"), ("RT-04", "RT-06", "RT-07", "RT-08")
    ),
    "an entry of any role": Hole(
        without(CHANGE, "not (entry_actor_role = any (rule.actor_roles))", "false"), ("RT-26", "RT-78")
    ),
    "entries of any time": Hole(
        without(READABLE, "entry_at is null or entry_at < '2000-01-01Z' or entry_at >= '2101-01-01Z'", "false"),
        ("RT-120",),
        played=("RT-122",),
    ),
    "entries of any spelling": Hole(
        without(READABLE, "or not fx.names_in_order(entry_diff)"), ("RT-121",), played=("RT-120",)
    ),
    "entries of any length": Hole(without(READABLE, "length(c) > 500", "false"), ("RT-122",), played=("RT-121",)),
    "a nonce for nothing": Hole(
        "drop trigger a_goes_to_a_promise on ops.chain_senders", ("RT-123",), played=("RT-124",)
    ),
    "a sender that somebody has added": Hole(
        "insert into ops.chain_senders (sender, next_nonce, mined)"
        " values ('0x00000000000000000000000000000000000000aa', 0, 0)",
        ("RT-156",),
        played=("RT-123",),
    ),
    "a count of the chain that a tenant may tell": Hole(
        "grant execute on function fx.sender_has_mined(text, bigint) to fx_app", ("RT-92", "RT-124"), played=("RT-123",)
    ),
    "entries with any rows": Hole(
        without(CHANGE, "perform fx.refuse_misfit(entry_action, parsed -> 'rows');"), ("RT-125", "RT-126")
    ),
    "a sequence that everybody may read": Hole(
        "grant select on sequence fx.invoice_numbers to fx_app", ("RT-49",), played=("RT-50",)
    ),
    "sessions that may end each other": Hole(
        "grant execute on function pg_terminate_backend(integer, bigint) to public", ("RT-20",), played=("RT-47",)
    ),
    "temporary tables": Hole(
        "do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$",
        ("RT-30", "RT-50"),
    ),
    "a login that makes roles": Hole(
        "alter role fx_app createrole", ("RT-15", "RT-93"), "alter role fx_app nocreaterole"
    ),
    "a login that may silence triggers": Hole(
        "grant set on parameter session_replication_role to fx_app", ("RT-17",),
        "revoke set on parameter session_replication_role from fx_app",
    ),
    "files of the server": Hole("grant execute on function pg_read_file(text) to fx_app", ("RT-19",)),
    "pins' key for reading": Hole("grant select on fx.pin_keys to fx_app", ("RT-11",)),
    "an inner function for a login": Hole("grant execute on function fx.entry_bytes to fx_app", ("RT-21", "RT-92")),
    "machines that a login unloads": Hole("grant delete on fx.machine_transitions to fx_app", ("RT-41", "RT-93")),
    "a domain table that a login writes": Hole("grant insert on app.sessions to fx_app", ("RT-40", "RT-93")),
    "jobs of everybody": Hole("create policy every on ops.jobs to fx_app using (true)", ("RT-02", "RT-44", "RT-91")),
    "a key that is unique across tenants": Hole("create unique index sly on app.alerts (id)", ("RT-45",)),
    "statistics for reading": Hole("grant select on pg_statistic to fx_app", ("RT-46",)),
    "sessions that may be watched": Hole(
        "grant execute on function pg_stat_get_activity(integer) to public", ("RT-47", "RT-92")
    ),
    "a cursor that outlives its grant": Hole(
        without("fx.close_bypass()", "execute 'close all';"), ("RT-73",), played=("RT-74",)
    ),
    "grants for reading": Hole("grant select on ops.bypass_grants to fx_app", ("RT-81",)),
    "turns that a tenant may move": Hole("grant update (due_at) on ops.periodic_turns to fx_app", ("RT-93", "RT-140")),
    "jobs of any time": Hole("alter table ops.jobs drop constraint jobs_run_at_check", ("RT-141",)),
    "carried rows that a tenant may declare": Hole("grant insert on fx.action_carries to fx_app", ("RT-93", "RT-142")),
    "a window of times that a tenant may open": Hole(
        "grant update (tolerance) on fx.entry_window to fx_app", ("RT-93", "RT-143")
    ),
    "locks of any key": Hole(
        "grant execute on function pg_advisory_xact_lock(bigint) to fx_app", ("RT-149",), played=("RT-20",)
    ),
    "locks without a tenant": Hole(
        without("fx.lock(text, boolean)", "pinned || ':' || thing", "thing"), ("RT-149",), played=("RT-123",)
    ),
    "promises with any nonce": Hole("alter table app.chain_tx disable trigger b_nonce_was_given", ("RT-144",)),
    "keys wrapped by anybody's": Hole(
        without("fx.only_shred()", "and new.wrapped_by = 'tenant/' || new.tenant_id || '/wrap'"), ("RT-145",)
    ),
    "an alert that ends though somebody took it up": Hole(
        "insert into fx.machine_transitions values ('alert', 'ACKED', 'x', 'AUTO_CLEARED', 'ALERT_CLEAR')", ("RT-146",)
    ),
    "a table that nobody has registered": Hole(
        "create table app.notes (tenant_id text not null, note text); grant select on app.notes to fx_app", ("RT-90",)
    ),
}  # fmt: skip


@asynccontextmanager
async def planted(place: House, hole: Hole) -> AsyncIterator[None]:
    """What is the cluster's is taken back whatever happens: other tests live there too."""
    await place.plant(hole.sql)
    try:
        yield
    finally:
        if hole.undo:
            await place.plant(hole.undo)


def test_enough_holes_are_planted() -> None:
    assert len(HOLES) >= 14


AT_ONCE = 14
"""So many are played in `make test`, the others in `make soak`."""


@pytest.mark.parametrize(
    "hole",
    [
        pytest.param(hole, id=name, marks=[pytest.mark.soak] if number >= AT_ONCE else [])
        for number, (name, hole) in enumerate(HOLES.items())
    ],
)
async def test_a_planted_hole_is_named(place: House, hole: Hole) -> None:
    async with planted(place, hole):
        results = await place.play(*hole.named, *hole.played)
    broken = {name for name, result in results.items() if result.broken}
    assert broken == set(hole.named), {name: result.detail for name, result in results.items()}
    assert not any("unforeseen" in results[name].detail for name in broken)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(HOLES)[:8])
async def test_a_hole_fails_the_whole_run_and_its_report(place: House, name: str) -> None:
    hole = HOLES[name]
    async with planted(place, hole):
        done = await place.bypass()
    assert set(hole.named) <= set(done.report.broken)
    assert (done.report.outcome, done.whole) == (1, True)
    assert done.archived_as, "a run that found something is kept as well"


Read = Annotated[Query, Depends(query)]


def built_from_strings() -> APIRouter:
    """A read whose SQL is put together from what the caller says."""
    router = APIRouter()

    @router.get("/v1/planted")
    async def planted_read(read: Read, name: str = "x") -> dict[str, Any]:
        sql = f"select id from app.subjects where legal_name = '{name}'"
        return {"found": len(await read.run(lambda tx: tx.rows(sql)))}

    return router


def telling() -> APIRouter:
    """A read that tells a foreign id from a missing one, by asking a table of everybody's."""
    router = APIRouter()

    @router.get("/v1/planted/{subject_id}")
    async def planted_oracle(subject_id: str, request: Request, read: Read) -> dict[str, Any]:
        await read.run(lambda tx: tx.value("select 1"))
        if await request.app.state.everybody.fetchval("select true from app.subjects where id = $1", subject_id):
            raise NotFound("this belongs to somebody else")
        raise NotFound

    return router


def open_to_all() -> APIRouter:
    """A read that asks nobody who he is."""
    router = APIRouter()

    @router.get("/v1/planted/open")
    async def planted_open() -> dict[str, str]:
        return {"status": "fine"}

    return router


@pytest.mark.soak
async def test_a_route_with_string_built_sql_is_named(cluster: str, template: str, tmp_path: Path) -> None:
    async with house(cluster, template, tmp_path, routers=[built_from_strings()]) as place:
        results = await place.play("RT-53", "RT-55", "RT-57")
    broken = {name for name, result in results.items() if result.broken}
    assert broken == {"RT-53", "RT-55"}
    assert "GET /v1/planted query name" in results["RT-53"].detail


@pytest.mark.soak
async def test_a_route_that_tells_foreign_ids_is_named(cluster: str, template: str, tmp_path: Path) -> None:
    async with house(cluster, template, tmp_path, routers=[telling()]) as place:
        superuser = await place.superuser()
        place.state.everybody = superuser
        results = await place.play("RT-57")
        await superuser.close()
    assert results["RT-57"].broken
    assert "GET /v1/planted/{subject_id}" in results["RT-57"].detail


@pytest.mark.soak
async def test_a_route_that_is_open_to_all_is_named(cluster: str, template: str, tmp_path: Path) -> None:
    async with house(cluster, template, tmp_path, routers=[open_to_all()]) as place:
        results = await place.play("RT-64")
    assert "GET /v1/planted/open" in results["RT-64"].detail
    assert results["RT-64"].broken


async def test_a_pool_that_carries_settings_over_is_named(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_WIPE", "SELECT 1")
    results = await place.play("RT-37", "RT-38")
    assert [result.broken for result in results.values()] == [True, True]


async def test_what_a_session_leaves_spends_twice_or_takes_from_all_is_named(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six holes at once, each of which one attack has to find."""

    async def nothing(_connection: object) -> None: ...

    family = ("RT-100", "RT-101", "RT-102", "RT-103", "RT-104", "RT-105")
    assert [result.broken for result in (await place.play(*family)).values()] == [False] * 6
    monkeypatch.setattr(sessions, "_WIPE", "SELECT 1")
    monkeypatch.setattr(sessions, "take_back_defaults", nothing)
    await place.plant(without("fx.bypass_tenants()", "and g.lxid = fx.own_lxid()"))
    await place.plant("grant update on ops.idempotency_keys to fx_app")
    await place.plant(
        "grant execute on function pg_relation_size(regclass, text), pg_relation_size(regclass) to public"
    )
    results = await place.play(*family)
    assert [(name, result.broken) for name, result in results.items()] == [(name, True) for name in family]


async def test_what_the_edge_lets_through_is_named(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five holes at once, each of which one attack has to find."""
    family = ("RT-147", "RT-150", "RT-151", "RT-152", "RT-155")
    assert [result.broken for result in (await place.play(*family)).values()] == [False] * 5

    authenticate = place.state.services.of(Edge).authenticate

    async def first_of_two(request: Request) -> Caller:
        once = list(dict(reversed(request.scope["headers"])).items())
        return await authenticate(Request({**request.scope, "headers": once}))  # type: ignore[no-any-return]

    def with_everything(*arguments: Any, env: dict[str, str], **named: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(*arguments, env={**env, **os.environ}, **named)

    monkeypatch.setattr(edge, "secrets_of", lambda _view: ())
    monkeypatch.setattr(forms, "_no_name_twice", lambda _names, _where: None)
    knocked = replace(place.state.services.of(Edge), authenticate=first_of_two)
    place.state.services = place.state.services.instead(knocked)
    monkeypatch.setattr(serving, "OPTIONS", {**serving.OPTIONS, "proxy_headers": True, "forwarded_allow_ips": "*"})
    monkeypatch.setattr(workers, "subprocess", SimpleNamespace(Popen=with_everything, DEVNULL=subprocess.DEVNULL))
    results = await place.play(*family)
    assert [(name, result.broken) for name, result in results.items()] == [(name, True) for name in family]


def for_officers() -> APIRouter:
    """A route that says whom it is for, and asks nobody."""
    router = APIRouter()

    @router.get("/v1/planted/doubts", openapi_extra=may_call(*OFFICERS))
    async def planted_doubts() -> dict[str, str]:
        return {"status": "decided"}

    return router


@pytest.mark.soak
async def test_a_route_that_turns_nobody_away_is_named(cluster: str, template: str, tmp_path: Path) -> None:
    async with house(cluster, template, tmp_path, routers=[for_officers()]) as place:
        results = await place.play("RT-153")
    assert "GET /v1/planted/doubts" in results["RT-153"].detail
    assert results["RT-153"].broken


async def test_a_door_without_guard_is_named(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unguarded(tx: Tx, caller: Caller) -> None:
        await tx.value("select 1 where $1", caller.actor)

    from fintokenx.app.redteam.attacks import api

    monkeypatch.setattr(api, "GUARDED_DOORS", {**doors.GUARDED_DOORS, "planted.door": unguarded})
    [result] = (await place.play("RT-66")).values()
    assert result.broken
    assert "planted.door" in result.detail


async def test_an_attack_that_ends_unforeseen_has_shown_nothing(place: House) -> None:
    """Whatever happens to an attack, it is not a success of the defence."""

    async def stumbles(_scene: Any) -> str:
        raise RuntimeError("what now")

    known = redteam.chosen(["RT-03"])[0]
    odd = redteam.Attack(known.id, known.family, known.title, known.tries, known.holds, stumbles)
    [result] = await redteam.play(place.settings, [odd], transport=place.transport)
    assert result.broken
    assert "unforeseen" in result.detail
