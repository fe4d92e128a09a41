"""Gates 1 to 3 against our Sumsub and ComplyAdvantage over real HTTP: who becomes active, and who never does."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.parties import auth, kyc
from fintokenx.parties.kyc import service
from fintokenx.parties.kyc.types import (
    Person,
    PersonRole,
)
from tests.modules.compliance_house import MLRO, SYSTEM, A, decide, new_subject
from tests.modules.gates_desk import ADA, APPROVE, DECLINE, GRACE, Desk
from tests.modules.kyc_desk import desk

pytestmark = pytest.mark.anyio
__all__ = ["desk"]


async def test_a_subject_with_clear_gates_becomes_active_once_the_mlro_approves(desk: Desk) -> None:
    """KY-01, KY-02, KY-06, KY-18: the whole way, one entry per business event."""
    subject = await desk.onboarded()
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "CLEAR", "RUNNING"])
    [case] = await desk.cases()
    assert (case.reason, case.subject_id) == ("GATE3_REVIEW", subject.id)

    await desk.decide_all(APPROVE)

    assert await desk.standing(subject) == ("ACTIVE", ["CLEAR", "CLEAR", "CLEAR"])
    assert await desk.activations() == 1
    assert await desk.trail(subject) == [
        "SUBJECT_CREATE",
        "ONBOARDING_OPEN",
        "ONBOARDING_SUBMIT",
        "GATE_START",
        "GATE_RESULT",
        "GATE_RESULT",
        "SUBJECT_ACTIVE",
    ]
    [file], [decision] = await desk.rows("onboarding_files"), await desk.rows("mlro_decisions")
    assert (file["state"], file["mlro_decided_by"]) == ("DECIDED_APPROVED", "sub_mlro")
    assert file["rationale_hash"] == decision["rationale_hash"]
    [row] = await desk.rows("subjects")
    runs = {run["gate"]: run for run in await desk.rows("gate_runs")}
    assert row["last_kyc_run_at"] == row["last_screening_at"] == runs[2]["finished_at"]


async def test_the_company_and_each_person_are_verified(desk: Desk) -> None:
    """KY-07: two owners and a director make four applicants."""
    owners = [GRACE, Person("Mary Somerville", date(1970, 1, 1), (PersonRole.UBO,))]
    await desk.onboarded(persons=[ADA, *owners])
    created = [each for each in desk.identity.log.effects if each["effect"] == "applicant created"]
    assert len(created) == len({each["client_reference"] for each in created}) == 4


async def test_one_person_without_a_verdict_keeps_the_gate_open(desk: Desk) -> None:
    subject = await desk.onboarded(persons=[ADA, Person("Grace Wait", date(1979, 12, 9), (PersonRole.UBO,))])
    assert await desk.standing(subject) == ("VERIFYING", ["RUNNING", "NOT_STARTED", "NOT_STARTED"])


async def test_a_provider_that_takes_more_than_a_minute_raises_one_alert(desk: Desk) -> None:
    """KY-08, IX-01: VERIFYING, exactly one alert, nobody active."""
    desk.identity.set("late_verdict")
    subject = await new_subject(desk.world)
    await desk.submit(subject)
    await desk.work()
    desk.wait(60)
    await desk.work()
    assert await desk.alerts() == []
    for _ in range(3):
        desk.wait(6)
        await desk.work()
    assert await desk.alerts() == ["KYC_DELAY"]
    assert (await desk.trail(subject)).count("KYC_DELAY_ALERT") == 1
    assert await desk.standing(subject) == ("VERIFYING", ["RUNNING", "NOT_STARTED", "NOT_STARTED"])
    desk.identity.set("up")
    await desk.settled(rounds=6)
    assert (await desk.standing(subject))[0] == "IN_REVIEW"
    assert await desk.raised() == [], "nobody waits any more"


@pytest.mark.parametrize("mode", ["down", "timeout", "5xx", "malformed", "unknown_verdict"])
@pytest.mark.parametrize("gate", [1, 2])
async def test_a_provider_that_fails_never_lets_anybody_through(desk: Desk, gate: int, mode: str) -> None:
    """P-17, IX-02, KY-10: not CLEAR, not ACTIVE, an alert; and all is well when the provider is back."""
    failing = desk.identity if gate == 1 else desk.screening
    failing.set(mode)
    subject = await new_subject(desk.world)
    await desk.submit(subject)
    for _ in range(5):
        await desk.work()
        desk.wait(16)
    state, gates = await desk.standing(subject)
    assert state == ("VERIFYING" if gate == 1 else "SCREENING")
    assert gates[gate - 1] == ("RUNNING" if mode == "unknown_verdict" else "HELD")
    assert await desk.alerts() == (["KYC_DELAY"] if mode == "unknown_verdict" else [f"GATE{gate}_HELD"])
    assert await desk.cases() == []
    failing.set("up")
    desk.wait(60)
    await desk.settled(rounds=6)
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "CLEAR", "RUNNING"])
    assert await desk.raised() == []


async def test_answers_that_were_lost_do_not_open_an_applicant_twice(desk: Desk) -> None:
    """P-15: two deliveries with one reference, one effect."""
    desk.identity.set("lost_response", times=3)
    subject = await desk.onboarded(persons=[ADA])
    deliveries = [each.client_reference for each in desk.identity.log.deliveries if each.method == "POST"]
    created = [each["client_reference"] for each in desk.identity.log.effects if each["effect"] == "applicant created"]
    assert deliveries.count(created[0]) >= 2
    assert len(created) == 2
    assert (await desk.standing(subject))[0] == "IN_REVIEW"


async def test_a_rejected_person_is_a_case_and_no_approval_makes_the_gate_clear(desk: Desk) -> None:
    subject = await desk.onboarded(persons=[ADA, Person("Grace Reject", date(1979, 12, 9), (PersonRole.UBO,))])
    [case] = await desk.cases()
    assert case.reason == "GATE1_FAIL"
    await desk.decide_all(APPROVE)
    assert await desk.standing(subject) == ("VERIFYING", ["FAIL", "NOT_STARTED", "NOT_STARTED"])
    assert await desk.activations() == 0
    assert (await desk.trail(subject))[-1] == "GATE_DECISION_NOTE"


async def test_a_gate_that_is_run_again_leaves_two_rows(desk: Desk) -> None:
    """KY-03: the provider asks for a better photograph, then is content."""
    subject = await desk.onboarded(persons=[ADA, Person("Grace Retry", date(1979, 12, 9), (PersonRole.UBO,))])
    assert (await desk.standing(subject))[1][0] == "REFER"
    await desk.rerun(subject, kyc.Gate.IDENTITY)
    runs = [(run["attempt"], run["verdict"]) for run in await desk.rows("gate_runs") if run["gate"] == 1]
    assert sorted(runs) == [(1, "REFER"), (2, "CLEAR")]
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "CLEAR", "RUNNING"])


async def test_a_screening_hit_goes_to_a_person_who_may_find_that_it_is_somebody_else(desk: Desk) -> None:
    """KY-10, KY-11: the hit is kept, the queue is not skipped, and the review follows all the same."""
    subject = await desk.onboarded(persons=[ADA, Person("Grace Sanction", date(1979, 12, 9), (PersonRole.UBO,))])
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "REFER", "NOT_STARTED"])
    [hit] = await desk.rows("screening_hits")
    assert (hit["hit_types"], hit["match_status"]) == (["sanction"], "potential_match")
    assert [case.reason for case in await desk.cases()] == ["GATE2_REFER"]

    await desk.decide_all(APPROVE)
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "CLEAR", "RUNNING"])
    [hit] = await desk.rows("screening_hits")
    assert hit["discounted_by_case"] is not None
    assert await desk.activations() == 0

    assert [case.reason for case in await desk.cases()] == ["GATE3_REVIEW"]
    await desk.decide_all(APPROVE)
    assert (await desk.standing(subject))[0] == "ACTIVE"


async def test_hits_found_after_the_decision_are_not_discounted_by_it(desk: Desk) -> None:
    subject = await desk.onboarded(persons=[ADA, Person("Grace Sanction", date(1979, 12, 9), (PersonRole.UBO,))])
    [case] = await desk.cases()
    await decide(desk.world, desk.services.sealer, case)
    await desk.admin.execute("update ops.jobs set run_at = run_at + interval '1 hour' where name = 'kyc.case_decided'")
    await desk.rerun(subject, kyc.Gate.SCREENING)
    desk.wait(3600)
    await desk.work()
    assert await desk.standing(subject) == ("IN_REVIEW", ["CLEAR", "REFER", "NOT_STARTED"])
    assert {hit["discounted_by_case"] for hit in await desk.rows("screening_hits")} == {None}
    assert [case.reason for case in await desk.cases()] == ["GATE2_REFER"]


async def test_only_three_clear_gates_make_a_subject_active(desk: Desk) -> None:
    """KY-02: all eight outcomes of the gates, driven by runs after the review was due."""
    for number, (first, second, third) in enumerate(product([True, False], repeat=3)):
        desk.identity.set("up")
        desk.screening.set("up")
        subject = await new_subject(desk.world, number=f"0000000{number}")
        await desk.submit(subject, company_number=f"0000000{number}", persons=[ADA])
        await desk.settled()
        [case] = [case for case in await desk.cases() if case.subject_id == subject.id]
        if not second:
            desk.screening.set("hit")
            await desk.rerun(subject, kyc.Gate.SCREENING)
        if not first:
            desk.identity.set("unknown_verdict")
            await desk.rerun(subject, kyc.Gate.IDENTITY)
        before = await desk.activations()
        await decide(desk.world, desk.services.sealer, case, decision=APPROVE if third else DECLINE)
        await desk.work()
        activated = (await desk.activations()) - before
        assert activated == (1 if first and second and third else 0), (first, second, third)
        assert ((await desk.standing(subject))[0] == "ACTIVE") == (activated == 1)
        for leftover in await desk.cases():
            await decide(desk.world, desk.services.sealer, leftover, decision=DECLINE)
        await desk.work()


async def test_an_approval_that_is_acted_on_twice_activates_once(desk: Desk) -> None:
    await desk.onboarded()
    [case] = await desk.cases()
    await desk.decide_all(APPROVE)
    async with desk.world.database.transaction(A) as tx:
        await service.decision_made(tx, SYSTEM, case_id=case.id)
    assert await desk.activations() == 1
    assert len(await desk.rows("mlro_decisions")) == 1


async def test_a_frozen_subject_is_not_activated_and_sees_a_suspension(desk: Desk) -> None:
    """The freeze may be about a SAR: the customer must not learn of it."""
    subject = await desk.onboarded()
    async with desk.world.database.transaction(A) as tx:
        move = await auth.advance(tx, MLRO, subject_id=subject.id, event=auth.SubjectEvent.FREEZE)
        await audit.change(tx, MLRO, action="SUBJECT_FREEZE", resource=subject.id, move=move)
    await desk.decide_all(APPROVE)
    assert await desk.activations() == 0
    async with desk.world.database.transaction(A) as tx:
        own = await kyc.gates(tx, Caller(A, Role.SELLER, subject.id, subject.id), subject_id=subject.id)
        theirs = await kyc.gates(tx, MLRO, subject_id=subject.id)
    assert (own.subject_state, theirs.subject_state) == ("SUSPENDED", "FROZEN")
