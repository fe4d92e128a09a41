"""Running gates 1 and 2 at their providers, and acting on decided cases. The only caller of the ports.

A gate's job reads, asks the provider with no transaction open, stores the answers encrypted, and concludes. It is
idempotent: a run that has ended is left alone. While a provider does not answer the gate is held and the job backs
off; while it answers without a verdict the job looks again. There is no way from either to CLEAR (P-17).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Job, Lane, Payload, TryAgain, Work
from fintokenx.parties.kyc import service
from fintokenx.parties.kyc.ports import Applicant, ScreeningHit, ScreeningName, Verdict, external_id
from fintokenx.parties.kyc.types import Check, Gate, Hit, Outcome, Party

LOOK_AGAIN_SECONDS: Final = 5
"""Between two looks at a verdict that is not there yet; a webhook makes us look at once."""
CLOCKS_APART: Final = timedelta(seconds=60)
"""So far the provider's clock may be behind ours; it refuses our requests beyond that."""
_WORST_FIRST: Final = (Verdict.FAIL, Verdict.PENDING, Verdict.REFER, Verdict.CLEAR)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a provider said of one party."""

    party_id: str
    verdict: Verdict
    provider_ref: str
    raw: bytes
    hits: tuple[ScreeningHit, ...] = ()


GATE_SECONDS_MAX: Final = 300
"""A company and its people, one after the other, with the clients' own retries."""


def jobs_of(services: service.KycServices) -> tuple[Job, ...]:
    """All of kyc's jobs."""
    gates = _Gates(services)
    return (
        Job("kyc.gate1", gates.identity, Lane.OUTBOUND, GATE_SECONDS_MAX),
        Job("kyc.gate1_look", gates.look, Lane.OUTBOUND, GATE_SECONDS_MAX),
        Job("kyc.gate2", gates.screening, Lane.OUTBOUND, GATE_SECONDS_MAX),
        Job("kyc.case_decided", case_decided, Lane.OUTBOUND, seconds_max=30),
        Job("kyc.renew", renew, Lane.OUTBOUND, seconds_max=30),
    )


async def renew(work: Work, payload: Payload) -> None:
    """Check somebody anew whose clearance is about to lapse; asked for by whoever relies on it (the walk of claims)."""
    async with work.transaction() as tx:
        await service.renew(tx, work.caller, subject_id=payload["subject_id"])


async def case_decided(work: Work, payload: Payload) -> None:
    """Reaction to compliance.CaseDecided."""
    async with work.completing() as tx:
        await service.decision_made(tx, work.caller, case_id=payload["case_id"])


class _Gates:
    """The handlers of the gates, over the ports."""

    def __init__(self, services: service.KycServices) -> None:
        self._services = services

    async def identity(self, work: Work, payload: Payload) -> None:
        """Gate 1, until there is a verdict on everybody."""
        await self._run(work, payload["run_id"], insist=True)

    async def look(self, work: Work, payload: Payload) -> None:
        """A webhook says that something happened: look once, the gate's own job goes on looking."""
        await self._run(work, payload["run_id"], insist=False)

    async def screening(self, work: Work, payload: Payload) -> None:
        """Gate 2: one search per name."""
        await self._run(work, payload["run_id"], insist=True)

    async def _run(self, work: Work, run_id: str, *, insist: bool) -> None:
        async with work.transaction() as tx:
            check = await service.check_of(tx, work.caller, run_id=run_id)
        if check is None:
            return
        try:
            answers = await self._ask(work, check)
        except Unavailable:
            async with work.transaction() as tx:
                await service.hold(tx, work.caller, run_id=run_id)
            raise
        verdict = _verdict_on_all(check.parties, answers)
        if verdict is not Verdict.PENDING:
            await self._conclude(work, check, verdict, answers)
            return
        async with work.transaction() as tx:
            await service.still_waiting(tx, work.caller, run_id=run_id)
        if insist:
            raise TryAgain("no verdict on everybody yet", seconds=LOOK_AGAIN_SECONDS)

    async def _ask(self, work: Work, check: Check) -> list[_Answer]:
        if check.run.gate == Gate.SCREENING:
            return [await self._screened(work.tenant_id, check, party) for party in check.parties]
        requested = await self._requested(work, check)
        return [await self._verified(check, party) for party in requested]

    async def _requested(self, work: Work, check: Check) -> tuple[Party, ...]:
        """Open everybody at the provider and ask for their review, once per run; harmless when done twice."""
        if check.run.requested_at is not None:
            return check.parties
        refs = {}
        for party in check.parties:
            refs[party.id] = await self._services.identity.open_applicant(
                await self._applicant(work.tenant_id, check, party)
            )
        for applicant_ref in refs.values():
            await self._services.identity.request_check(applicant_ref, reviewed_before=_oldest_that_counts(check))
        async with work.transaction() as tx:
            now = await service.checks_requested(tx, work.caller, run_id=check.run.id, applicant_refs=refs)
        return now.parties if now else ()

    async def _applicant(self, tenant_id: str, check: Check, party: Party) -> Applicant:
        known_as = external_id(tenant_id, party.id)
        if party.kind == "company":
            file = check.file
            return Applicant(known_as, "company", file.company_name, registration_number=file.company_number)
        name, born_on = await self._opened(tenant_id, party)
        return Applicant(known_as, "individual", name, born_on=born_on)

    async def _verified(self, check: Check, party: Party) -> _Answer:
        applicant_ref, oldest = str(party.applicant_ref), _oldest_that_counts(check)
        found = await self._services.identity.verdict(applicant_ref)
        # The provider still shows the last review while it has not begun, or was not asked for, another one.
        is_old = oldest is not None and (found.reviewed_at is None or found.reviewed_at < oldest)
        verdict = Verdict.PENDING if is_old else found.verdict
        if verdict is Verdict.PENDING:
            # Whether an earlier request arrived is only known once there is a verdict; asking again is harmless.
            await self._services.identity.request_check(applicant_ref, reviewed_before=oldest)
        return _Answer(party.id, verdict, found.provider_ref, found.raw)

    async def _screened(self, tenant_id: str, check: Check, party: Party) -> _Answer:
        if party.kind == "company":
            name = ScreeningName(party.id, "company", check.file.company_name)
        else:
            person, born_on = await self._opened(tenant_id, party)
            name = ScreeningName(party.id, "person", person, birth_year=born_on.year)
        answer = await self._services.screening.screen(name)
        return _Answer(party.id, answer.verdict, answer.provider_ref, answer.raw, answer.hits)

    async def _opened(self, tenant_id: str, party: Party) -> tuple[str, date]:
        sealer = self._services.sealer
        name = await sealer.open(tenant_id, party.id, "name", str(party.name_sealed))
        born_on = await sealer.open(tenant_id, party.id, "born_on", str(party.born_on_sealed))
        return name, date.fromisoformat(born_on)

    async def _conclude(self, work: Work, check: Check, verdict: Verdict, answers: list[_Answer]) -> None:
        stored = await self._services.blobs.put(
            work.tenant_id, "gate-answers", _archive(answers), subject_id=check.run.subject_id
        )
        hits = tuple(
            Hit(answer.party_id, hit.provider_hit_ref, hit.hit_types, hit.match_status)
            for answer in answers
            for hit in answer.hits
        )
        outcome = Outcome(verdict.value, answers[0].provider_ref, stored.storage_ref, hits)
        async with work.completing() as tx:
            await service.conclude(tx, work.caller, run_id=check.run.id, outcome=outcome)


def _oldest_that_counts(check: Check) -> Instant | None:
    """In a later run of gate 1, when the provider's review must have ended to be an answer to it; any does in the
    first, which made the applicant."""
    return check.run.started_at - CLOCKS_APART if check.run.attempt > 1 else None


def _verdict_on_all(parties: tuple[Party, ...], answers: list[_Answer]) -> Verdict:
    """The worst of them; PENDING unless there is an answer about every party (KY-07)."""
    if not parties or {party.id for party in parties} != {answer.party_id for answer in answers}:
        return Verdict.PENDING
    given = {answer.verdict for answer in answers}
    return next((verdict for verdict in _WORST_FIRST if verdict in given), Verdict.PENDING)


def _archive(answers: list[_Answer]) -> bytes:
    """Every answer exactly as received (hex), so that a dispute years later does not rest on our reading of it."""
    return canonical_json(
        [
            {
                "party_id": answer.party_id,
                "provider_ref": answer.provider_ref,
                "raw": answer.raw,
                "verdict": answer.verdict.value,
            }
            for answer in answers
        ]
    )
