"""The MLRO queue and the alerts: who decides, what a decision leaves behind, and what stays for ever (CO-01, CO-02)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.adapters.vault import LocalVault
from fintokenx.app import http as application
from fintokenx.app.catalogue import SEALED
from fintokenx.kernel.caller import Caller, Role, WrongRole, system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties import compliance
from fintokenx.parties.compliance import http
from fintokenx.parties.compliance.transitions import ALERT, CASE
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.compliance_house import MLRO, SYSTEM, WORDS, A, B, decide
from tests.modules.parties_house import open_tenant
from tests.support import World, names, world_from

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    """A database of this test's own, with both tenants open."""
    async with world_from(cluster, template) as fresh:
        for tenant_id in (A, B):
            await open_tenant(fresh, tenant_id)
        yield fresh


async def trail(world: World, resource: str) -> list[str]:
    """The actions recorded about ``resource``."""
    async with world.database.transaction(A) as tx:
        return names(await audit.entries_of(tx, SYSTEM, resources=[resource]))


async def open_case(world: World, *, resource: str = "FXI-0000000", tenant_id: str = A) -> compliance.Case:
    """A case about something, recorded as an entry of its own."""
    caller = system(tenant_id, "test")
    async with world.database.transaction(tenant_id) as tx:
        case, move = await compliance.open_case(tx, caller, subject_id=None, resource=resource, reason="VISION_REFER")
        if move.rows:
            await audit.change(tx, caller, action="CASE_OPEN", resource=case.id, move=move)
    return case


async def alarm(world: World, *, cause: str = "SOMETHING_OFF") -> compliance.Alert:
    """Raise (or count) an alert, recorded as an entry of its own."""
    async with world.database.transaction(A) as tx:
        move = await compliance.raise_alert(
            tx, SYSTEM, cause=cause, resource="FXI-0000000", severity=compliance.Severity.WARNING
        )
        await audit.change(tx, SYSTEM, action="ALERT_RAISE", resource="FXI-0000000", move=move)
        return (await compliance.alerts(tx, MLRO, state=None, after="", limit=10))[-1]


@pytest.fixture
def sealer(world: World, tmp_path: Path) -> Sealer:
    return Sealer(world.database, LocalVault(tmp_path / "vault", os.urandom), os.urandom)


async def test_a_decision_leaves_who_when_and_the_hash_of_why(world: World, sealer: Sealer) -> None:
    """KY-06; the reasons themselves are readable only with the key."""
    case = await open_case(world)
    world.clock.set(world.clock.now() + timedelta(hours=1))

    decided = await decide(world, sealer, case)

    assert (decided.state, decided.decision, decided.decided_by) == ("DECIDED_APPROVE", "APPROVE", "sub_mlro")
    assert decided.decided_at == world.clock.now()
    assert decided.rationale_hash == compliance.rationale_hash(WORDS)
    assert "namesake" not in str(decided.rationale_sealed)
    assert await compliance.open_rationale(sealer, decided, A) == WORDS
    assert await trail(world, case.id) == ["CASE_OPEN", "MLRO_APPROVE"]


async def test_the_rationale_stands_nowhere_in_clear(world: World, sealer: Sealer) -> None:
    await decide(world, sealer, await open_case(world))
    admin = await world.connect("postgres")
    rows = await admin.fetch(
        "select diff::text as text from app.audit_entries union all select q::text from app.review_queue q"
    )
    await admin.close()
    assert rows
    assert not [row for row in rows if "namesake" in row["text"]]


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.MLRO, Role.COMPLIANCE}])
async def test_nobody_but_a_compliance_role_decides(world: World, sealer: Sealer, role: Role) -> None:
    """CO-02, the platform administrator included."""
    case = await open_case(world)
    with pytest.raises(WrongRole):
        await decide(world, sealer, case, caller=replace(MLRO, role=role))


async def test_the_database_too_refuses_a_decision_by_an_administrator(world: World) -> None:
    case = await open_case(world)
    admin = Caller(A, Role.PLATFORM_ADMIN, "sub_admin", "sub_admin")
    with pytest.raises(asyncpg.PostgresError) as refusal:
        async with world.database.transaction(A) as tx:
            await audit.change(tx, admin, action="MLRO_APPROVE", resource=case.id, move=audit.Changes())
    assert refusal.value.sqlstate == "FX006"


@pytest.mark.parametrize("words", ["", "  \n\t "])
async def test_a_decision_without_reasons_is_refused(world: World, sealer: Sealer, words: str) -> None:
    with pytest.raises(compliance.RationaleMissing):
        await decide(world, sealer, await open_case(world), words=words)


async def test_a_decided_case_never_reopens(world: World, sealer: Sealer) -> None:
    case = await open_case(world)
    await decide(world, sealer, case)
    with pytest.raises(compliance.AlreadyDecided):
        await decide(world, sealer, case, decision=compliance.Decision.DECLINE)


async def test_of_two_deciders_at_once_one_decides(world: World, sealer: Sealer) -> None:
    case = await open_case(world)
    outcomes = await asyncio.gather(
        decide(world, sealer, case),
        decide(world, sealer, case, decision=compliance.Decision.DECLINE),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyDecided", "Case"]
    assert len(await trail(world, case.id)) == 2


async def test_the_same_question_is_asked_once_while_it_is_open(world: World, sealer: Sealer) -> None:
    first, second = await open_case(world), await open_case(world)
    assert first.id == second.id
    await decide(world, sealer, first)
    assert (await open_case(world)).id != first.id


async def test_a_closed_case_is_still_there_after_ten_years_and_cannot_be_deleted(world: World, sealer: Sealer) -> None:
    case = await open_case(world)
    await decide(world, sealer, case)
    world.clock.set(world.clock.now() + timedelta(days=3653))
    async with world.database.transaction(A) as tx:
        listed = await compliance.cases(tx, MLRO, state="DECIDED_APPROVE", after="", limit=10)
    assert [each.id for each in listed] == [case.id]
    move = audit.Changes((audit.delete("review_queue", key={"tenant_id": A, "id": case.id}, before={}),))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with world.database.transaction(A) as tx:
            await audit.change(tx, SYSTEM, action="CASE_OPEN", resource=case.id, move=move)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with world.database.transaction(A) as tx:
            await tx.write("delete from app.review_queue")


async def test_a_foreign_tenants_case_is_as_good_as_missing(world: World) -> None:
    foreign = await open_case(world, tenant_id=B)
    with pytest.raises(compliance.UnknownCase):
        async with world.database.transaction(A) as tx:
            await compliance.case_of(tx, MLRO, case_id=foreign.id)


async def test_the_same_cause_counts_while_its_alert_is_open(world: World) -> None:
    await alarm(world)
    world.clock.set(world.clock.now() + timedelta(minutes=5))
    again = await alarm(world)
    assert (again.occurrences, again.last_seen_at - again.raised_at) == (2, timedelta(minutes=5))
    async with world.database.transaction(A) as tx:
        await compliance.acknowledge_alert(tx, MLRO, alert_id=again.id)
        closed = await compliance.close_alert(tx, MLRO, alert_id=again.id, finding=compliance.Finding.FALSE_ALARM)
    assert (closed.state, closed.finding) == ("CLOSED", "FALSE_ALARM")
    world.clock.set(world.clock.now() + timedelta(minutes=5))
    assert (await alarm(world)).id != again.id


async def test_a_closed_alert_can_neither_be_acknowledged_nor_closed(world: World) -> None:
    alert = await alarm(world)
    async with world.database.transaction(A) as tx:
        await compliance.close_alert(tx, MLRO, alert_id=alert.id, finding=compliance.Finding.TRUE_ALARM)
    steps: list[Callable[[Tx], Awaitable[compliance.Alert]]] = [
        lambda tx: compliance.acknowledge_alert(tx, MLRO, alert_id=alert.id),
        lambda tx: compliance.close_alert(tx, MLRO, alert_id=alert.id, finding=compliance.Finding.TRUE_ALARM),
    ]
    for step in steps:
        with pytest.raises(IllegalTransition):
            async with world.database.transaction(A) as tx:
                await step(tx)


@pytest.mark.parametrize("machine", [CASE, ALERT], ids=lambda machine: machine.name)
def test_what_the_table_does_not_list_is_illegal(machine: Machine) -> None:
    listed = {(line.source, line.event) for line in machine.transitions}
    for state in (NOTHING, *machine.states):
        for event in machine.events:
            if (state, event) in listed:
                assert machine.next(state, event).source == state
            else:
                with pytest.raises(IllegalTransition):
                    machine.next(state, event)


async def test_the_database_refuses_a_state_that_the_machine_does_not_lead_to(world: World, sealer: Sealer) -> None:
    case = await open_case(world)
    decided = await decide(world, sealer, case)

    async def reopen(tx: Tx) -> None:
        row = audit.update(
            "review_queue",
            key={"tenant_id": A, "id": case.id},
            before={"state": decided.state},
            after={"state": "OPEN"},
        )
        await audit.change(tx, SYSTEM, action="CASE_OPEN", resource=case.id, move=audit.Changes((row,)))

    with pytest.raises(asyncpg.PostgresError) as refusal:
        async with world.database.transaction(A) as tx:
            await reopen(tx)
    assert refusal.value.sqlstate == "FX002"


@pytest.fixture
async def api(world: World, sealer: Sealer) -> AsyncIterator[httpx.AsyncClient]:
    """The routes over ASGI; the header ``role`` says who calls."""

    async def authenticate(request: object) -> Caller:
        return replace(MLRO, role=Role(request.headers.get("role", "mlro")))  # type: ignore[attr-defined]

    app = application.create(ids=world.ids, routers=[http.router], title="t", version="0", environment="local")
    app.state.services = Services(
        Edge(world.database, world.ids, authenticate, b"fingerprint key of tests"),
        compliance.ComplianceServices(sealer, SEALED),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_a_case_is_listed_decided_once_and_shown_with_its_reasons(world: World, api: httpx.AsyncClient) -> None:
    case = await open_case(world)
    await open_case(world, resource="FXI-1111111")
    page = (await api.get("/v1/cases", params={"state": "OPEN", "limit": 1})).json()
    rest = (await api.get("/v1/cases", params={"after": page["next"]})).json()
    assert len({item["id"] for item in page["items"] + rest["items"]}) == 2
    body, key = {"decision": "APPROVE", "rationale": WORDS}, {"FX-Idempotency-Key": "k1"}
    first = await api.post(f"/v1/cases/{case.id}/decision", json=body, headers=key)
    replay = await api.post(f"/v1/cases/{case.id}/decision", json=body, headers=key)
    assert (first.status_code, replay.content) == (200, first.content)
    shown = (await api.get(f"/v1/cases/{case.id}")).json()
    assert (shown["state"], shown["rationale"]) == ("DECIDED_APPROVE", WORDS)


@pytest.mark.parametrize(
    ("role", "body", "status", "code"),
    [
        ("platform_admin", {"decision": "APPROVE", "rationale": WORDS}, 403, "ROLE_FORBIDDEN"),
        ("partner_admin", {"decision": "APPROVE", "rationale": WORDS}, 403, "ROLE_FORBIDDEN"),
        ("mlro", {"decision": "APPROVE", "rationale": " "}, 422, "INVALID_REQUEST"),
        ("mlro", {"decision": "APPROVE"}, 422, "INVALID_REQUEST"),
        ("mlro", {"decision": "PERHAPS", "rationale": WORDS}, 422, "INVALID_REQUEST"),
    ],
)
async def test_a_decision_is_refused(
    world: World, api: httpx.AsyncClient, role: str, body: dict[str, str], status: int, code: str
) -> None:
    case = await open_case(world)
    headers = {"FX-Idempotency-Key": "k1", "role": role}
    answer = await api.post(f"/v1/cases/{case.id}/decision", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await trail(world, case.id) == ["CASE_OPEN"]


async def test_an_alert_is_listed_acknowledged_and_closed(world: World, api: httpx.AsyncClient) -> None:
    alert = await alarm(world)
    assert [item["id"] for item in (await api.get("/v1/alerts")).json()["items"]] == [alert.id]
    path, finding = f"/v1/alerts/{alert.id}", {"finding": "TRUE_ALARM"}
    acked = await api.post(f"{path}/acknowledgement", headers={"FX-Idempotency-Key": "k1"})
    closed = await api.post(f"{path}/closure", json=finding, headers={"FX-Idempotency-Key": "k2"})
    again = await api.post(f"{path}/closure", json=finding, headers={"FX-Idempotency-Key": "k3"})
    assert [acked.json()["state"], closed.json()["state"], again.status_code] == ["ACKED", "CLOSED", 409]
