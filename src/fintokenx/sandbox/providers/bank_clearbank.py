"""The mock bank's ClearBank surface: Faster Payments v3 and accounts v2, as strict as its published rules.

``POST /v3/payments/fps``, ``GET /v2/Accounts``, ``GET /v2/Accounts/{id}/Transactions``. It adds one member to the
documented transaction, ``cancellationCode``: the real bank tells it by the TransactionRejected webhook. A request id is
used up by any request that is well formed and well signed, whatever the bank then says to it.
Refused: another content type (415), no request id or one of more than 83 characters (400), a signature that does not
verify over the very bytes (400), a body that is not as the schema says (422, which member), a page or a parameter that
makes no sense (400), a wrong token and an account that the token does not reach (403).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fintokenx.sandbox.providers.bank_answers import Refusal, admit, content_type, problem
from fintokenx.sandbox.providers.bank_book import HOLD, RETURN, SETTLE, Account, Book, Payment, account_id
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.modes import Modes

FATE_OF_ACCOUNT_NUMBER: Final = {"00000007": "AC07", "00000003": "MS03", "00000009": HOLD, "00000005": RETURN}
FATE_OF_PENCE: Final = {131307: "AC07", 131303: "MS03", 131309: HOLD, 131305: RETURN}
SCHEME_LIMIT_PENCE: Final = 100_000_000

OWN_MODES: Final = {
    "unknown_verdict": "ClearBank's transactions carry a status that no documentation names",
    "late_read_model": "ClearBank's lists of transactions are empty",
    "wrong_amount": "ClearBank's lists show a penny more than was paid",
}
REQUEST_ID_LENGTH_MAX: Final = 83
_PER_REQUEST_MAX: Final = 10
_PAGE_SIZE_MAX: Final = 1_000
_AMOUNT: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,2})0*)?", re.ASCII)


class _Decimal(str):
    """A JSON number as it was written."""

    __slots__ = ()


class ClearBank:
    """The surface over one book; ``fates`` are those of the next payments."""

    def __init__(self, book: Book, modes: Modes, token: Credential, key: RSAPublicKey, fates: deque[str]) -> None:
        self._book = book
        self._modes = modes
        self._token = token
        self._key = key
        self._fates = fates

    def routes(self) -> list[Route]:
        """Where it is found."""
        return [
            Route("/v3/payments/fps", self._pay, methods=["POST"]),
            Route("/v2/Accounts", self._accounts, methods=["GET"]),
            Route("/v2/Accounts/{account_id}/Transactions", self._transactions, methods=["GET"]),
        ]

    async def _pay(self, request: Request) -> Response:
        body = await request.body()
        await admit(request, self._token, 403)
        if content_type(request.headers, "Content-Type") != "application/json":
            raise Refusal(problem(415, "Unsupported Media Type"))
        request_id = request.headers.get("X-Request-Id", "").strip()
        if not request_id:
            raise Refusal(problem(400, "Missing X-Request-Id Header"))
        if len(request_id) > REQUEST_ID_LENGTH_MAX:
            raise Refusal(problem(400, "X-Request-Id Header is longer than 83 characters"))
        self._verify(request.headers.get("DigitalSignature", ""), body)
        try:
            orders = _orders(body)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            named = error.args[0] if error.args and isinstance(error, KeyError | ValueError) else "the body"
            raise Refusal(problem(422, "The request is not valid", detail=str(named))) from error
        delivered = [order["end_to_end_id"] for order in orders]
        if self._book.knows_request(request_id):
            self._book.accept(request_id="", delivered=delivered, payments=[])
            raise Refusal(Response(status_code=409))
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

    async def _accounts(self, request: Request) -> Response:
        await admit(request, self._token, 403)
        _must_only_ask(request, *_PAGING)
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

    async def _transactions(self, request: Request) -> Response:
        await admit(request, self._token, 403)
        _must_only_ask(request, *_PAGING, "endToEndIdentifier")
        wanted = request.path_params["account_id"]
        account = next((a for a in self._book.accounts.values() if account_id("clearbank", a.key) == wanted), None)
        if account is None:
            raise Refusal(Response(status_code=403))
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

    def _verify(self, signature: str, body: bytes) -> None:
        try:
            self._key.verify(base64.b64decode(signature, validate=True), body, padding.PKCS1v15(), SHA256())
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise Refusal(problem(400, "Invalid DigitalSignature Header")) from error


def _orders(body: bytes) -> list[dict[str, Any]]:
    """The transfers of a request. :raises KeyError, TypeError, ValueError: not as the schema says"""
    document = json.loads(body, parse_float=_Decimal, parse_constant=_no_constant)
    orders = []
    for payment in _some(document["paymentInstructions"], "paymentInstructions"):
        if payment.get("paymentTypeCode", "SIP") != "SIP" or not _is_text(payment["debtor"]["address"], 1, 140):
            raise ValueError("paymentTypeCode or debtor")
        if not _is_id(payment["paymentInstructionIdentification"]):
            raise ValueError("paymentInstructionIdentification")
        for transfer in _some(payment["creditTransfers"], "creditTransfers"):
            ids = transfer["paymentIdentification"]
            remittance = transfer["remittanceInformation"]["structured"]["creditorReferenceInformation"]
            if not all(_is_id(ids[name]) for name in ("instructionIdentification", "endToEndIdentification")):
                raise ValueError("paymentIdentification")
            if type(transfer.get("enforceSendToScheme", False)) is not bool:
                raise ValueError("enforceSendToScheme")
            if not _is_text(transfer["creditor"]["name"], 1, 140) or not _is_text(remittance["reference"], 0, 35):
                raise ValueError("creditor or reference")
            order = {
                "end_to_end_id": ids["endToEndIdentification"],
                "debtor": _identification(payment["debtorAccount"]),
                "creditor": _identification(transfer["creditorAccount"]),
                "creditor_name": transfer["creditor"]["name"],
                "amount_pence": _pence(transfer["amount"]["instructedAmount"]),
                "currency": _currency(transfer["amount"]["currency"]),
                "reference": remittance["reference"][:18],
            }
            orders.append(order)
    return orders


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 35


def _is_text(value: Any, length_min: int, length_max: int) -> bool:
    """In the scheme's characters and of a fitting length."""
    charset = r"[a-zA-Z0-9/\-?:().,'+\s#=!\"%&*<>;{@]*"
    return isinstance(value, str) and length_min <= len(value) <= length_max and bool(re.fullmatch(charset, value))


def _some(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= _PER_REQUEST_MAX:
        raise ValueError(f"{name}: between one and ten")
    return value


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError("currency")
    return value


def _identification(account: Mapping[str, Any]) -> str:
    """Sort code and account number. The surface takes no IBAN: this bank's accounts are domestic."""
    identification = account["identification"]
    if identification.get("iban") is not None:
        raise ValueError("identification: this bank wants other, not iban")
    other, scheme = identification["other"]["identification"], identification["other"]["schemeName"]
    if (scheme.get("code") is None) == (scheme.get("proprietary") is None):
        raise ValueError("schemeName: code or proprietary")
    if scheme.get("code") not in (None, "BBAN", "CUID", "UPIC"):
        raise ValueError("schemeName.code")
    if not isinstance(other, str) or not re.fullmatch(r"[0-9]{14}", other):
        raise ValueError("identification")
    return other


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _pence(value: Any) -> int:
    match = _AMOUNT.fullmatch(str(value)) if type(value) in (int, _Decimal) else None
    if match is None:
        raise ValueError("instructedAmount")
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


_PAGING: Final = ("pageNumber", "pageSize")


def _must_only_ask(request: Request, *parameters: str) -> None:
    """A filter that is not served here must not look as if it had been."""
    for name in request.query_params:
        if name not in parameters or len(request.query_params.getlist(name)) > 1:
            raise Refusal(problem(400, f"{name} is not a parameter that is served"))


def _page(request: Request, rows: list[Any]) -> list[Any]:
    texts = request.query_params.get("pageNumber", "1"), request.query_params.get("pageSize", "50")
    if not all(re.fullmatch(r"[1-9][0-9]{0,5}", text) for text in texts) or int(texts[1]) > _PAGE_SIZE_MAX:
        raise Refusal(problem(400, "pageNumber and pageSize are whole numbers from one, a page has 1,000 at most"))
    number, size = (int(text) for text in texts)
    return rows[(number - 1) * size : number * size]


def end_to_end_id_of(method: str, path: str, _headers: Mapping[str, str], body: bytes) -> str | None:
    """How the client would recognise the request: the first transfer's end-to-end id."""
    if method != "POST" or path != "/v3/payments/fps":
        return None
    try:
        transfer = json.loads(body)["paymentInstructions"][0]["creditTransfers"][0]
        return str(transfer["paymentIdentification"]["endToEndIdentification"])
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
