"""Files of onboarding: handed in once, tried again, erased with the subject (KY-01 … KY-05)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.app import http as application
from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.kernel.sealing import Shredded
from fintokenx.parties import auth, kyc
from fintokenx.parties.auth import service as auth_service
from fintokenx.parties.kyc import http
from fintokenx.parties.kyc.transitions import FILE, GATE_RUN
from fintokenx.parties.kyc.types import (
    FORM_VERSION,
    FormIncomplete,
    FormOutdated,
    NothingToRerun,
    NotYourSubject,
    OnboardingOpen,
    Person,
)
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.modules.compliance_house import MLRO, SYSTEM, A, decide, new_subject
from tests.modules.gates_desk import ACCOUNT, ADA, APPROVE, DECLINE, GRACE, Desk
from tests.modules.kyc_desk import desk

pytestmark = pytest.mark.anyio
__all__ = ["desk"]


async def test_a_declined_subject_may_try_again_with_a_file_of_its_own(desk: Desk) -> None:
    """KY-05. The decline of subject and case is one entry."""
    subject = await desk.onboarded()
    [case] = await desk.cases()
    await decide(desk.world, desk.services.sealer, case, decision=DECLINE)
    assert (await desk.standing(subject))[0] == "DECLINED"
    await desk.work()
    assert await desk.standing(subject) == ("DECLINED", ["CLEAR", "CLEAR", "FAIL"])
    await desk.submit(subject)
    await desk.settled()
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "CLEAR", "RUNNING"])
    files = await desk.rows("onboarding_files")
    assert sorted(file["state"] for file in files) == ["DECIDED_DECLINED", "SUBMITTED"]
    accounts = await desk.rows("designated_accounts")
    assert [account["superseded_at"] is None for account in accounts].count(True) == 1


async def test_a_second_form_while_one_is_open_is_refused(desk: Desk) -> None:
    subject = await new_subject(desk.world)
    await desk.submit(subject)
    with pytest.raises(OnboardingOpen):
        await desk.submit(subject)
    assert len(await desk.rows("onboarding_files")) == 1


async def test_a_form_that_lacks_something_is_refused(desk: Desk) -> None:
    subject = await new_subject(desk.world)
    with pytest.raises(FormIncomplete, match="director"):
        await desk.submit(subject, persons=[GRACE])
    with pytest.raises(FormIncomplete, match="number"):
        await desk.submit(subject, company_number="99999999")
    with pytest.raises(FormOutdated):
        await desk.submit(subject, form_version="2019-01")


@pytest.mark.parametrize(
    ("born_on", "taken"),
    [
        ("2010-06-02", True),
        ("2010-06-03", False),
        ("1905-06-03", True),
        ("1905-06-02", False),
        ("2080-01-01", False),
        ("1900-01-01", False),
    ],
)
async def test_a_person_of_the_form_is_16_to_120_years_old(
    desk: Desk, api: httpx.AsyncClient, born_on: str, *, taken: bool
) -> None:
    """A13: a director born in 2080 passed all gates. The day of the form is 2 June 2026."""
    subject = await new_subject(desk.world)
    form = {**FORM, "persons": [*FORM["persons"], {"name": "Grace Hopper", "born_on": born_on, "roles": ["ubo"]}]}
    path, key = f"/v1/subjects/{subject.id}/onboarding", {"FX-Idempotency-Key": "k1"}
    answer = await api.post(path, json=form, headers=key)
    told = (answer.status_code, answer.json().get("code"), answer.json().get("detail"))
    assert told == ((201, None, None) if taken else (422, "BIRTH_DATE_IMPLAUSIBLE", "persons.1.born_on"))
    assert len(await desk.rows("onboarding_files")) == int(taken)


@pytest.mark.parametrize("born_on", [1822262400, "1985-12-10T00:00:00", "10/12/1985", "85-12-10", None])
async def test_a_birth_date_is_an_iso_date(desk: Desk, api: httpx.AsyncClient, born_on: Any) -> None:
    """A13."""
    form = {**FORM, "persons": [{**FORM["persons"][0], "born_on": born_on}]}
    answer = await api.post("/v1/subjects/sub_x/onboarding", json=form, headers={"FX-Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")


async def test_nobody_hands_in_somebody_elses_form(desk: Desk) -> None:
    subject = await new_subject(desk.world)
    other = Caller(A, Role.SELLER, "sub_other", "sub_other")
    with pytest.raises(NotYourSubject):
        await desk.submit(subject, caller=other)
    with pytest.raises(WrongRole):
        await desk.submit(subject, caller=MLRO)
    await desk.submit(subject, caller=Caller(A, Role.PARTNER_ADMIN, "key_1", has_api_key=True))


async def test_a_gate_that_is_running_cannot_be_run_again(desk: Desk) -> None:
    subject = await new_subject(desk.world)
    await desk.submit(subject)
    for gate in (kyc.Gate.IDENTITY, kyc.Gate.SCREENING, kyc.Gate.REVIEW):
        with pytest.raises(NothingToRerun):
            await desk.rerun(subject, gate)


async def test_a_held_gate_whose_job_was_given_up_goes_on_when_told_to(desk: Desk) -> None:
    desk.identity.set("down")
    subject = await new_subject(desk.world)
    await desk.submit(subject)
    await desk.work()
    await desk.admin.execute("update ops.jobs set state = 'DEAD' where name = 'kyc.gate1'")
    desk.identity.set("up")
    await desk.settled()
    assert (await desk.standing(subject))[1][0] == "HELD"
    await desk.rerun(subject, kyc.Gate.IDENTITY)
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "CLEAR", "RUNNING"])
    assert len([run for run in await desk.rows("gate_runs") if run["gate"] == 1]) == 1


async def test_persons_stand_nowhere_in_clear_and_answers_are_ciphertext(desk: Desk, tmp_path: Path) -> None:
    """KY-04, AD-14: not in rows, record, jobs or blobs; the archive opens with the subject's key."""
    await desk.onboarded(persons=[Person("Ada Canary", ADA.born_on, ADA.roles)])
    tables = [
        "app.onboarding_files", "app.onboarding_parties", "app.gate_runs", "app.screening_hits",
        "app.audit_entries", "ops.jobs", "ops.inbox", "app.review_queue", "app.alerts",
    ]  # fmt: skip
    for table in tables:
        rows = await desk.admin.fetch(f"select t::text as text from {table} t")
        assert not [row for row in rows if "Canary" in row["text"] or "1985-12-10" in row["text"]], table
    blobs = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert blobs
    assert not [path for path in blobs if b"review" in path.read_bytes() or b"Canary" in path.read_bytes()]
    run = next(run for run in await desk.rows("gate_runs") if run["gate"] == 1)
    assert b'"verdict":"CLEAR"' in await desk.services.blobs.get(A, run["raw_payload_ref"])


async def erase(desk: Desk, subject: auth.Subject) -> None:
    """As the route of auth does it."""
    erasure_id = desk.world.ids.new("era")
    words = "Asked for by letter; nothing is open any more."
    reason = await auth_service.seal_reason(desk.services.sealer, MLRO, erasure_id=erasure_id, reason=words)
    async with desk.world.database.transaction(A) as tx:
        await auth_service.erase(tx, MLRO, subject_id=subject.id, erasure_id=erasure_id, reason_sealed=reason)


async def test_everybody_in_a_file_and_what_was_answered_about_them_dies_with_the_subject(desk: Desk) -> None:
    """AD-14, SB-01: each person's key, and the providers' answers as they were received."""
    subject, other = await desk.onboarded(), await new_subject(desk.world, number="07654321")
    await desk.submit(other, company_number="07654321")
    await desk.settled()
    await desk.decide_all(APPROVE)
    await erase(desk, subject)
    gone = readable = 0
    for party in await desk.rows("onboarding_parties"):
        if party["kind"] == "company":
            continue
        opening = desk.services.sealer.open(A, party["id"], "name", party["name_sealed"])
        try:
            assert await opening in {ADA.name, GRACE.name}
            readable += 1
        except Shredded:
            gone += 1
    assert (gone, readable) == (2, 2)
    for run in [run for run in await desk.rows("gate_runs") if run["raw_payload_ref"]]:
        if run["subject_id"] == other.id:
            assert await desk.services.blobs.get(A, run["raw_payload_ref"])
            continue
        with pytest.raises(Shredded):
            await desk.services.blobs.get(A, run["raw_payload_ref"])


async def test_nobody_is_erased_while_a_file_is_open(desk: Desk) -> None:
    """Declined by a person, but the file is not closed yet."""
    subject = await desk.onboarded()
    for case in await desk.cases():
        await decide(desk.world, desk.services.sealer, case, decision=DECLINE)
    assert (await desk.standing(subject))[0] == "DECLINED"
    with pytest.raises(auth.ErasureBlocked, match="GATES_RUNNING"):
        await erase(desk, subject)
    [party] = [one for one in await desk.rows("onboarding_parties") if one["id"].endswith("-01")]
    assert await desk.services.sealer.open(A, party["id"], "name", party["name_sealed"]) == ADA.name
    await desk.work()
    await erase(desk, subject)
    assert (await desk.standing(subject))[0] == "ERASED"


async def test_only_an_active_subject_may_act(desk: Desk) -> None:
    subject = await desk.onboarded()
    async with desk.world.database.transaction(A) as tx:
        assert await kyc.designated_account(tx, subject.id) == ACCOUNT
        with pytest.raises(kyc.SubjectNotActive):
            await kyc.must_be_active(tx, subject.id)
        with pytest.raises(kyc.NoDesignatedAccount):
            await kyc.designated_account(tx, "sub_other")
    await desk.decide_all(APPROVE)
    async with desk.world.database.transaction(A) as tx:
        assert (await kyc.must_be_active(tx, subject.id)).id == subject.id


@pytest.mark.parametrize("machine", [FILE, GATE_RUN], ids=lambda machine: machine.name)
def test_what_the_table_does_not_list_is_illegal(machine: Machine) -> None:
    listed = {(line.source, line.event) for line in machine.transitions}
    for state, event in product((NOTHING, *machine.states), machine.events):
        if (state, event) not in listed:
            with pytest.raises(IllegalTransition):
                machine.next(state, event)


@pytest.mark.parametrize(("before", "after"), [("FAIL", "CLEAR"), ("REFER", "CLEAR"), ("FAIL", "RUNNING")])
async def test_the_database_lets_no_ended_gate_become_clear(desk: Desk, before: str, after: str) -> None:
    person = Person("Grace Reject" if before == "FAIL" else "Grace Retry", GRACE.born_on, GRACE.roles)
    subject = await desk.onboarded(persons=[ADA, person])
    [run] = await desk.rows("gate_runs")
    assert run["state"] == before
    key = {"tenant_id": A, "id": run["id"]}
    row = audit.update("gate_runs", key=key, before={"state": before}, after={"state": after})
    with pytest.raises(asyncpg.PostgresError) as refusal:
        async with desk.world.database.transaction(A) as tx:
            await audit.change(tx, SYSTEM, action="GATE_RESULT", resource=subject.id, move=audit.Changes((row,)))
    assert refusal.value.sqlstate == "FX002"


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """The routes over ASGI; the headers ``role`` and ``subject`` say who calls."""

    async def authenticate(request: Any) -> Caller:
        subject_id = request.headers.get("subject")
        role = Role(request.headers.get("role", "partner_admin"))
        return replace(MLRO, role=role, actor=subject_id or "key_1", subject_id=subject_id)

    ids = desk.world.ids
    app = application.create(ids=ids, routers=[http.router], title="t", version="0", environment="local")
    app.state.services = Services(
        Edge(desk.world.database, ids, authenticate, b"fingerprint key of tests"), desk.services
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


FORM = {
    "form_version": FORM_VERSION,
    "company_number": "01234567",
    "persons": [{"name": "Ada Byron", "born_on": "1985-12-10", "roles": ["director", "representative"]}],
    "designated_account": {"account_name": "Acme Ltd", "sort_code": "608371", "account_number": "12345678"},
}


async def test_a_form_is_handed_in_once_and_its_gates_are_shown(desk: Desk, api: httpx.AsyncClient) -> None:
    subject = await new_subject(desk.world)
    path, key = f"/v1/subjects/{subject.id}", {"FX-Idempotency-Key": "k1"}
    first = await api.post(f"{path}/onboarding", json=FORM, headers=key)
    replay = await api.post(f"{path}/onboarding", json=FORM, headers=key)
    another = await api.post(f"{path}/onboarding", json=FORM, headers={"FX-Idempotency-Key": "k2"})
    assert (first.status_code, first.json()["state"], replay.content) == (201, "SUBMITTED", first.content)
    assert (another.status_code, another.json()["code"]) == (409, "ONBOARDING_ALREADY_OPEN")
    await desk.settled()
    shown = (await api.get(f"{path}/gates", headers={"role": "seller", "subject": subject.id})).json()
    assert [(gate["gate"], gate["provider"], gate["verdict"]) for gate in shown["gates"]] == [
        (1, "sumsub", "CLEAR"),
        (2, "complyadvantage", "CLEAR"),
        (3, "internal", None),
    ]
    foreign = await api.get(f"{path}/gates", headers={"role": "seller", "subject": "sub_other"})
    assert (foreign.status_code, foreign.json()["code"]) == (404, "NOT_FOUND")
    rerun = {"FX-Idempotency-Key": "k3", "role": "compliance"}
    again = await api.post(f"{path}/gates/2/runs", headers=rerun)
    assert (again.status_code, again.json()["state"]) == (201, "RUNNING")
    refused = await api.post(f"{path}/gates/2/runs", headers={"FX-Idempotency-Key": "k4", "role": "platform_admin"})
    assert refused.status_code == 403
