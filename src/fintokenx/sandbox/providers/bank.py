"""A mock bank: ClearBank's payments and accounts API and Open Banking account information over one book.

ClearBank surface: ``POST /v3/payments/fps``, ``GET /v2/Accounts``, ``GET /v2/Accounts/{id}/Transactions``. It adds one
member to the documented transaction, ``cancellationCode``: the real bank tells it by the TransactionRejected webhook.
A request id is used up by any request that is well formed and well signed, whatever the bank then says to it.
Open Banking v3.1.11 surface under ``/open-banking/v3.1/aisp``: ``/accounts`` and
``/accounts/{AccountId}/transactions``, newest first.
The payer's end-to-end id stands in ``SupplementaryData``: the standard gives ``TransactionReference`` to the scheme's
own payment id and has no field for ours.

Fates of a payment, first match wins: the next ones ordered by ``POST /control/fates``, then the creditor's account
number, then the amount, else it settles (AC03 when the account is unknown here):

==================  ================  ==============================================
account number      amount            what becomes of it
==================  ================  ==============================================
``00000007``        £1,313.07         rejected, AC07: account closed, terminal
``00000003``        £1,313.03         rejected, MS03: unspecified, retriable
``00000009``        £1,313.09         held, pending for ever
``00000005``        £1,313.05         settles, then comes back with AC04
==================  ================  ==============================================

Control surface beside that of ``modes``: ``POST /control/accounts``, ``GET /control/accounts/{sort}/{number}``,
``POST /control/payments`` (somebody pays at their own bank), ``POST /control/returns``, ``POST /control/fates``,
``POST /control/oddities`` (an Open Banking transaction shown as given, first), ``GET /control/instructions``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from fintokenx.kernel.clock import Clock, SystemClock, from_wire
from fintokenx.sandbox.providers.bank_book import HOLD, RETURN, SETTLE, Account, Book, Payment, account_id, instant
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.modes import Modes

FATE_OF_ACCOUNT_NUMBER: Final = {"00000007": "AC07", "00000003": "MS03", "00000009": HOLD, "00000005": RETURN}
FATE_OF_PENCE: Final = {131307: "AC07", 131303: "MS03", 131309: HOLD, 131305: RETURN}
SCHEME_LIMIT_PENCE: Final = 100_000_000

OWN_MODES: Final = {
    "unknown_verdict": "ClearBank's transactions carry a status that no documentation names",
    "late_read_model": "ClearBank's lists of transactions are empty",
    "wrong_amount": "ClearBank's lists show a penny more than was paid",
    "endless_pages": "every Open Banking page names a next one",
    "moving_pages": "an Open Banking page after the first begins with the last row of the page before",
    "foreign_next_page": "Open Banking's next page is on another host",
}

_AMOUNT: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,2})0*)?", re.ASCII)
_OPEN_BANKING: Final = "/open-banking/v3.1/aisp"


class _Decimal(str):
    """A JSON number as it was written."""

    __slots__ = ()


class _Refusal(Exception):
    """An answer that ends the request."""

    def __init__(self, status: int, title: str = "") -> None:
        self.response = _problem(status, title)
        super().__init__(title)


def create_app(
    *,
    state_path: Path,
    clock: Clock,
    clearbank_token: Credential,
    clearbank_public_key_pem: bytes,
    open_banking_token: Credential,
    wall: Clock | None = None,
    settle_after_seconds: float = 0.3,
    page_size: int = 50,
) -> Starlette:
    """The bank as an ASGI application. The public key is that of the vault's ``DigitalSignature`` key (RSA, PEM).

    ``page_size`` is Open Banking's; ClearBank lets the caller choose. Payments settle ``settle_after_seconds`` of
    ``wall`` time after they were accepted.
    """
    key = load_pem_public_key(clearbank_public_key_pem)
    if not isinstance(key, RSAPublicKey):
        raise TypeError("ClearBank signs with RSA")
    modes = Modes("bank", clock, own=OWN_MODES, client_reference=_end_to_end_id_of, error_body=_error_body)
    book = Book(state_path, clock, wall or SystemClock(), settle_after_seconds)
    fates: deque[str] = deque()
    clearbank = _ClearBank(book, modes, clearbank_token, key, fates)
    open_banking = _OpenBanking(book, modes, open_banking_token, page_size)
    control = _Control(book, fates)
    vendor = Starlette(routes=[*clearbank.routes(), *open_banking.routes()], exception_handlers={_Refusal: _refuse})
    modes.install(vendor)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        book.close()

    # The modes' middleware answers every /control path it is given, so the book's controls stand in front of it.
    return Starlette(routes=[*control.routes(), Mount("/", app=vendor)], lifespan=lifespan)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Refusal)  # noqa: S101 - tells the type checker what the registration says
    return error.response


class _ClearBank:
    def __init__(self, book: Book, modes: Modes, token: Credential, key: RSAPublicKey, fates: deque[str]) -> None:
        self._book = book
        self._modes = modes
        self._token = token
        self._key = key
        self._fates = fates

    def routes(self) -> list[Route]:
        return [
            Route("/v3/payments/fps", self.pay, methods=["POST"]),
            Route("/v2/Accounts", self.accounts, methods=["GET"]),
            Route("/v2/Accounts/{account_id}/Transactions", self.transactions, methods=["GET"]),
        ]

    async def pay(self, request: Request) -> Response:
        body = await request.body()
        await self._admit(request, 403)
        request_id = request.headers.get("X-Request-Id", "")
        if not request_id or len(request_id) > 83:
            raise _Refusal(400, "Missing X-Request-Id Header")
        self._verify(request.headers.get("DigitalSignature", ""), body)
        try:
            orders = _orders(body)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise _Refusal(422, "The request is not valid") from error
        delivered = [order["end_to_end_id"] for order in orders]
        if self._book.knows_request(request_id):
            self._book.accept(request_id="", delivered=delivered, payments=[])
            raise _Refusal(409)
        return self._decide(request_id, delivered, orders)

    def _decide(self, request_id: str, delivered: list[str], orders: list[dict[str, Any]]) -> Response:
        accepted: list[Payment] = []
        words = [self._word(order, accepted) for order in orders]
        self._book.accept(request_id=request_id, delivered=delivered, payments=accepted)
        for payment in accepted:
            self._modes.effect(payment.end_to_end_id, "payment accepted")
        rows = [
            {"endToEndIdentification": end_to_end_id, "response": word}
            for end_to_end_id, word in zip(delivered, words, strict=True)
        ]
        status = 202 if "Accepted" in words else 400
        return JSONResponse({"transactions": rows, "halLinks": []}, status_code=status)

    def _word(self, order: dict[str, Any], accepted: list[Payment]) -> str:
        """The bank's word for one transfer; an accepted new one joins ``accepted``."""
        currency = order.pop("currency")
        fate = FATE_OF_ACCOUNT_NUMBER.get(order["creditor"][6:]) or FATE_OF_PENCE.get(order["amount_pence"]) or SETTLE
        payment = self._book.draft(channel="clearbank", fate=fate, **order)
        in_this_request = [other for other in accepted if other.end_to_end_id == payment.end_to_end_id]
        earlier = self._book.earlier("clearbank", payment.end_to_end_id) or next(iter(in_this_request), None)
        if earlier is not None:
            return "Accepted" if earlier.says_the_same_as(payment) else "Rejected"
        if currency != "GBP":
            return "InvalidCurrency"
        if payment.debtor not in self._book.accounts or payment.debtor == payment.creditor:
            return "InvalidAccount"
        if not 0 < payment.amount_pence <= SCHEME_LIMIT_PENCE:
            return "Rejected"
        promised = sum(other.amount_pence for other in accepted if other.debtor == payment.debtor)
        if not self._book.can_spend(payment.debtor, payment.amount_pence + promised):
            return "InsufficientFunds"
        if self._fates:
            payment.fate = self._fates.popleft()
        accepted.append(payment)
        return "Accepted"

    async def accounts(self, request: Request) -> Response:
        await self._admit(request, 403)
        rows = [
            {
                "id": account_id("clearbank", account.key),
                "name": account.name,
                "label": account.name,
                "type": "CACC",
                "currencies": ["GBP"],
                "balances": [],
                "bban": f"CLBK{account.key}",
            }
            for account in self._book.accounts.values()
        ]
        return JSONResponse({"accounts": _page(request, rows), "halLinks": []})

    async def transactions(self, request: Request) -> Response:
        await self._admit(request, 403)
        wanted = request.path_params["account_id"]
        account = next((a for a in self._book.accounts.values() if account_id("clearbank", a.key) == wanted), None)
        if account is None:
            raise _Refusal(403)
        filtered = request.query_params.get("endToEndIdentifier")
        rows = [
            row
            for payment in self._book.of_account(account.key)
            if filtered is None or payment.end_to_end_id == filtered
            for row in self._rows(account, payment)
        ]
        if self._modes.is_on("late_read_model"):
            rows = []
        body = '{"transactions":[' + ",".join(_page(request, rows)) + '],"halLinks":[]}'
        return Response(body, media_type="application/json")

    def _rows(self, account: Account, payment: Payment) -> list[str]:
        """The payment as this account sees it: what it sent, what it received, what came back."""
        if payment.debtor == account.key:
            sent = self._row(payment, payment.creditor, "DBIT", payment.status, payment.code)
            back = self._row(payment, payment.creditor, "CRDT", "ACSC", payment.return_code)
            return [sent, back] if payment.returned_at else [sent]
        if payment.status != "ACSC":
            return []
        return [self._row(payment, payment.debtor, "CRDT", "ACSC", "")]

    def _row(self, payment: Payment, counterpart: str, direction: str, status: str, code: str) -> str:
        """JSON text: its decimal amount is beyond ``json.dumps``."""
        pounds, pence = divmod(payment.amount_pence + self._modes.is_on("wrong_amount"), 100)
        amount = f'{{"instructedAmount":{pounds}.{pence:02d},"currency":"GBP"}}'
        came_back = direction == "CRDT" and payment.returned_at
        members = {
            "counterpartAccount": {
                "identification": {"sortCode": counterpart[:6], "accountNumber": counterpart[6:]},
            },
            "debitCreditCode": direction,
            "endToEndIdentifier": payment.end_to_end_id,
            "transactionId": str(uuid.uuid5(uuid.UUID(payment.payment_id), "back"))
            if came_back
            else payment.payment_id,
            "transactionReference": payment.reference,
            "transactionTime": payment.returned_at if came_back else payment.accepted_at,
            "status": "TELEPORTED" if self._modes.is_on("unknown_verdict") else status,
            **({"cancellationCode": code} if code else {}),
        }
        return f'{{"amount":{amount},{json.dumps(members)[1:]}'

    async def _admit(self, request: Request, status: int) -> None:
        await _admit(request, self._token, status)

    def _verify(self, signature: str, body: bytes) -> None:
        try:
            self._key.verify(base64.b64decode(signature, validate=True), body, padding.PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise _Refusal(400, "Invalid DigitalSignature Header") from error


class _OpenBanking:
    def __init__(self, book: Book, modes: Modes, token: Credential, page_size: int) -> None:
        self._book = book
        self._modes = modes
        self._token = token
        self._page_size = page_size

    def routes(self) -> list[Route]:
        return [
            Route(f"{_OPEN_BANKING}/accounts", self.accounts, methods=["GET"]),
            Route(f"{_OPEN_BANKING}/accounts/{{account_id}}/transactions", self.transactions, methods=["GET"]),
        ]

    async def accounts(self, request: Request) -> Response:
        await _admit(request, self._token, 401)
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

    async def transactions(self, request: Request) -> Response:
        await _admit(request, self._token, 401)
        wanted = request.path_params["account_id"]
        account = next((a for a in self._book.accounts.values() if account_id("open-banking", a.key) == wanted), None)
        if account is None:
            raise _Refusal(403, "UK.OBIE.Resource.NotFound")
        self._book.settle_due()
        rows = [*self._booked(account), *self._pending(account)]
        try:
            for name, keeps in (("fromBookingDateTime", 1), ("toBookingDateTime", -1)):
                if name in request.query_params:
                    edge = instant(request.query_params[name])
                    rows = [row for row in rows if _sign(from_wire(row["BookingDateTime"]), edge) * keeps >= 0]
        except ValueError as error:
            raise _Refusal(400, "UK.OBIE.Field.InvalidDate") from error
        rows.sort(key=lambda row: from_wire(row["BookingDateTime"]), reverse=True)
        return self._answer(request, "Transaction", [*account.oddities, *rows])

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
        pounds, pence = divmod(abs(amount_pence), 100)
        row: dict[str, Any] = {
            "AccountId": account_id("open-banking", account.key),
            "TransactionReference": payment.payment_id.replace("-", "")[:18].upper(),
            "CreditDebitIndicator": "Credit" if amount_pence >= 0 else "Debit",
            "Status": status,
            "BookingDateTime": at,
            "Amount": {"Amount": f"{pounds}.{pence:02d}", "Currency": "GBP"},
            "TransactionInformation": payment.reference[:500],
        }
        if account.passes_end_to_end:
            row["SupplementaryData"] = {"EndToEndIdentification": payment.end_to_end_id}
        return row

    def _answer(self, request: Request, name: str, rows: list[dict[str, Any]]) -> Response:
        page = int(request.query_params.get("page", "1"))
        pages = max(1, -(-len(rows) // self._page_size))
        links = {"Self": str(request.url)}
        if page < pages or self._modes.is_on("endless_pages"):
            links["Next"] = str(request.url.include_query_params(page=page + 1))
        if self._modes.is_on("foreign_next_page"):
            links["Next"] = str(request.url.replace(hostname="localhost").include_query_params(page=page + 1))
        moved = int(name == "Transaction" and page > 1 and self._modes.take("moving_pages"))
        shown = rows[(page - 1) * self._page_size - moved : page * self._page_size - moved]
        made_up = str(uuid.uuid5(uuid.NAMESPACE_URL, str(request.url)))
        headers = {"x-fapi-interaction-id": request.headers.get("x-fapi-interaction-id", made_up)}
        return JSONResponse({"Data": {name: shown}, "Links": links, "Meta": {"TotalPages": pages}}, headers=headers)


class _Control:
    def __init__(self, book: Book, fates: deque[str]) -> None:
        self._book = book
        self._fates = fates

    def routes(self) -> list[Route]:
        return [
            Route("/control/accounts", self.open_account, methods=["POST"]),
            Route("/control/accounts/{sort_code}/{account_number}", self.account, methods=["GET"]),
            Route("/control/payments", self.pay, methods=["POST"]),
            Route("/control/returns", self.send_back, methods=["POST"]),
            Route("/control/fates", self.set_fates, methods=["POST"]),
            Route("/control/oddities", self.show_oddity, methods=["POST"]),
            Route("/control/instructions", self.instructions, methods=["GET"]),
        ]

    async def open_account(self, request: Request) -> Response:
        """``{"sort_code", "account_number", "name", "balance_pence"}``, and how it shows on Open Banking:
        ``"passes_end_to_end"`` and ``"shows_transaction_ids"``, both true unless said otherwise.
        """
        wanted = await request.json()
        habits = {name: wanted[name] for name in ("passes_end_to_end", "shows_transaction_ids") if name in wanted}
        try:
            key = _account_key(wanted)
            opening_pence = wanted.get("balance_pence", 0)
            account = self._book.open_account(key[:6], key[6:], str(wanted["name"]), opening_pence, **habits)
        except (KeyError, ValueError) as error:
            return _problem(409, str(error))
        return JSONResponse(account.as_json(), status_code=201)

    async def account(self, request: Request) -> Response:
        self._book.settle_due()
        account = self._book.accounts.get(request.path_params["sort_code"] + request.path_params["account_number"])
        return JSONResponse(account.as_json()) if account else _problem(404, "no such account")

    async def pay(self, request: Request) -> Response:
        """``{"from": {"sort_code", "account_number"}, "to": {...}, "amount_pence", "reference", "end_to_end_id"?}``"""
        wanted = await request.json()
        try:
            debtor, creditor, amount_pence = (
                _account_key(wanted["from"]),
                _account_key(wanted["to"]),
                wanted["amount_pence"],
            )
            if type(amount_pence) is not int or amount_pence <= 0:
                raise ValueError("amount_pence must be a positive whole number")
            payment = self._book.draft(
                channel="elsewhere", end_to_end_id=wanted.get("end_to_end_id", ""), debtor=debtor, creditor=creditor,
                creditor_name=wanted.get("name", ""), amount_pence=amount_pence, reference=wanted["reference"],
                fate=SETTLE,
            )  # fmt: skip
            if not self._book.can_spend(debtor, amount_pence):
                raise ValueError("insufficient funds")
        except (KeyError, TypeError, ValueError) as error:
            return _problem(409, str(error))
        self._book.accept(request_id="", delivered=[], payments=[payment])
        return JSONResponse({"payment_id": payment.payment_id, "end_to_end_id": payment.end_to_end_id}, status_code=202)

    async def send_back(self, request: Request) -> Response:
        """``{"end_to_end_id", "code"}``: the payee's bank returns a settled payment of ours."""
        wanted = await request.json()
        payment = self._book.earlier("clearbank", wanted["end_to_end_id"])
        if payment is None:
            return _problem(404, "no such payment")
        try:
            self._book.send_back(payment, str(wanted["code"]))
        except ValueError as error:
            return _problem(409, str(error))
        return JSONResponse({"payment_id": payment.payment_id})

    async def set_fates(self, request: Request) -> Response:
        """``{"fate": "MS03", "times": 2}``: what becomes of the next accepted payments; also settle, hold, return."""
        wanted = await request.json()
        self._fates.extend([str(wanted["fate"])] * int(wanted.get("times", 1)))
        return JSONResponse({"waiting": list(self._fates)})

    async def show_oddity(self, request: Request) -> Response:
        """``{"sort_code", "account_number", "transaction": {an Open Banking transaction}}``"""
        wanted = await request.json()
        try:
            self._book.show_oddity(_account_key(wanted), wanted["transaction"])
        except (KeyError, ValueError) as error:
            return _problem(409, str(error))
        return JSONResponse({}, status_code=201)

    async def instructions(self, _: Request) -> Response:
        """Every end-to-end id that was submitted: how often it arrived, how often it moved money (P-15)."""
        self._book.settle_due()
        paid = self._book.debits_booked("clearbank")
        rows = []
        for end_to_end_id, deliveries in self._book.deliveries.items():
            payment = self._book.earlier("clearbank", end_to_end_id)
            row: dict[str, Any] = {
                "endToEndId": end_to_end_id,
                "deliveries": deliveries,
                "effects": paid[end_to_end_id],
            }
            if payment is not None:
                row |= {"payment_id": payment.payment_id, "status": payment.status, "code": payment.code}
                row |= {"debtor": payment.debtor, "creditor": payment.creditor, "amount_pence": payment.amount_pence}
                row |= {"creditor_name": payment.creditor_name, "reference": payment.reference}
                row |= {"returned": bool(payment.returned_at)}
            rows.append(row)
        return JSONResponse({"instructions": rows})


def _orders(body: bytes) -> list[dict[str, Any]]:
    """The transfers of a request. :raises KeyError, TypeError, ValueError: not as the schema says"""
    document = json.loads(body, parse_float=_Decimal)
    orders = []
    for payment in document["paymentInstructions"]:
        if payment.get("paymentTypeCode", "SIP") != "SIP" or not _is_text(payment["debtor"]["address"], 1, 140):
            raise ValueError("paymentTypeCode or debtor")
        if not _is_id(payment["paymentInstructionIdentification"]):
            raise ValueError("paymentInstructionIdentification")
        for transfer in payment["creditTransfers"]:
            ids = transfer["paymentIdentification"]
            remittance = transfer["remittanceInformation"]["structured"]["creditorReferenceInformation"]
            if not all(_is_id(ids[name]) for name in ("instructionIdentification", "endToEndIdentification")):
                raise ValueError("paymentIdentification")
            if not _is_text(transfer["creditor"]["name"], 1, 140) or not _is_text(remittance["reference"], 0, 35):
                raise ValueError("creditor or reference")
            order = {
                "end_to_end_id": ids["endToEndIdentification"],
                "debtor": _identification(payment["debtorAccount"]),
                "creditor": _identification(transfer["creditorAccount"]),
                "creditor_name": transfer["creditor"]["name"],
                "amount_pence": _pence(transfer["amount"]["instructedAmount"]),
                "currency": transfer["amount"].get("currency", "GBP"),
                "reference": remittance["reference"][:18],
            }
            orders.append(order)
    if not 0 < len(document["paymentInstructions"]) <= 10 or not orders:
        raise ValueError("between one and ten instructions")
    return orders


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 35


def _is_text(value: Any, length_min: int, length_max: int) -> bool:
    """In the scheme's characters and of a fitting length."""
    charset = r"[a-zA-Z0-9/\-?:().,'+\s#=!\"%&*<>;{@]*"
    return isinstance(value, str) and length_min <= len(value) <= length_max and bool(re.fullmatch(charset, value))


def _identification(account: Mapping[str, Any]) -> str:
    other = account["identification"]["other"]["identification"]
    if not re.fullmatch(r"[0-9]{14}", other):
        raise ValueError("identification")
    return str(other)


def _pence(value: Any) -> int:
    match = _AMOUNT.fullmatch(str(value)) if type(value) in (int, _Decimal) else None
    if match is None:
        raise ValueError("instructedAmount")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def _account_key(wanted: Mapping[str, Any]) -> str:
    key = f"{wanted['sort_code']}{wanted['account_number']}"
    if not re.fullmatch(r"[0-9]{14}", key):
        raise ValueError("sort_code has six digits, account_number eight")
    return key


async def _admit(request: Request, token: Credential, status: int) -> None:
    given = request.headers.get("Authorization", "").encode()
    if not any(hmac.compare_digest(given, f"Bearer {good}".encode()) for good in await token.accepted()):
        raise _Refusal(status)


def _page(request: Request, rows: list[Any]) -> list[Any]:
    try:
        number, size = (int(request.query_params.get(name, d)) for name, d in (("pageNumber", 1), ("pageSize", 50)))
    except ValueError as error:
        raise _Refusal(400, "pageNumber and pageSize are numbers") from error
    return rows[max(0, number - 1) * size : max(1, number) * size]


def _sign(at: datetime, edge: datetime) -> int:
    return (at > edge) - (at < edge)


def _problem(status: int, title: str = "") -> Response:
    if not title:
        return Response(status_code=status)
    return JSONResponse({"type": "about:blank", "title": title, "status": status}, status_code=status)


def _error_body(status: int) -> dict[str, Any]:
    return {"type": "about:blank", "title": "Service error", "status": status}


def _end_to_end_id_of(method: str, path: str, _headers: Mapping[str, str], body: bytes) -> str | None:
    """How the client would recognise the request: the first transfer's end-to-end id."""
    if method != "POST" or path != "/v3/payments/fps":
        return None
    try:
        transfer = json.loads(body)["paymentInstructions"][0]["creditTransfers"][0]
        return str(transfer["paymentIdentification"]["endToEndIdentification"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
