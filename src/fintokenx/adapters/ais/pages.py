"""Reading one list of an Open Banking bank whole: every page well formed, none missing, or nothing at all.

A list with a hole reads as "not there", so whatever a page lacks or has too much refuses the list.
Source: Open Banking UK Read/Write API 3.1.11, profile "Common Payload Structure" and "Pagination", and the schemas
OBReadAccount6, OBReadBalance1 and OBReadTransaction6 (no additional members).
"""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Mapping
from typing import Any, Final

import httpx

from fintokenx.adapters.outbound import CallGuard, Failure, HttpExchange, Received, RetryPolicy
from fintokenx.kernel.clock import Clock, to_wire
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable

SYSTEM: Final = "open-banking"
_INTERACTIONS: Final = uuid.UUID("f2d1c4de-3b0a-5d0e-9a7a-0c7d5f2a6b11")
_MEMBERS: Final = frozenset({"Data", "Links", "Meta"})


class Pages:
    """Whole lists over one consent. ``timeout_seconds`` bounds each page, ``pages_max`` a list."""

    def __init__(
        self,
        *,
        token: Credential,
        clock: Clock,
        guard: CallGuard,
        timeout_seconds: float,
        pages_max: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._token = token
        self._clock = clock
        self._pages_max = pages_max
        self._requests = 0
        # Tried once: a list that could not be read is read again by the job that wants it.
        policy = RetryPolicy(attempts_max=1, attempt_seconds_max=timeout_seconds)
        timeouts = httpx.Timeout(timeout_seconds)
        self._http = HttpExchange(SYSTEM, "", guard=guard, policy=policy, timeouts=timeouts, tls=tls)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def all(self, first: httpx.URL, name: str) -> list[Any]:
        """The rows of all pages of ``Data.<name>``, as they are.

        :raises Unavailable: a page failed, is not as the standard says, or leads anywhere but to a further page of
            this very list; or the pages read are not as many as the bank says that there are
        """
        rows: list[Any] = []
        url: httpx.URL | None = first
        seen: set[str] = set()
        counts: set[int | None] = set()
        while url is not None:
            if str(url) in seen or len(seen) >= self._pages_max:
                raise unreadable("the pages do not end")
            seen.add(str(url))
            try:
                shown, following, count = _read(await self._page(url), name)
                url = url.join(following) if following is not None else None
            except (KeyError, TypeError, ValueError, httpx.InvalidURL) as error:
                raise unreadable("a page is malformed") from error
            rows.extend(shown)
            counts.add(count)
            if url is not None:
                _must_stay(url, first)
        _must_be_complete(counts, len(seen), is_empty=not rows)
        return rows

    async def _page(self, url: httpx.URL) -> Any:
        self._requests += 1
        interaction = f"{url}|{to_wire(self._clock.now())}|{self._requests}"
        interaction_id = str(uuid.uuid5(_INTERACTIONS, interaction))

        async def authorised(_request: httpx.Request) -> Mapping[str, str]:
            return {
                "Authorization": f"Bearer {await self._token.value()}",
                "Accept": "application/json",
                "x-fapi-interaction-id": interaction_id,
            }

        def judge(received: Received) -> Any:
            if received.status != 200:
                return Failure(f"HTTP {received.status}", outcome_unknown=received.status >= 500)
            if received.headers.get("x-fapi-interaction-id", interaction_id).lower() != interaction_id:
                return Failure("the answer belongs to another request")
            try:
                return json.loads(received.content)
            except (ValueError, RecursionError):
                return Failure("the answer is not JSON")

        try:
            return await self._http.send("GET", url, authenticate=authorised, judge=judge, repeatable=True)
        except Unavailable as lost:
            raise unreadable(lost.detail) from lost


def unreadable(detail: str) -> Unavailable:
    """What is raised for everything here: nothing was changed, so the outcome is never unknown."""
    return Unavailable(SYSTEM, detail, outcome_unknown=False)


def _read(document: Any, name: str) -> tuple[list[Any], str | None, int | None]:
    """Rows, link to the next page if there is one, and how many pages there are if the bank says so.

    :raises KeyError, TypeError, ValueError: the page is not as the standard says
    """
    if not isinstance(document, dict) or not document.keys() <= _MEMBERS:
        raise ValueError("an error body, or something else that is not a page")
    rows, links, meta = document["Data"][name], document["Links"], document["Meta"]
    if not isinstance(rows, list) or not isinstance(meta, dict) or not isinstance(links["Self"], str):
        raise TypeError("Data, Links or Meta")
    following, count = links.get("Next"), meta.get("TotalPages")
    if following is not None and (not isinstance(following, str) or not following.strip()):
        raise TypeError("Next")
    if count is not None and (type(count) is not int or count < 0):
        raise TypeError("TotalPages")
    return rows, following, count


def _must_stay(url: httpx.URL, first: httpx.URL) -> None:
    """The token goes with the request, and another list of the same bank has rows of another kind."""
    if (url.scheme, url.host, url.port) != (first.scheme, first.host, first.port):
        raise unreadable("the next page is on another host")
    if url.raw_path.partition(b"?")[0] != first.raw_path.partition(b"?")[0]:
        raise unreadable("the next page is of another list")


def _must_be_complete(counts: set[int | None], pages_read: int, *, is_empty: bool) -> None:
    """An empty list may count none or one page."""
    if len(counts) > 1:
        raise unreadable("the number of pages changed while they were read")
    (count,) = counts
    if count is not None and count != pages_read and not (is_empty and count == 0):
        raise unreadable(f"{pages_read} pages were read, and there are {count}")
