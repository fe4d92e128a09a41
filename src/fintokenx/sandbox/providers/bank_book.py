"""The mock bank's book: accounts, payments and bookings, folded from a journal that survives ``kill -9``.

Every change is one line of JSON appended to the journal in one write; the state is what the lines add up to. Money
is integer pence throughout. A payment reserves its amount when it is accepted, and moves it once, when it settles.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fintokenx.kernel.clock import Clock, from_wire, to_wire

_IDS: Final = uuid.UUID("0d9a6b0e-7f0b-5b39-8a53-1f2b7c8d9e10")
REQUEST_ID_LIFE: Final = timedelta(hours=24)

SETTLE: Final = "settle"
HOLD: Final = "hold"
RETURN: Final = "return"


@dataclass(frozen=True, slots=True)
class Booking:
    """One line on an account. ``amount_pence`` is negative on the payer's side."""

    transaction_id: str
    amount_pence: int
    booked_at: str
    payment_id: str


@dataclass(slots=True)
class Account:
    """``reserved_pence`` is promised to payments that have not settled."""

    sort_code: str
    account_number: str
    name: str
    balance_pence: int
    passes_end_to_end: bool
    shows_transaction_ids: bool
    shows_references: bool = True
    shows_times: bool = True
    narration_length: int | None = None
    """Open Banking shows this much of a narration; None: all of it."""
    reserved_pence: int = 0
    bookings: list[Booking] = field(default_factory=list)
    oddities: list[dict[str, Any]] = field(default_factory=list)
    """Open Banking transactions shown as they were given, for what this book cannot produce: other currencies."""

    @property
    def key(self) -> str:
        return self.sort_code + self.account_number

    def as_json(self) -> dict[str, Any]:
        bookings = [
            {"transaction_id": line.transaction_id, "amount_pence": line.amount_pence, "booked_at": line.booked_at}
            | {"payment_id": line.payment_id}
            for line in self.bookings
        ]
        return {
            "sort_code": self.sort_code,
            "account_number": self.account_number,
            "name": self.name,
            "balance_pence": self.balance_pence,
            "available_pence": self.balance_pence - self.reserved_pence,
            "bookings": bookings,
        }


@dataclass(slots=True)
class Payment:
    """``status`` is ACCP (on its way), PDNG (held), ACSC (settled) or RJCT, then with ``code``."""

    payment_id: str
    channel: str
    end_to_end_id: str
    debtor: str
    creditor: str
    creditor_name: str
    amount_pence: int
    reference: str
    fate: str
    accepted_at: str
    due_at: str
    status: str = "ACCP"
    code: str = ""
    return_code: str = ""
    returned_at: str = ""

    def says_the_same_as(self, other: Payment) -> bool:
        """Whether the two are one payment told twice."""
        return (self.debtor, self.creditor, self.amount_pence) == (other.debtor, other.creditor, other.amount_pence)


class Book:
    """All accounts and payments. Not thread-safe: use from one event loop.

    ``clock`` gives the time of bookings; ``wall`` decides when a payment is due, so that settlement goes on while
    a sandbox's business clock stands still. Opening reads the journal and drops a torn last line.
    """

    def __init__(self, path: Path, clock: Clock, wall: Clock, settle_after_seconds: float) -> None:
        self._clock = clock
        self._wall = wall
        self._settle_after = timedelta(seconds=settle_after_seconds)
        self.accounts: dict[str, Account] = {}
        self.payments: dict[str, Payment] = {}
        self.deliveries: defaultdict[str, int] = defaultdict(int)
        self._by_end_to_end: dict[tuple[str, str], Payment] = {}
        self._of_account: defaultdict[str, list[Payment]] = defaultdict(list)
        self._on_the_way: dict[str, Payment] = {}
        self._request_ids: dict[str, str] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._journal = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._replay(path)

    def close(self) -> None:
        """Let go of the journal. Nothing is buffered, so nothing is lost without it."""
        with contextlib.suppress(OSError):
            os.close(self._journal)

    def open_account(
        self, sort_code: str, account_number: str, name: str, balance_pence: int, **habits: bool | int | None
    ) -> Account:
        """:raises ValueError: there is such an account, or the balance is not whole pence, zero or more"""
        if type(balance_pence) is not int or balance_pence < 0:
            raise ValueError("balance_pence must be a whole number, zero or more")
        if sort_code + account_number in self.accounts:
            raise ValueError("the account is open")
        self._record("account", sort_code=sort_code, account_number=account_number, name=name,
                     balance_pence=balance_pence, habits=habits)  # fmt: skip
        return self.accounts[sort_code + account_number]

    def show_oddity(self, key: str, transaction: dict[str, Any]) -> None:
        """:raises KeyError: no such account"""
        self._record("oddity", account=self.accounts[key].key, transaction=transaction)

    def change_habits(self, key: str, habits: dict[str, bool | int | None]) -> None:
        """How an account shows on Open Banking from now on, its earlier lines too. :raises KeyError: no such account"""
        self._record("habits", account=self.accounts[key].key, habits=habits)

    def adjust(self, key: str, amount_pence: int) -> None:
        """The balance changes and no line says why. :raises KeyError: no such account"""
        self._record("adjusted", account=self.accounts[key].key, amount_pence=amount_pence)

    def knows_request(self, request_id: str) -> bool:
        """Whether the id was used in the last 24 hours."""
        used_at = self._request_ids.get(request_id)
        return used_at is not None and self._wall.now() - from_wire(used_at) < REQUEST_ID_LIFE

    def earlier(self, channel: str, end_to_end_id: str) -> Payment | None:
        self.settle_due()
        return self._by_end_to_end.get((channel, end_to_end_id))

    def can_spend(self, key: str, amount_pence: int) -> bool:
        account = self.accounts[key]
        return account.balance_pence - account.reserved_pence >= amount_pence

    def draft(self, *, channel: str, end_to_end_id: str, debtor: str, creditor: str, creditor_name: str,
              amount_pence: int, reference: str, fate: str) -> Payment:  # fmt: skip
        """A payment that is not in the book yet; :meth:`accept` puts it there."""
        end_to_end_id = end_to_end_id or f"BANK-{len(self.payments) + 1:012d}"
        payment_id = str(uuid.uuid5(_IDS, f"{channel}|{debtor}|{end_to_end_id}|{len(self.payments)}"))
        due_at = to_wire(self._wall.now() + self._settle_after)
        return Payment(payment_id, channel, end_to_end_id, debtor, creditor, creditor_name, amount_pence,
                       reference, fate, to_wire(self._clock.now()), due_at)  # fmt: skip

    def accept(self, *, request_id: str, delivered: list[str], payments: list[Payment]) -> None:
        """Record one request with everything that it brings about, in one line: all of it survives or none."""
        self._record(
            "request",
            request_id=request_id,
            used_at=to_wire(self._wall.now()),
            delivered=delivered,
            payments=[_payment_as_json(payment) for payment in payments],
        )

    def send_back(self, payment: Payment, code: str) -> None:
        """The payee's bank returns a settled payment. :raises ValueError: not settled, or returned before"""
        self.settle_due()
        if payment.status != "ACSC" or payment.returned_at:
            raise ValueError("only a settled payment can be returned, once")
        self._record("returned", payment_id=payment.payment_id, code=code, at=to_wire(self._clock.now()))

    def of_account(self, key: str) -> list[Payment]:
        """Payments that leave or reach the account, oldest first."""
        self.settle_due()
        return self._of_account[key]

    def debits_booked(self, channel: str) -> Counter[str]:
        """How often money left a payer's account, by end-to-end id: counted on the accounts, not on the payments."""
        lines = ((account, self.payments[line.payment_id], line) for account in self.accounts.values()
                 for line in account.bookings)  # fmt: skip
        return Counter(
            payment.end_to_end_id
            for account, payment, line in lines
            if payment.channel == channel and payment.debtor == account.key and line.amount_pence < 0
        )

    def settle_due(self) -> None:
        """Do what time has brought about. Called before anything is read, so no background work is needed."""
        now = to_wire(self._wall.now())
        for payment in [waiting for waiting in self._on_the_way.values() if waiting.due_at <= now]:
            self._meet_fate(payment)

    def _meet_fate(self, payment: Payment) -> None:
        at = to_wire(self._clock.now())
        if payment.fate == HOLD:
            self._record("held", payment_id=payment.payment_id)
        elif payment.fate not in (SETTLE, RETURN):
            self._record("rejected", payment_id=payment.payment_id, code=payment.fate)
        elif payment.fate == SETTLE and payment.creditor not in self.accounts:
            self._record("rejected", payment_id=payment.payment_id, code="AC03")
        else:
            self._record("settled", payment_id=payment.payment_id, at=at)
            if payment.fate == RETURN:
                self._record("returned", payment_id=payment.payment_id, code="AC04", at=at)

    def _record(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}, separators=(",", ":")).encode() + b"\n"
        if os.write(self._journal, line) != len(line):
            raise OSError("the journal took only a part of the line")
        self._apply(event, fields)

    def _replay(self, path: Path) -> None:
        whole, newline, _torn = path.read_bytes().rpartition(b"\n")
        os.ftruncate(self._journal, len(whole) + len(newline))
        for line in whole.splitlines():
            fields = json.loads(line)
            self._apply(fields.pop("event"), fields)

    def _apply(self, event: str, fields: dict[str, Any]) -> None:
        match event:
            case "account":
                habits = {"passes_end_to_end": True, "shows_transaction_ids": True} | fields["habits"]
                account = Account(
                    fields["sort_code"], fields["account_number"], fields["name"], fields["balance_pence"], **habits
                )
                self.accounts[account.key] = account
            case "habits":
                for name, value in fields["habits"].items():
                    setattr(self.accounts[fields["account"]], name, value)
            case "adjusted":
                self.accounts[fields["account"]].balance_pence += fields["amount_pence"]
            case "oddity":
                self.accounts[fields["account"]].oddities.append(fields["transaction"])
            case "request":
                self._apply_request(fields)
            case "held":
                self._on_the_way.pop(fields["payment_id"]).status = "PDNG"
            case "rejected":
                payment = self._on_the_way.pop(fields["payment_id"])
                payment.status, payment.code = "RJCT", fields["code"]
                self.accounts[payment.debtor].reserved_pence -= payment.amount_pence
            case "settled":
                self._apply_settlement(self._on_the_way.pop(fields["payment_id"]), fields["at"])
            case "returned":
                payment = self.payments[fields["payment_id"]]
                payment.return_code, payment.returned_at = fields["code"], fields["at"]
                self._book(payment.creditor, payment, -payment.amount_pence, fields["at"], "return-debit")
                self._book(payment.debtor, payment, payment.amount_pence, fields["at"], "return-credit")

    def _apply_request(self, fields: dict[str, Any]) -> None:
        if fields["request_id"]:
            self._request_ids[fields["request_id"]] = fields["used_at"]
        for end_to_end_id in fields["delivered"]:
            self.deliveries[end_to_end_id] += 1
        for members in fields["payments"]:
            payment = Payment(**members)
            self.payments[payment.payment_id] = payment
            self._by_end_to_end[payment.channel, payment.end_to_end_id] = payment
            self._on_the_way[payment.payment_id] = payment
            for key in (payment.debtor, payment.creditor):
                self._of_account[key].append(payment)
            self.accounts[payment.debtor].reserved_pence += payment.amount_pence

    def _apply_settlement(self, payment: Payment, at: str) -> None:
        payment.status = "ACSC"
        self.accounts[payment.debtor].reserved_pence -= payment.amount_pence
        self._book(payment.debtor, payment, -payment.amount_pence, at, "debit")
        self._book(payment.creditor, payment, payment.amount_pence, at, "credit")

    def _book(self, key: str, payment: Payment, amount_pence: int, at: str, side: str) -> None:
        account = self.accounts.get(key)
        if account is None:
            return
        transaction_id = uuid.uuid5(_IDS, f"{payment.payment_id}|{side}").hex
        account.balance_pence += amount_pence
        account.bookings.append(Booking(transaction_id, amount_pence, at, payment.payment_id))


def _payment_as_json(payment: Payment) -> dict[str, Any]:
    names = ("payment_id", "channel", "end_to_end_id", "debtor", "creditor", "creditor_name", "amount_pence",
             "reference", "fate", "accepted_at", "due_at")  # fmt: skip
    return {name: getattr(payment, name) for name in names}


def account_id(surface: str, key: str) -> str:
    """The bank's id of an account on one of its surfaces; stable, and different on each."""
    return str(uuid.uuid5(_IDS, f"{surface}|{key}"))


def instant(text: str) -> datetime:
    """A query's timestamp, which "must not include the timezone" and means UTC. :raises ValueError: anything else"""
    at = datetime.fromisoformat(text)
    if at.tzinfo is not None:
        raise ValueError("a query's timestamp has no zone")
    return at.replace(tzinfo=UTC)
