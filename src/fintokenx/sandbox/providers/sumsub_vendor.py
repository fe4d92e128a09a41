"""What the mock Sumsub keeps: applicants, their reviews, and the webhooks that tell of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio

from fintokenx.kernel.clock import Clock
from fintokenx.sandbox.providers.courier import Courier
from fintokenx.sandbox.providers.modes import Modes
from fintokenx.sandbox.providers.sumsub_requests import Refusal

BY_EXTERNAL_ID: Final = "-;externalUserId="
APPLICANTS_PER_DAY_MAX: Final = 500
IS_BEING_CHECKED: Final = ("pending", "prechecked", "queued")

GREEN: dict[str, Any] = {"reviewAnswer": "GREEN", "rejectLabels": []}
REJECTED: dict[str, Any] = {"reviewAnswer": "RED", "reviewRejectType": "FINAL", "rejectLabels": ["FORGERY"]}
ASKED_AGAIN: dict[str, Any] = {
    "reviewAnswer": "RED",
    "reviewRejectType": "RETRY",
    "rejectLabels": ["UNSATISFACTORY_PHOTOS"],
    "moderationComment": "Please take the photograph again.",
}
YELLOW: dict[str, Any] = {"reviewAnswer": "YELLOW", "rejectLabels": []}
OUT_OF_VOCABULARY: dict[str, Any] = {"reviewAnswer": "AMBER", "rejectLabels": []}


@dataclass(slots=True)
class Applicant:
    """One applicant; fields as the vendor spells them are made in :func:`applicant_json` and :func:`review_json`."""

    id: str
    external_id: str
    kind: str
    level_name: str
    fixed_info: dict[str, Any]
    created_at: str
    review_status: str = "init"
    review_result: dict[str, Any] | None = None
    reviewed_at: str | None = None
    attempts: int = 0

    def words(self) -> set[str]:
        company = self.fixed_info.get("companyInfo", {})
        names = (self.fixed_info.get("firstName"), self.fixed_info.get("lastName"), company.get("companyName"))
        return {word.upper() for name in names if isinstance(name, str) for word in re.findall(r"\w+", name)}


class Vendor:
    """The vendor's state and what happens to it; the routes check and translate."""

    def __init__(self, clock: Clock, *, decide_after_seconds: float, state_path: Path | None) -> None:
        self._clock = clock
        self._decide_after_seconds = decide_after_seconds
        self._state_path = state_path
        self._serial = 0
        self._last_event_at = datetime(1970, 1, 1, tzinfo=UTC)
        self.applicants: dict[str, Applicant] = {}
        self.modes: Modes
        self.courier: Courier
        self._load()

    def correlation_id(self) -> str:
        self._serial += 1
        return f"req-{hashlib.sha256(str(self._serial).encode()).hexdigest()[:32]}"

    def by_external_id(self, external_id: str) -> Applicant | None:
        return next((each for each in self.applicants.values() if each.external_id == external_id), None)

    def find(self, selector: str) -> Applicant:
        """By the vendor's id or, with its matrix parameter, by ours. :raises Refusal: 404"""
        if not selector.startswith(BY_EXTERNAL_ID):
            return self.by_id(selector)
        applicant = self.by_external_id(selector.removeprefix(BY_EXTERNAL_ID))
        if applicant is None:
            raise Refusal(404, "Applicant not found")
        return applicant

    def by_id(self, applicant_id: str) -> Applicant:
        """By the vendor's id alone. :raises Refusal: 404"""
        applicant = self.applicants.get(applicant_id)
        if applicant is None:
            raise Refusal(404, "Applicant not found")
        return applicant

    def create(self, body: Mapping[str, Any], level_name: str) -> Applicant:
        """From a body that was checked. :raises Refusal: 409, there already; 429, too many today"""
        external_id = body["externalUserId"]
        if (existing := self.by_external_id(external_id)) is not None:
            raise Refusal(409, f"Applicant with external user id '{external_id}' already exists: {existing.id}")
        day_ago = _second(self._clock.now() - timedelta(days=1))
        if sum(each.created_at > day_ago for each in self.applicants.values()) >= APPLICANTS_PER_DAY_MAX:
            raise Refusal(429, "The limit of applicant profiles in the sandbox is reached")
        applicant = Applicant(
            id=hashlib.sha256(external_id.encode()).hexdigest()[:24],
            external_id=external_id,
            kind=str(body.get("type", "individual")),
            level_name=level_name,
            fixed_info=dict(body.get("fixedInfo") or {}),
            created_at=_second(self._clock.now()),
        )
        self.applicants[applicant.id] = applicant
        self.modes.effect(external_id, "applicant created")
        self._save()
        self._notify(applicant, "applicantCreated")
        return applicant

    def request_check(self, applicant: Applicant) -> None:
        """:raises Refusal: 409, it is being checked"""
        wait = self.modes.setting.seconds
        if self.modes.take("state_race"):
            raise Refusal(409, "State is changing", {"Retry-After": f"{1 if wait is None else wait:g}"})
        if applicant.review_status in IS_BEING_CHECKED:
            raise Refusal(409, f"Applicant is {applicant.review_status} already")
        applicant.review_status, applicant.review_result = "pending", None
        applicant.attempts += 1
        self.modes.effect(applicant.external_id, "check requested")
        self._save()
        self._notify(applicant, "applicantPending")
        self.courier.soon(self._decide(applicant))

    def complete(self, applicant: Applicant, result: dict[str, Any]) -> None:
        applicant.review_status, applicant.review_result = "completed", result
        applicant.reviewed_at = _second(self._clock.now())
        self._save()
        self._notify(applicant, "applicantReviewed")

    def resume(self) -> None:
        """Take up the reviews that a restart interrupted."""
        for applicant in self.applicants.values():
            if applicant.review_status == "pending":
                self.courier.soon(self._decide(applicant))

    async def _decide(self, applicant: Applicant) -> None:
        attempt = applicant.attempts
        await anyio.sleep(self._decide_after_seconds)
        if (extra_seconds := self.modes.setting.seconds) is None:
            await self.modes.until_off("late_verdict")
        elif self.modes.take("late_verdict"):
            await anyio.sleep(extra_seconds)
        if applicant.review_status != "pending" or applicant.attempts != attempt:
            return
        words = applicant.words()
        if "WAIT" in words:
            return
        if "HOLD" in words or self.modes.take("hold"):
            applicant.review_status = "onHold"
            self._save()
            self._notify(applicant, "applicantOnHold")
            return
        self.complete(applicant, self._result(words, attempt))

    def _result(self, words: set[str], attempt: int) -> dict[str, Any]:
        if "REJECT" in words or self.modes.take("reject"):
            return REJECTED
        if ("RETRY" in words and attempt == 1) or self.modes.take("retry"):
            return ASKED_AGAIN
        return YELLOW if "UNKNOWN" in words else GREEN

    def _notify(self, applicant: Applicant, event_type: str) -> None:
        # Two events of one applicant never share a millisecond at the vendor; under a clock that stands still
        # they would, and the receiver would take the second for a duplicate.
        at = max(self._clock.now(), self._last_event_at + timedelta(milliseconds=1))
        self._last_event_at = at
        payload = {
            "applicantId": applicant.id,
            "inspectionId": _derived(applicant.id, "inspection"),
            "applicantType": applicant.kind,
            "correlationId": self.correlation_id(),
            "levelName": applicant.level_name,
            "sandboxMode": True,
            "externalUserId": applicant.external_id,
            "type": event_type,
            "reviewStatus": applicant.review_status,
            "createdAt": _second(at),
            "createdAtMs": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}",
            "clientId": "fintokenx",
        }
        if applicant.review_result is not None:
            payload["reviewResult"] = applicant.review_result
        self.courier.post(f"{event_type} {applicant.external_id}", json.dumps(payload).encode())

    def _load(self) -> None:
        if self._state_path is None or not self._state_path.exists():
            return
        state = json.loads(self._state_path.read_text("utf-8"))
        self._serial = state["serial"]
        self.applicants = {fields["id"]: Applicant(**fields) for fields in state["applicants"]}

    def _save(self) -> None:
        if self._state_path is None:
            return
        state = {"serial": self._serial, "applicants": [asdict(each) for each in self.applicants.values()]}
        unfinished = self._state_path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(state), "utf-8")
        unfinished.replace(self._state_path)


def _second(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S+0000")


def _derived(applicant_id: str, what: str) -> str:
    return hashlib.sha256(f"{applicant_id}/{what}".encode()).hexdigest()[:24]


def applicant_json(applicant: Applicant) -> dict[str, Any]:
    return {
        "id": applicant.id,
        "createdAt": applicant.created_at.removesuffix("+0000"),
        "clientId": "fintokenx",
        "inspectionId": _derived(applicant.id, "inspection"),
        "externalUserId": applicant.external_id,
        "fixedInfo": applicant.fixed_info,
        "info": {},
        "review": review_json(applicant),
        "lang": "en",
        "type": applicant.kind,
    }


def review_json(applicant: Applicant) -> dict[str, Any]:
    review: dict[str, Any] = {
        "reviewId": _derived(applicant.id, "review")[:5],
        "attemptId": _derived(applicant.id, f"attempt {applicant.attempts}")[:5],
        "attemptCnt": applicant.attempts,
        "reprocessing": False,
        "levelName": applicant.level_name,
        "levelAutoCheckMode": None,
        "createDate": applicant.created_at,
        "reviewStatus": applicant.review_status,
        "priority": 0,
    }
    if applicant.review_result is not None:
        review |= {"reviewDate": applicant.reviewed_at, "reviewResult": applicant.review_result}
    return review
