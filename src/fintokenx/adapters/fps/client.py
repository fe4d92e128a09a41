"""A ClearBank client: sends one Faster Payment at a time and finds out what became of it.

Two things keep a payment single (P-15). ``X-Request-Id`` is a function of ``end_to_end_id`` alone, so every
retry carries the id of the first try and the bank answers 409 instead of paying; and the bank itself uses
``endToEndIdentification`` as a duplicate check that outlives the 24 hours of the request id. Hence a payment
that was rejected stays rejected under its ``end_to_end_id``: a further try is a new instruction with a new one.
"""

from __future__ import annotations

import base64
import re
import ssl
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from fintokenx.adapters.fps.wire import in_scheme_charset, number_from_pence, pence_from_number, read_json, write_json
from fintokenx.adapters.outbound import Access, CallGuard, Failure, HttpExchange, Received, RetryPolicy
from fintokenx.kernel.credentials import Credential
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle.settlement.ports import BankAccount, PaymentInstruction, PaymentOutcome, PaymentState

SYSTEM: Final = "clearbank"
_REQUEST_IDS: Final = uuid.UUID("6b8f2b8e-0d0c-5c86-9a53-5e5d35b1a6f4")
_PAGE_SIZE: Final = 50
_ACCOUNT_PAGES_MAX: Final = 100

_STATE_OF_STATUS: Final = {
    "ACSC": PaymentState.SETTLED,
    "ACCC": PaymentState.SETTLED,
    "RJCT": PaymentState.REJECTED,
}
"""ISO 20022 transaction status. The other documented words (ACCP, ACSP, ACTC, ACWC, PART, PDNG, RCVD) and every
word that is not documented mean that the payment is not over."""

_RETRIABLE_CODES: Final = frozenset({"BE08", "MS03"})
"""ClearBank's table of reject codes says "retry" for these two; all others need a person first (SE-09)."""

_REFUSALS: Final = {
    "InsufficientFunds": True,
    "InvalidAccount": False,
    "InvalidCurrency": False,
    "Rejected": False,
    "DebitPaymentDisabled": False,
    "InvalidInstructionIdentification": False,
}
"""Words of a synchronous refusal, and whether a later try can succeed without anybody mending anything."""


@dataclass(frozen=True, slots=True)
class _Transaction:
    """One row of ``/v2/Accounts/{id}/Transactions``, as far as it matters here."""

    transaction_id: str
    is_debit: bool
    amount: Pence
    status: str
    at: str
    counterpart: str
    """Sort code and account number in one, empty when not shown."""
    code: str


class _AccountNotHeld(Unavailable):
    """The bank answers well, but has no such account under this token."""

    def __init__(self) -> None:
        super().__init__(SYSTEM, "the debtor's account is not held here", outcome_unknown=True)


class ClearBankClient:
    """Settlement's ``FasterPayments`` over ClearBank's API (FPS v3, accounts v2).

    ``sign`` returns the raw RSA PKCS#1 v1.5 SHA-256 signature of the bytes it is given; the key stays in the vault.
    ``debtor_address`` is ours, as the scheme wants it (at most 140 characters). ``timeout_seconds`` bounds each
    request as a whole; ``tls`` stands in for the usual trust. Methods return an outcome or raise ``Unavailable``,
    whose ``outcome_unknown`` speaks of *this* call only: False after an earlier True does not make the earlier one
    harmless.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: Credential,
        sign: Callable[[bytes], Awaitable[bytes]],
        debtor_address: str,
        guard: CallGuard,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sign = sign
        self._token = token
        self._debtor_address = re.sub(r"[^a-zA-Z0-9/\-?:().,'+ ]", " ", debtor_address)[:140]
        self._account_ids: dict[str, str] = {}
        # Tried once: what a further try may do is settlement's to decide, which looks the payment up before.
        policy = RetryPolicy(attempts_max=1, attempt_seconds_max=timeout_seconds)
        timeouts = httpx.Timeout(timeout_seconds)
        self._http = HttpExchange(SYSTEM, base_url, guard=guard, policy=policy, timeouts=timeouts, tls=tls)

    @classmethod
    def open(cls, access: Access, *, debtor_address: str) -> Self:
        """The platform's client. Credentials: token."""
        (token,) = access.credentials
        return cls(
            base_url=access.url, token=token, sign=access.sign, debtor_address=debtor_address, guard=access.guard
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, instruction: PaymentInstruction) -> PaymentOutcome:
        """Hand the instruction to the bank; PENDING is the ordinary answer (settlement follows in seconds).

        REJECTED with ``INVALID_INSTRUCTION`` means that nothing was sent: no creditor name, a malformed account,
        a zero amount or an ``end_to_end_id`` that does not fit.
        """
        if not _is_sendable(instruction):
            return PaymentOutcome(PaymentState.REJECTED, "", "INVALID_INSTRUCTION")
        body = write_json(self._payment(instruction)).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-Request-Id": str(uuid.uuid5(_REQUEST_IDS, instruction.end_to_end_id)),
            "DigitalSignature": base64.b64encode(await self._signature(body)).decode(),
        }

        word = await self._http.send(
            "POST", "/v3/payments/fps", authenticate=self._authorised, judge=_said_of(instruction.end_to_end_id),
            repeatable=False, headers=headers, content=body,
        )  # fmt: skip
        if word is None:
            return await self._already_received(instruction)
        return await self._concluded(instruction, word)

    async def look_up(self, debtor: BankAccount, end_to_end_id: str) -> PaymentOutcome | None:
        """What became of the instruction; None only when the bank lists no such payment for this account.

        The bank's read model runs some seconds behind its answers, so None soon after ``submit`` proves nothing;
        sending the same instruction again is safe all the same.
        """
        return _outcome(await self._transactions(debtor, end_to_end_id))

    async def _concluded(self, instruction: PaymentInstruction, word: str) -> PaymentOutcome:
        """Turn the word of the synchronous answer into an outcome."""
        if word not in _REFUSALS:
            return PaymentOutcome(PaymentState.PENDING, "")
        # A repeat of a payment that was made may be refused as a duplicate: refused is not yet unpaid.
        try:
            earlier = await self._outcome_of(instruction)
        except _AccountNotHeld:
            earlier = None
        return earlier or PaymentOutcome(PaymentState.REJECTED, "", word, _REFUSALS[word])

    async def _already_received(self, instruction: PaymentInstruction) -> PaymentOutcome:
        outcome = await self._outcome_of(instruction)
        if outcome is None:
            raise Unavailable(SYSTEM, "received before, but not to be seen yet")
        return outcome

    async def _outcome_of(self, instruction: PaymentInstruction) -> PaymentOutcome | None:
        """As :meth:`look_up`, and what the bank shows must be the payment that was asked for."""
        transactions = await self._transactions(instruction.debtor, instruction.end_to_end_id)
        payee = instruction.creditor.sort_code + instruction.creditor.account_number
        for transaction in transactions:
            if transaction.amount != instruction.amount:
                raise Unavailable(SYSTEM, "the bank shows another amount under this end-to-end id")
            if transaction.is_debit and transaction.counterpart not in ("", payee):
                raise Unavailable(SYSTEM, "the bank shows another payee under this end-to-end id")
        return _outcome(transactions)

    async def _transactions(self, debtor: BankAccount, end_to_end_id: str) -> list[_Transaction]:
        account_id = await self._account_id(debtor)
        query = {"endToEndIdentifier": end_to_end_id, "pageNumber": "1", "pageSize": str(_PAGE_SIZE)}
        document = await self._read(f"/v2/Accounts/{account_id}/Transactions", query)
        try:
            rows = document["transactions"]
            if len(rows) >= _PAGE_SIZE or any(row["endToEndIdentifier"] != end_to_end_id for row in rows):
                raise Unavailable(SYSTEM, "the bank did not filter by end-to-end id")
            return [_transaction(row) for row in rows]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unavailable(SYSTEM, "the list of transactions is malformed") from error

    async def _account_id(self, account: BankAccount) -> str:
        """The bank's id of the account. Ids never change, so they are asked for once."""
        key = account.sort_code + account.account_number
        if key not in self._account_ids:
            await self._learn_account_ids()
        if key not in self._account_ids:
            raise _AccountNotHeld
        return self._account_ids[key]

    async def _learn_account_ids(self) -> None:
        for page_number in range(1, _ACCOUNT_PAGES_MAX + 1):
            query = {"pageNumber": str(page_number), "pageSize": str(_PAGE_SIZE)}
            document = await self._read("/v2/Accounts", query)
            try:
                accounts = document["accounts"]
                # A UK BBAN is the four letters of the bank, the sort code and the account number.
                found = {str(account["bban"])[-14:]: str(uuid.UUID(account["id"])) for account in accounts}
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise Unavailable(SYSTEM, "the list of accounts is malformed") from error
            self._account_ids.update(found)
            if len(accounts) < _PAGE_SIZE:
                return
        raise Unavailable(SYSTEM, "the list of accounts does not end")

    async def _read(self, path: str, query: dict[str, str]) -> Any:
        """:raises Unavailable: always with an unknown outcome. What could not be read, or was not even asked for, says
        nothing of the payment that it was to tell of."""
        try:
            return await self._http.send(
                "GET", path, authenticate=self._authorised, judge=_document, repeatable=True, params=query
            )
        except Unavailable as lost:
            raise Unavailable(lost.system, lost.detail) from lost

    async def _authorised(self, _request: httpx.Request) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self._token.value()}", "Accept": "application/json"}

    async def _signature(self, body: bytes) -> bytes:
        try:
            return await self._sign(body)
        except Unavailable:
            raise
        except Exception as error:
            raise Unavailable(SYSTEM, "the request could not be signed", outcome_unknown=False) from error

    def _payment(self, instruction: PaymentInstruction) -> dict[str, Any]:
        reference = in_scheme_charset(instruction.reference, length_max=18)
        transfer = {
            "paymentIdentification": {
                "instructionIdentification": instruction.end_to_end_id,
                "endToEndIdentification": instruction.end_to_end_id,
            },
            "amount": {"instructedAmount": number_from_pence(instruction.amount), "currency": "GBP"},
            "creditor": {"name": in_scheme_charset(instruction.creditor.name, length_max=140)},
            "creditorAccount": _account_identification(instruction.creditor),
            "remittanceInformation": {"structured": {"creditorReferenceInformation": {"reference": reference}}},
            "enforceSendToScheme": False,
        }
        payment = {
            "paymentInstructionIdentification": instruction.end_to_end_id,
            "paymentTypeCode": "SIP",
            "debtor": {"address": self._debtor_address},
            "debtorAccount": _account_identification(instruction.debtor),
            "creditTransfers": [transfer],
        }
        return {"paymentInstructions": [payment]}


def _is_sendable(instruction: PaymentInstruction) -> bool:
    accounts = (instruction.debtor, instruction.creditor)
    return (
        re.fullmatch(r"[!-~]{1,35}", instruction.end_to_end_id) is not None
        and instruction.amount > ZERO
        and all(re.fullmatch(r"[0-9]{14}", account.sort_code + account.account_number) for account in accounts)
        and all(len(account.sort_code) == 6 for account in accounts)
        and bool(in_scheme_charset(instruction.creditor.name, length_max=140))
    )


def _account_identification(account: BankAccount) -> dict[str, Any]:
    return {
        "identification": {
            "iban": None,
            "other": {
                "identification": account.sort_code + account.account_number,
                "schemeName": {"code": None, "proprietary": "PRTY_COUNTRY_SPECIFIC"},
                "issuer": "VocaLink",
            },
        }
    }


def _said_of(end_to_end_id: str) -> Callable[[Received], str | Failure | None]:
    """Judges the answer to a submission: the bank's word for this payment, None where it was received before (409)."""

    def judge(received: Received) -> str | Failure | None:
        if received.status == 409:
            return None
        word = _word(received, end_to_end_id) if received.status in (200, 202, 400) else ""
        if word:
            return word
        if received.status in (200, 202):
            return Failure("the answer does not speak of this payment")
        return _no_answer(received)

    return judge


def _no_answer(received: Received) -> Failure:
    """A 4xx is known to have had no effect, but for 408: there the bank gave up in the middle."""
    status = received.status
    return Failure(f"HTTP {status}", outcome_unknown=not 400 <= status < 500 or status == 408)


def _document(received: Received) -> Any:
    if received.status != 200:
        return _no_answer(received)
    try:
        return read_json(received.content)
    except ValueError:
        return Failure("the answer is not JSON")


def _word(received: Received, end_to_end_id: str) -> str:
    """The bank's word for this payment; empty when the body holds none."""
    try:
        rows = read_json(received.content)["transactions"]
        words = [row["response"] for row in rows if row["endToEndIdentification"] == end_to_end_id]
    except (KeyError, TypeError, ValueError):
        return ""
    return words[0] if len(words) == 1 and isinstance(words[0], str) else ""


def _transaction(row: Any) -> _Transaction:
    """:raises KeyError, TypeError, ValueError: a row that cannot be trusted"""
    if row["amount"]["currency"] != "GBP" or row["debitCreditCode"] not in ("DBIT", "CRDT"):
        raise ValueError("not a sterling payment in a known direction")
    counterpart = (row.get("counterpartAccount") or {}).get("identification") or {}
    return _Transaction(
        transaction_id=str(row["transactionId"]),
        is_debit=row["debitCreditCode"] == "DBIT",
        amount=pence_from_number(row["amount"]["instructedAmount"]),
        status=str(row["status"]),
        at=str(row["transactionTime"]),
        counterpart=f"{counterpart.get('sortCode') or ''}{counterpart.get('accountNumber') or ''}",
        code=str(row.get("cancellationCode") or ""),
    )


def _outcome(transactions: list[_Transaction]) -> PaymentOutcome | None:
    """Fold the rows of one end-to-end id into one outcome.

    A payment that the payee's bank sent back shows as a settled credit beside the settled debit.
    ``cancellationCode`` is the name of the TransactionRejected webhook; where the list does not carry it the
    reason is unknown and the reject is not retriable.
    """
    if not transactions:
        return None
    debits = [transaction for transaction in transactions if transaction.is_debit]
    credits_back = [row for row in transactions if not row.is_debit and _state(row) is PaymentState.SETTLED]
    alive = [debit for debit in debits if _state(debit) is not PaymentState.REJECTED]
    if not debits or len(alive) > 1 or len(credits_back) > 1:
        raise Unavailable(SYSTEM, "the bank shows something else than one payment under this end-to-end id")
    if not alive:
        last = max(debits, key=lambda debit: debit.at)
        return PaymentOutcome(PaymentState.REJECTED, last.transaction_id, last.code, last.code in _RETRIABLE_CODES)
    payment, state = alive[0], _state(alive[0])
    if credits_back and (state is not PaymentState.SETTLED or credits_back[0].amount != payment.amount):
        raise Unavailable(SYSTEM, "the bank shows a return that does not fit the payment")
    if credits_back:
        return PaymentOutcome(PaymentState.RETURNED, payment.transaction_id, credits_back[0].code)
    return PaymentOutcome(state, payment.transaction_id)


def _state(transaction: _Transaction) -> PaymentState:
    return _STATE_OF_STATUS.get(transaction.status, PaymentState.PENDING)
