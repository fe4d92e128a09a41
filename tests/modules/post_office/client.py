"""The client of a post office that knows where a parcel is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx

from fintokenx.adapters.outbound import Access, CallGuard, Failure, HttpExchange, Received, RetryPolicy
from fintokenx.kernel.credentials import Credential


class PostOfficeClient:
    """Raises ``Unavailable`` where the post office does not answer well."""

    def __init__(self, base_url: str, *, token: Credential, guard: CallGuard) -> None:
        self._token = token
        self._http = HttpExchange("post-office", base_url, guard=guard, policy=RetryPolicy(attempts_max=1))

    @classmethod
    def open(cls, access: Access) -> Self:
        (token,) = access.credentials
        return cls(access.url, token=token, guard=access.guard)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def where_is(self, parcel: str) -> str:
        """The place."""
        fields: Mapping[str, Any] = await self._http.send(
            "GET", f"/parcels/{parcel}", authenticate=self._authorised, judge=_read, repeatable=True
        )
        return str(fields["place"])

    async def _authorised(self, _request: httpx.Request) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self._token.value()}"}


def _read(received: Received) -> Mapping[str, Any] | Failure:
    fields = received.json_object() if received.is_success else None
    return Failure(f"HTTP {received.status}") if fields is None else fields
