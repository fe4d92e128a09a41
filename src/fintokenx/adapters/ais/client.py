"""An Open Banking UK v3.1.11 account information client: booked sterling credits, every page, nothing guessed."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from datetime import UTC
from typing import Any, Final, Self

import httpx

from fintokenx.adapters.ais.pages import Pages, unreadable
from fintokenx.adapters.ais.rows import booked_balance, booked_credits, ids_by_number
from fintokenx.adapters.outbound import Access, CallGuard
from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.ports import BankAccount, BankCredit

_BASE_PATH: Final = "/open-banking/v3.1/aisp"
_MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError)


class OpenBankingClient:
    """Settlement's ``AccountInformation`` over the AISP API of one bank and one consent.

    ``base_url`` is the bank's host; the standard's path is added.

    ``timeout_seconds`` bounds each page. ``tls`` carries the client certificate (OBWAC) where the bank wants one.
    ``foreign_credits_ignored`` counts booked credits in another currency since the start; they are left out of
    every answer because nothing of ours is settled in them.

    Every method raises ``Unavailable`` (nothing was changed, so never ``outcome_unknown``) when any page fails, is
    malformed or missing, or holds any row that cannot be read exactly: a list with a hole would read as "not paid".
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: Credential,
        clock: Clock,
        guard: CallGuard,
        timeout_seconds: float = 10.0,
        pages_max: int = 200,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.foreign_credits_ignored = 0
        self._base = httpx.URL(base_url)
        self._account_ids: dict[str, str] = {}
        self._pages = Pages(
            token=token, clock=clock, guard=guard, timeout_seconds=timeout_seconds, pages_max=pages_max, tls=tls
        )

    @classmethod
    def open(cls, access: Access) -> Self:
        """The platform's client. Credentials: token."""
        (token,) = access.credentials
        return cls(base_url=access.url, token=token, clock=access.clock, guard=access.guard)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pages.aclose()

    async def credits(self, account: BankAccount, since: Instant) -> list[BankCredit]:
        """Booked sterling credits from ``since`` on, oldest first, without repeats; equal ones that the bank gives no
        id are as many as it shows. Banks book late: ask with an overlap."""
        account_id = await self._account_id(account)
        # Without a zone: "all dates in the query string … must not include the timezone"; they mean UTC.
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        first = self._url(f"/accounts/{account_id}/transactions", {"fromBookingDateTime": start})
        rows = await self._pages.all(first, "Transaction")
        # A page that moved while it was read shows a row twice. Where rows have no id that looks like two equal
        # credits, so such a list is believed only when it reads the same again.
        if _has_unnamed_twins(rows) and await self._pages.all(first, "Transaction") != rows:
            raise unreadable("the list changed while it was read")
        try:
            found, foreign = booked_credits(rows, account_id)
        except _MALFORMED as error:
            raise unreadable("a transaction is malformed") from error
        self.foreign_credits_ignored += foreign
        in_time = (credit for credit in found if credit.booked_at >= since)
        return sorted(in_time, key=lambda credit: (credit.booked_at, credit.transaction_id))

    async def balance(self, account: BankAccount) -> Pence:
        """What is booked on the account now; below zero where it is overdrawn."""
        account_id = await self._account_id(account)
        rows = await self._pages.all(self._url(f"/accounts/{account_id}/balances"), "Balance")
        try:
            return booked_balance(rows, account_id)[0]
        except _MALFORMED as error:
            raise unreadable("the balances are malformed") from error

    async def _account_id(self, account: BankAccount) -> str:
        key = account.sort_code + account.account_number
        if key not in self._account_ids:
            rows = await self._pages.all(self._url("/accounts"), "Account")
            try:
                self._account_ids.update(ids_by_number(rows))
            except _MALFORMED as error:
                raise unreadable("the list of accounts is malformed") from error
        if key not in self._account_ids:
            raise unreadable("the consent does not cover the account")
        return self._account_ids[key]

    def _url(self, path: str, params: dict[str, str] | None = None) -> httpx.URL:
        return self._base.copy_with(path=_BASE_PATH + path, params=params)


def _has_unnamed_twins(rows: list[Any]) -> bool:
    contents = Counter(
        json.dumps(row, sort_keys=True) for row in rows if not isinstance(row, dict) or not row.get("TransactionId")
    )
    return any(count > 1 for count in contents.values())
