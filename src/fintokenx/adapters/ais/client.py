"""An Open Banking UK v3.1.11 account information client: booked sterling credits, every page, nothing guessed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
import uuid
from collections import Counter
from datetime import UTC
from typing import Any, Final

import httpx

from fintokenx.kernel.clock import Clock, Instant, from_wire, to_wire
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import PENCE_MAX, Pence
from fintokenx.lifecycle.settlement.ports import BankAccount, BankCredit

SYSTEM: Final = "open-banking"
NARRATION_LENGTH_MAX: Final = 500
_BASE_PATH: Final = "/open-banking/v3.1/aisp"
_INTERACTIONS: Final = uuid.UUID("f2d1c4de-3b0a-5d0e-9a7a-0c7d5f2a6b11")
_AMOUNT: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,5}))?", re.ASCII)


class OpenBankingClient:
    """Settlement's ``AccountInformation`` over the AISP API of one bank and one consent.

    ``base_url`` is the bank's host; the standard's path is added.

    ``timeout_seconds`` bounds each page. ``tls`` carries the client certificate (OBWAC) where the bank wants one.
    ``foreign_credits_ignored`` counts booked credits in another currency since the start; they are left out of
    every answer because nothing of ours is settled in them.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: Credential,
        clock: Clock,
        timeout_seconds: float = 10.0,
        pages_max: int = 200,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.foreign_credits_ignored = 0
        self._base = httpx.URL(base_url)
        self._token = token
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._pages_max = pages_max
        self._requests = 0
        self._account_ids: dict[str, str] = {}
        self._http = httpx.AsyncClient(
            verify=tls or True, timeout=timeout_seconds, follow_redirects=False, trust_env=False
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def credits(self, account: BankAccount, since: Instant) -> list[BankCredit]:
        """Booked sterling credits from ``since`` on, oldest first, without repeats.

        Raises ``Unavailable`` (nothing was changed, so never ``outcome_unknown``) when any page fails or any booked
        credit cannot be read exactly: a list with a hole would read as "not paid". Banks book late; ask with an
        overlap and drop repeats by ``transaction_id``.
        """
        account_id = await self._account_id(account)
        start = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        path = f"{_BASE_PATH}/accounts/{account_id}/transactions"
        first = self._base.copy_with(path=path, params={"fromBookingDateTime": start})
        rows = await self._all_pages(first, "Transaction")
        # A page that moved while it was read shows a row twice. Where rows have no id that looks like two equal
        # credits, so such a list is believed only when it reads the same again.
        if _has_unnamed_twins(rows) and await self._all_pages(first, "Transaction") != rows:
            raise _unreadable("the list changed while it was read")
        try:
            found = self._booked_credits(account_id, rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable("a transaction is malformed") from error
        in_time = (credit for credit in found.values() if credit.booked_at >= since)
        return sorted(in_time, key=lambda credit: (credit.booked_at, credit.transaction_id))

    def _booked_credits(self, account_id: str, rows: list[Any]) -> dict[str, BankCredit]:
        """By transaction id. A row that is on two pages, because a page moved while it was read, counts once."""
        found: dict[str, BankCredit] = {}
        twins: Counter[str] = Counter()
        foreign = 0
        for row in rows:
            if row["AccountId"] != account_id:
                raise ValueError("a transaction of another account")
            if row["Status"] != "Booked" or row["CreditDebitIndicator"] != "Credit":
                continue
            if row["Amount"]["Currency"] != "GBP":
                foreign += 1
                continue
            credit = _credit(row, twins)
            if found.setdefault(credit.transaction_id, credit) != credit:
                raise ValueError("one transaction id on two transactions")
        self.foreign_credits_ignored += foreign
        return found

    async def _account_id(self, account: BankAccount) -> str:
        key = account.sort_code + account.account_number
        if key not in self._account_ids:
            rows = await self._all_pages(self._base.copy_with(path=f"{_BASE_PATH}/accounts"), "Account")
            try:
                self._account_ids.update(_ids_by_number(rows))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise _unreadable("the list of accounts is malformed") from error
        if key not in self._account_ids:
            raise _unreadable("the consent does not cover the account")
        return self._account_ids[key]

    async def _all_pages(self, first: httpx.URL, name: str) -> list[Any]:
        """Follow ``Links.Next`` as it is written, on the bank's own origin only: the token goes with the request."""
        rows: list[Any] = []
        url: httpx.URL | None = first
        seen: set[str] = set()
        while url is not None:
            if str(url) in seen or len(seen) >= self._pages_max:
                raise _unreadable("the pages do not end")
            seen.add(str(url))
            document = await self._page(url)
            try:
                page = document["Data"].get(name, [])
                following = (document.get("Links") or {}).get("Next")
                if not isinstance(page, list):
                    raise TypeError(name)
                rows.extend(page)
                url = url.join(following) if following else None
            except (KeyError, TypeError, ValueError, AttributeError, httpx.InvalidURL) as error:
                raise _unreadable("a page is malformed") from error
            if url is not None and _origin(url) != _origin(self._base):
                raise _unreadable("the next page is on another host")
        return rows

    async def _page(self, url: httpx.URL) -> Any:
        self._requests += 1
        interaction = f"{url}|{to_wire(self._clock.now())}|{self._requests}"
        headers = {
            "Authorization": f"Bearer {await self._token.value()}",
            "Accept": "application/json",
            "x-fapi-interaction-id": str(uuid.uuid5(_INTERACTIONS, interaction)),
        }
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.get(url, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise _unreadable(f"no usable answer ({type(error).__name__})") from error
        if response.status_code != 200:
            raise _unreadable(f"HTTP {response.status_code}")
        echo = response.headers.get("x-fapi-interaction-id", headers["x-fapi-interaction-id"])
        if echo.lower() != headers["x-fapi-interaction-id"]:
            raise _unreadable("the answer belongs to another request")
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise _unreadable("the answer is not JSON") from error


def _unreadable(detail: str) -> Unavailable:
    return Unavailable(SYSTEM, detail, outcome_unknown=False)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _ids_by_number(rows: list[Any]) -> dict[str, str]:
    """Sort code and account number (14 digits) to AccountId, in a form that cannot change the path of a URL."""
    ids: dict[str, str] = {}
    for row in rows:
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,40}", row["AccountId"]) or row["AccountId"].strip(".") == "":
            raise ValueError("AccountId")
        for name in row.get("Account") or []:
            if name["SchemeName"] == "UK.OBIE.SortCodeAccountNumber":
                ids[name["Identification"]] = row["AccountId"]
    return ids


def pence_from_amount(text: Any) -> Pence:
    """Read an Open Banking amount (pounds, up to five decimals, unsigned). :raises ValueError: not whole pence"""
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("an amount has the form of the standard")
    fraction = (match[2] or "").ljust(2, "0")
    if fraction[2:].strip("0"):
        raise ValueError("an amount must be whole pence")
    pence = int(match[1]) * 100 + int(fraction[:2])
    if pence > PENCE_MAX:
        raise ValueError("an amount must be recordable")
    return Pence(pence)


def _credit(row: Any, twins: Counter[str]) -> BankCredit:
    amount = pence_from_amount(row["Amount"]["Amount"])
    booked_at = from_wire(row["BookingDateTime"])
    narration = _text(row.get("TransactionInformation"))[:NARRATION_LENGTH_MAX]
    # The standard has no field for the payer's id: TransactionReference is the scheme's own payment id.
    supplement = row.get("SupplementaryData") or {}
    end_to_end_id = _text(supplement.get("EndToEndIdentification"))
    transaction_id = _text(row.get("TransactionId"))
    if not transaction_id:
        content = [to_wire(booked_at), amount.value, narration, _text(row.get("TransactionReference")), end_to_end_id]
        transaction_id = _fallback_id(content, twins)
    return BankCredit(transaction_id, amount, booked_at, narration, end_to_end_id)


def _has_unnamed_twins(rows: list[Any]) -> bool:
    contents = Counter(
        json.dumps(row, sort_keys=True) for row in rows if not isinstance(row, dict) or not row.get("TransactionId")
    )
    return any(count > 1 for count in contents.values())


def _fallback_id(content: list[Any], twins: Counter[str]) -> str:
    """An id from the content, for TransactionId is optional; equal credits are told apart by counting them."""
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    twins[digest] += 1
    return f"content-{digest[:40]}-{twins[digest]}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value.strip()
