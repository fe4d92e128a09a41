"""Holes that are planted in routes, pools and doors: each is named."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
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
from tests.redteam.holes_planted import without
from tests.redteam.house import House, house

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

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
