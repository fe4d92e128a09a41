"""The production client for Sumsub; the sandbox differs in base URL and credentials only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from fintokenx.adapters.outbound import Access, CallGuard, RetryPolicy
from fintokenx.adapters.sumsub import webhook
from fintokenx.adapters.sumsub.exchange import POLICY, SYSTEM, Answer, Exchange
from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable
from fintokenx.parties.kyc.ports import Applicant, ProviderVerdict, Verdict, VerificationEvent

IN_PROGRESS = frozenset({"init", "pending", "prechecked", "queued", "onHold", "awaitingService", "awaitingUser"})
_WORD = re.compile(r"[A-Za-z0-9_-]{1,60}")


class SumsubClient:
    """Implements ``IdentityVerification``.

    ``clock`` signs the requests: the vendor refuses one that is 60 s away from its own, which is real time
    outside the sandbox. ``http`` stays the caller's to close; without it the client opens its own, closed by
    ``aclose``. Every method raises ``Unavailable`` when there is no useful answer.
    """

    def __init__(
        self,
        base_url: str,
        app_token: Credential,
        app_secret: Credential,
        webhook_secret: Credential,
        *,
        clock: Clock,
        guard: CallGuard,
        http: httpx.AsyncClient | None = None,
        timeouts: httpx.Timeout | None = None,
        person_level: str = "basic-kyc-level",
        company_level: str = "basic-kyb-level",
        policy: RetryPolicy = POLICY,
    ) -> None:
        self._exchange = Exchange(
            base_url,
            app_token=app_token,
            app_secret=app_secret,
            clock=clock,
            guard=guard,
            http=http,
            timeouts=timeouts,
            policy=policy,
        )
        self._webhook_secret = webhook_secret
        self._levels = {"individual": person_level, "company": company_level}

    @classmethod
    def open(cls, access: Access) -> Self:
        """The platform's client. Credentials: app token, app secret, webhook secret."""
        app_token, app_secret, webhook_secret = access.credentials
        return cls(access.url, app_token, app_secret, webhook_secret, clock=access.clock, guard=access.guard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections this client opened itself."""
        await self._exchange.aclose()

    async def open_applicant(self, applicant: Applicant) -> str:
        """Create or find. Sent again after a lost answer: the vendor refuses a second applicant with 409."""
        target = f"/resources/applicants?levelName={quote(self._levels[applicant.kind], safe='')}"
        answer = await self._exchange.send("POST", target, _creation(applicant), repeatable=True)
        if answer.status == 409:
            external_id = quote(applicant.external_id, safe="")
            answer = await self._exchange.send(
                "GET", f"/resources/applicants/-;externalUserId={external_id}/one", repeatable=True
            )
        applicant_ref = _found(answer).get("id")
        if answer.fields.get("externalUserId") != applicant.external_id:
            raise Unavailable(SYSTEM, "answered with another applicant")
        if not isinstance(applicant_ref, str) or not _WORD.fullmatch(applicant_ref):
            raise Unavailable(SYSTEM, "applicant without an id")
        return applicant_ref

    async def request_check(self, applicant_ref: str, *, reviewed_before: Instant | None = None) -> None:
        """Ask for the review, unless it was asked for already.

        The vendor refuses it while a review runs, and begins another after one that has ended (its reference,
        "Request applicant check"), so the status is read before asking, and again after an answer was lost.
        """
        if not await self._may_be_asked(applicant_ref, reviewed_before):
            return
        try:
            answer = await self._exchange.send("POST", f"{_path(applicant_ref)}/status/pending", repeatable=False)
        except Unavailable as lost:
            if not lost.outcome_unknown or await self._may_be_asked(applicant_ref, reviewed_before):
                raise
            return
        _found(answer)

    async def verdict(self, applicant_ref: str) -> ProviderVerdict:
        """GREEN is CLEAR, RED/FINAL is FAIL, RED/RETRY is REFER; everything else is PENDING and says why."""
        answer = await self._status(applicant_ref)
        verdict, detail = self._judge(answer.fields)
        return ProviderVerdict(verdict, applicant_ref, detail, answer.raw, _reviewed_at(answer.fields))

    async def read_webhook(self, headers: Mapping[str, str], body: bytes) -> VerificationEvent:
        """See :func:`fintokenx.adapters.sumsub.webhook.read_webhook`. Just rotated, both secrets are good."""
        return webhook.read_webhook(await self._webhook_secret.accepted(), headers, body)

    async def _status(self, applicant_ref: str) -> Answer:
        answer = await self._exchange.send("GET", f"{_path(applicant_ref)}/status", repeatable=True)
        _found(answer)
        return answer

    async def _may_be_asked(self, applicant_ref: str, reviewed_before: Instant | None) -> bool:
        review = (await self._status(applicant_ref)).fields
        verdict, _ = self._judge(review)
        if review.get("reviewStatus") == "init" or verdict is Verdict.REFER:
            return True
        ended_at = _reviewed_at(review) if review.get("reviewStatus") == "completed" else None
        return reviewed_before is not None and ended_at is not None and ended_at < reviewed_before

    def _judge(self, review: Mapping[str, Any]) -> tuple[Verdict, str]:
        status, result = review.get("reviewStatus"), review.get("reviewResult")
        if isinstance(status, str) and status in IN_PROGRESS:
            return Verdict.PENDING, status
        if status != "completed":
            return Verdict.PENDING, f"unknown reviewStatus: {_word(status)}"
        if not isinstance(result, dict):
            return Verdict.PENDING, "completed without a reviewResult"
        level = review.get("levelName")
        if level is not None and level not in self._levels.values():
            return Verdict.PENDING, f"reviewed at another level: {_word(level)}"
        return _judge_result(result)


def _judge_result(result: Mapping[str, Any]) -> tuple[Verdict, str]:
    answer, kind, labels = result.get("reviewAnswer"), result.get("reviewRejectType"), result.get("rejectLabels")
    if answer == "GREEN":
        if kind or labels:
            return Verdict.PENDING, "GREEN with a rejection"
        return Verdict.CLEAR, "GREEN"
    if answer != "RED":
        return Verdict.PENDING, f"unknown reviewAnswer: {_word(answer)}"
    words = ", ".join(_word(label) for label in labels) if isinstance(labels, list) else ""
    if kind == "FINAL":
        return Verdict.FAIL, f"RED/FINAL: {words}"
    if kind == "RETRY":
        return Verdict.REFER, f"RED/RETRY: {words}"
    return Verdict.PENDING, f"unknown reviewRejectType: {_word(kind)}"


def _reviewed_at(review: Mapping[str, Any]) -> Instant | None:
    """When the review ended, as the vendor spells it: ``2026-06-02 08:00:00+0000``."""
    try:
        return datetime.strptime(str(review.get("reviewDate")), "%Y-%m-%d %H:%M:%S%z").astimezone(UTC)
    except ValueError:
        return None


def _word(value: object) -> str:
    """A machine word of the vendor's, or what stands for one: free text could be about a person."""
    if value is None:
        return "missing"
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "not a word"


def _path(applicant_ref: str) -> str:
    return f"/resources/applicants/{quote(applicant_ref, safe='')}"


def _found(answer: Answer) -> Mapping[str, Any]:
    if answer.status in {404, 409}:
        raise Unavailable(SYSTEM, f"{answer.status} for an applicant we opened", outcome_unknown=False)
    return answer.fields


def _creation(applicant: Applicant) -> bytes:
    fixed_info: dict[str, Any] = {"country": applicant.country}
    if applicant.kind == "company":
        company = {"companyName": applicant.name, "country": applicant.country}
        if applicant.registration_number is not None:
            company["registrationNumber"] = applicant.registration_number
        fixed_info["companyInfo"] = company
    else:
        given_names, _, family_name = applicant.name.rpartition(" ")
        if given_names:  # the vendor takes no blank text
            fixed_info["firstName"] = given_names
        fixed_info["lastName"] = family_name
        if applicant.born_on is not None:
            fixed_info["dob"] = applicant.born_on.isoformat()
    body = {"externalUserId": applicant.external_id, "type": applicant.kind, "fixedInfo": fixed_info}
    return json.dumps(body).encode()
