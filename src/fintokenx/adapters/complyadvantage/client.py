"""The production client for ComplyAdvantage's ``/searches``; the sandbox differs in base URL and key only."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from fintokenx.adapters.complyadvantage.exchange import POLICY, SYSTEM, Content, Exchange
from fintokenx.adapters.outbound import Access, CallGuard, RetryPolicy
from fintokenx.kernel.clock import Clock, to_wire
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable
from fintokenx.parties.kyc.ports import ScreeningAnswer, ScreeningHit, ScreeningName, Verdict

LISTS = ("sanction", "warning", "fitness-probity", "pep", "adverse-media")
LONGEST_TERM = 255
MOST_HITS = 100
FUZZINESS = 0.6
STATUSES_WITH_HITS = frozenset(
    {"unknown", "potential_match", "false_positive", "true_positive", "true_positive_approve", "true_positive_reject"}
)


class ComplyAdvantageClient:
    """Implements ``NameScreening``.

    Every call makes one search under a ``client_ref`` of its own, ``<external id>@<time of asking>``: when the
    answer is lost, the search is looked up under it before another is made, and an old search can never stand
    in for a new one. ``clock`` gives that time. A search changes nothing but the vendor's records, so an
    ``Unavailable`` from here may simply be asked again (``outcome_unknown`` is False).
    """

    def __init__(
        self,
        base_url: str,
        api_key: Credential,
        *,
        clock: Clock,
        guard: CallGuard,
        search_profile: str | None = None,
        http: httpx.AsyncClient | None = None,
        timeouts: httpx.Timeout | None = None,
        policy: RetryPolicy = POLICY,
    ) -> None:
        self._exchange = Exchange(base_url, api_key=api_key, guard=guard, http=http, timeouts=timeouts, policy=policy)
        self._clock = clock
        self._search_profile = search_profile

    @classmethod
    def open(cls, access: Access) -> Self:
        """The platform's client. Credentials: API key."""
        (api_key,) = access.credentials
        return cls(access.url, api_key, clock=access.clock, guard=access.guard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections this client opened itself."""
        await self._exchange.aclose()

    async def screen(self, name: ScreeningName) -> ScreeningAnswer:
        """Search now. :raises Unavailable: no useful answer, or a name too long to be searched whole"""
        if len(name.name) > LONGEST_TERM:
            raise Unavailable(SYSTEM, f"a name beyond {LONGEST_TERM} characters", outcome_unknown=False)
        client_ref = f"{name.external_id}@{to_wire(self._clock.now())}"
        try:
            content = await self._search_once(client_ref, self._question(name, client_ref))
        except Unavailable as lost:
            raise Unavailable(lost.system, lost.detail, outcome_unknown=False) from lost
        data = content.fields.get("data")
        if not isinstance(data, dict):
            raise Unavailable(SYSTEM, "an answer without data", outcome_unknown=False)
        if data.get("client_ref") != client_ref:
            raise Unavailable(SYSTEM, "answered with another search", outcome_unknown=False)
        return _read(data, content.raw)

    async def _search_once(self, client_ref: str, question: Mapping[str, Any]) -> Content:
        try:
            return await self._exchange.post("/searches", question)
        except Unavailable as lost:
            if not lost.outcome_unknown:
                raise
        return await self._made_already(client_ref) or await self._exchange.post("/searches", question)

    async def _made_already(self, client_ref: str) -> Content | None:
        listed = (await self._exchange.get("/searches", {"client_ref": client_ref, "per_page": 1})).fields.get("data")
        match listed:
            case [{"client_ref": found, "ref": str(search_ref)}, *_] if found == client_ref:
                return await self._exchange.get(f"/searches/{quote(search_ref, safe='')}")
            case []:
                return None
        raise Unavailable(SYSTEM, "a list of searches that cannot be read")

    def _question(self, name: ScreeningName, client_ref: str) -> dict[str, Any]:
        filters: dict[str, Any] = {"types": list(LISTS), "entity_type": name.kind, "remove_deceased": "0"}
        if name.birth_year is not None:
            filters["birth_year"] = name.birth_year
        question: dict[str, Any] = {
            # The whole name as one term: cutting it into given and family names would be a guess.
            "search_term": name.name,
            "client_ref": client_ref,
            "fuzziness": FUZZINESS,
            "offset": 0,
            "limit": MOST_HITS,
            "filters": filters,
        }
        if self._search_profile is not None:
            question["search_profile"] = self._search_profile
        return question


def _read(data: Mapping[str, Any], raw: bytes) -> ScreeningAnswer:
    """CLEAR and REFER only where every field agrees; an answer that contradicts itself is PENDING."""
    search_ref = data.get("ref")
    hits = _hits(data.get("hits"))
    if not isinstance(search_ref, str) or not search_ref or hits is None:
        return ScreeningAnswer(Verdict.PENDING, search_ref if isinstance(search_ref, str) else "", hits or (), raw)
    return ScreeningAnswer(_judge(data, len(hits)), search_ref, hits, raw)


def _judge(data: Mapping[str, Any], listed: int) -> Verdict:
    total, status = data.get("total_hits"), data.get("match_status")
    if type(total) is not int or data.get("total_matches", total) != total:
        return Verdict.PENDING
    if listed != min(total, MOST_HITS):
        return Verdict.PENDING
    if total == 0:
        return Verdict.CLEAR if status == "no_match" else Verdict.PENDING
    return Verdict.REFER if isinstance(status, str) and status in STATUSES_WITH_HITS else Verdict.PENDING


def _hits(listed: object) -> tuple[ScreeningHit, ...] | None:
    """The hits, or None when one of them cannot be read."""
    if not isinstance(listed, list):
        return None
    hits = []
    for entry in listed:
        match entry:
            case {"doc": {"id": str(hit_ref), "types": [*types]}, "match_status": str(status)} if hit_ref:
                hits.append(ScreeningHit(hit_ref, tuple(str(each) for each in types), status))
            case _:
                return None
    return tuple(hits)
