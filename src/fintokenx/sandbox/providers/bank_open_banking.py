"""The mock bank's Open Banking account information surface, v3.1.11, as strict as its profile.

``/accounts``, ``/accounts/{AccountId}/balances`` and ``/accounts/{AccountId}/transactions``, newest first, under
``/open-banking/v3.1/aisp``. Refused, as "Read-Write API Profile 3.1.11" says: a date in a query with a zone (400), an
``x-fapi-interaction-id`` that is not an RFC 4122 UUID (400), a parameter that the resource does not have (400), an id
that there is not (400), an ``Accept`` that JSON does not satisfy (406), a wrong token (401 without a body).
The payer's end-to-end id stands in ``SupplementaryData``: the standard gives ``TransactionReference`` to the scheme's
own payment id and has no field for ours.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fintokenx.kernel.clock import Clock, from_wire, to_wire
from fintokenx.sandbox.providers.bank_answers import Refusal, admit
from fintokenx.sandbox.providers.bank_book import Account, Book, Payment, account_id, instant
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.modes import Modes

OWN_MODES: Final = {
    "endless_pages": "every Open Banking page names a next one",
    "moving_pages": "an Open Banking page after the first begins with the last row of the page before",
    "foreign_next_page": "Open Banking's next page is on another host",
    "next_is_balances": "Open Banking's first page of transactions names the account's balances as the next page",
    "next_is_accounts": "Open Banking's first page of transactions names the list of accounts as the next page",
    "error_with_200": "an Open Banking page after the first is an error body with status 200",
    "data_without_list": "an Open Banking page after the first has Data without its list",
    "no_next_page": "an Open Banking page names no next one, however many pages it counts",
    "page_count_grows": "every Open Banking page counts one page more than the one before",
}
_BASE: Final = "/open-banking/v3.1/aisp"
_DATES: Final = {"fromBookingDateTime": 1, "toBookingDateTime": -1}
_LAST_LOGGED_IN: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4}"
    r" \d{2}:\d{2}:\d{2} (GMT|UTC)",
    re.ASCII,
)


class OpenBanking:
    """The surface over one book; ``page_size`` rows to a page."""

    def __init__(self, book: Book, modes: Modes, token: Credential, page_size: int, clock: Clock) -> None:
        self._book = book
        self._modes = modes
        self._token = token
        self._page_size = page_size
        self._clock = clock

    def routes(self) -> list[Route]:
        """Where it is found."""
        of_account = f"{_BASE}/accounts/{{account_id}}"
        return [
            Route(f"{_BASE}/accounts", self._accounts, methods=["GET"]),
            Route(f"{of_account}/balances", self._balances, methods=["GET"]),
            Route(f"{of_account}/transactions", self._transactions, methods=["GET"]),
        ]

    async def _accounts(self, request: Request) -> Response:
        await self._admit(request)
        rows = [
            {
                "AccountId": account_id("open-banking", account.key),
                "Currency": "GBP",
                "AccountType": "Business",
                "AccountSubType": "CurrentAccount",
                "Account": [
                    {
                        "SchemeName": "UK.OBIE.SortCodeAccountNumber",
                        "Identification": account.key,
                        "Name": account.name[:70],
                    }
                ],
            }
            for account in self._book.accounts.values()
        ]
        return self._answer(request, "Account", rows)

    async def _balances(self, request: Request) -> Response:
        await self._admit(request)
        account = self._account(request)
        available_pence = account.balance_pence - account.reserved_pence
        rows = [
            {
                "AccountId": account_id("open-banking", account.key),
                "CreditDebitIndicator": "Credit" if pence >= 0 else "Debit",
                "Type": kind,
                "DateTime": to_wire(self._clock.now()),
                "Amount": {"Amount": _pounds(pence), "Currency": "GBP"},
            }
            for kind, pence in (("InterimAvailable", available_pence), ("InterimBooked", account.balance_pence))
        ]
        return self._answer(request, "Balance", rows)

    async def _transactions(self, request: Request) -> Response:
        await self._admit(request, *_DATES)
        account = self._account(request)
        rows = [*self._booked(account), *self._pending(account)]
        for name, keeps in _DATES.items():
            if name in request.query_params:
                edge = _edge(name, request.query_params[name])
                rows = [row for row in rows if _sign(from_wire(row["BookingDateTime"]), edge) * keeps >= 0]
        rows.sort(key=lambda row: from_wire(row["BookingDateTime"]), reverse=True)
        return self._answer(request, "Transaction", [*account.oddities, *rows])

    async def _admit(self, request: Request, *parameters: str) -> None:
        await admit(request, self._token, 401)
        accepted = request.headers.get("Accept", "application/json")
        ranges = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
        if not ranges & {"application/json", "application/*", "*/*"}:
            raise _refusal(406, "UK.OBIE.Header.Invalid", "the answer is application/json", "Accept")
        interaction = request.headers.get("x-fapi-interaction-id")
        if interaction is not None and not _is_uuid(interaction):
            raise _refusal(400, "UK.OBIE.Header.Invalid", "an RFC 4122 UUID", "x-fapi-interaction-id")
        logged_in = request.headers.get("x-fapi-auth-date")
        if logged_in is not None and not _LAST_LOGGED_IN.fullmatch(logged_in):
            raise _refusal(400, "UK.OBIE.Header.Invalid", "an RFC 7231 date", "x-fapi-auth-date")
        for name, value in request.query_params.multi_items():
            if name not in (*parameters, "page") or len(request.query_params.getlist(name)) > 1:
                raise _refusal(400, "UK.OBIE.Field.Unexpected", "not a parameter of this resource", name)
            if name == "page" and not re.fullmatch(r"[1-9][0-9]{0,5}", value):
                raise _refusal(400, "UK.OBIE.Field.Invalid", "a page that a link has named", name)

    def _account(self, request: Request) -> Account:
        self._book.settle_due()
        wanted = request.path_params["account_id"]
        for account in self._book.accounts.values():
            if account_id("open-banking", account.key) == wanted:
                return account
        raise _refusal(400, "UK.OBIE.Resource.NotFound", "no such account", "AccountId")

    def _booked(self, account: Account) -> list[dict[str, Any]]:
        rows = []
        for line in account.bookings:
            row = self._row(account, self._book.payments[line.payment_id], line.amount_pence, line.booked_at, "Booked")
            if account.shows_transaction_ids:
                row["TransactionId"] = line.transaction_id
            rows.append(row)
        return rows

    def _pending(self, account: Account) -> list[dict[str, Any]]:
        """Credits on their way; when they are booked they come back under another id."""
        return [
            self._row(account, payment, payment.amount_pence, payment.accepted_at, "Pending")
            | {"TransactionId": f"P-{payment.payment_id}"}
            for payment in self._book.of_account(account.key)
            if payment.creditor == account.key and payment.status == "ACCP"
        ]

    def _row(self, account: Account, payment: Payment, amount_pence: int, at: str, status: str) -> dict[str, Any]:
        row: dict[str, Any] = {
            "AccountId": account_id("open-banking", account.key),
            "CreditDebitIndicator": "Credit" if amount_pence >= 0 else "Debit",
            "Status": status,
            "BookingDateTime": at if account.shows_times else f"{at[:10]}T00:00:00Z",
            "Amount": {"Amount": _pounds(amount_pence), "Currency": "GBP"},
            "TransactionInformation": payment.reference[: account.narration_length],
        }
        if account.shows_references:
            row["TransactionReference"] = payment.payment_id.replace("-", "")[:18].upper()
        if account.passes_end_to_end:
            row["SupplementaryData"] = {"EndToEndIdentification": payment.end_to_end_id}
        return row

    def _answer(self, request: Request, name: str, rows: list[dict[str, Any]]) -> Response:
        page = int(request.query_params.get("page", "1"))
        pages = max(1, -(-len(rows) // self._page_size))
        made_up = str(uuid.uuid4())
        headers = {"x-fapi-interaction-id": request.headers.get("x-fapi-interaction-id", made_up)}
        if page > 1 and self._modes.is_on("error_with_200"):
            return JSONResponse(_error("UK.OBIE.UnexpectedError", "try later", "page", 500), headers=headers)
        moved = int(name == "Transaction" and page > 1 and self._modes.take("moving_pages"))
        shown = rows[(page - 1) * self._page_size - moved : page * self._page_size - moved]
        data = {} if page > 1 and self._modes.is_on("data_without_list") else {name: shown}
        count = pages + (page if self._modes.is_on("page_count_grows") else 0)
        body = {"Data": data, "Links": self._links(request, name, page, pages), "Meta": {"TotalPages": count}}
        return JSONResponse(body, headers=headers)

    def _links(self, request: Request, name: str, page: int, pages: int) -> dict[str, str]:
        links = {"Self": str(request.url)}
        following = request.url.include_query_params(page=page + 1)
        if page < pages or self._modes.is_on("endless_pages"):
            links["Next"] = str(following)
        if self._modes.is_on("no_next_page"):
            links.pop("Next", None)
        if self._modes.is_on("foreign_next_page"):
            links["Next"] = str(following.replace(hostname="localhost"))
        if name == "Transaction" and self._modes.is_on("next_is_balances"):
            links["Next"] = str(
                request.url.replace(path=request.url.path.replace("/transactions", "/balances"), query="")
            )
        if name == "Transaction" and self._modes.is_on("next_is_accounts"):
            links["Next"] = str(request.url.replace(path=f"{_BASE}/accounts", query=""))
        return links


def _edge(name: str, text: str) -> datetime:
    try:
        return instant(text)
    except ValueError as error:
        raise _refusal(
            400, "UK.OBIE.Field.InvalidDate", "an ISO 8601 date or date-time without a zone", name
        ) from error


def _refusal(status: int, code: str, message: str, path: str) -> Refusal:
    return Refusal(JSONResponse(_error(code, message, path, status), status_code=status))


def _error(code: str, message: str, path: str, status: int) -> dict[str, Any]:
    """OBErrorResponse1."""
    errors = [{"ErrorCode": code, "Message": message, "Path": path}]
    return {"Code": f"{status}", "Id": str(uuid.uuid4()), "Message": message, "Errors": errors}


def _pounds(pence: int) -> str:
    """Open Banking amounts carry no sign."""
    pounds, rest = divmod(abs(pence), 100)
    return f"{pounds}.{rest:02d}"


def _is_uuid(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", text))


def _sign(at: datetime, edge: datetime) -> int:
    return (at > edge) - (at < edge)
