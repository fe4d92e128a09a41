"""The failure matrix: what the platform does while an outside system fails, and what becomes of it afterwards.

The tests walk this table on a running system; docs/failures.md is printed from it by
``python -m tests.failures.matrix``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "failures.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to fail at one moment. ``provider``: as app/providers.py names it, or a part of ours.

    ``states``: where the thing concerned may rest while it lasts. ``alert``: the cause of the alert that is raised.
    ``how``: what the mode's switch takes beside its name. The texts are for people.
    """

    provider: str
    mode: str
    moment: str
    states: tuple[str, ...]
    meanwhile: str
    afterwards: str
    alert: str = ""
    how: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """As pytest shows it."""
        return f"{self.provider}-{self.mode}-{self.moment}".replace(" ", "_")


_HELD: Final = "the gate is HELD, no review is opened"
_RUNNING: Final = "the gate stays RUNNING, no review is opened"
_ONE_APPLICANT: Final = "the gate clears; one applicant per party at the vendor"
_ONE_SEARCH: Final = "the gate clears; no search is made twice under one reference"
_BEYOND_PATIENCE: Final = {"seconds": 14}
"""Our clients wait ten seconds."""

SUMSUB: Final = (
    *(
        Row("sumsub", mode, "gate 1", ("HELD",), _HELD, _ONE_APPLICANT, "GATE1_HELD", how)
        for mode, how in (
            ("down", {}),
            ("timeout", _BEYOND_PATIENCE),
            ("5xx", {}),
            ("malformed", {}),
            ("lost_response", {}),
        )
    ),
    Row(
        "sumsub", "slow", "gate 1", ("CLEAR",), "asked again after ten seconds; what arrived meanwhile is found",
        _ONE_APPLICANT, how={**_BEYOND_PATIENCE, "times": 1, "only": "POST /resources/applicants"},
    ),
    Row("sumsub", "unknown_verdict", "gate 1", ("RUNNING",), _RUNNING, _ONE_APPLICANT, "KYC_DELAY"),
    Row("sumsub", "late_verdict", "gate 1", ("RUNNING",), _RUNNING, _ONE_APPLICANT, "KYC_DELAY"),
    Row(
        "sumsub", "late_webhook", "gate 1", ("CLEAR",), "the verdict is read from the vendor without it",
        "the late webhook changes nothing",
    ),
    Row(
        "sumsub", "duplicate_webhook", "gate 1", ("CLEAR",), "the second delivery changes nothing",
        "one applicant per party, one verdict",
    ),
)  # fmt: skip

COMPLYADVANTAGE: Final = (
    *(
        Row("complyadvantage", mode, "gate 2", ("HELD",), _HELD, _ONE_SEARCH, "GATE2_HELD", how)
        for mode, how in (("down", {}), ("timeout", _BEYOND_PATIENCE), ("5xx", {}), ("malformed", {}))
    ),
    Row("complyadvantage", "unknown_verdict", "gate 2", ("RUNNING",), _RUNNING, _ONE_SEARCH, "KYC_DELAY"),
)

ONBOARDING: Final = SUMSUB + COMPLYADVANTAGE

_PAY: Final = {"only": "POST /v3/payments/fps"}
"""The whole bank but its statements: a buyer's money must be seen before it can be passed on."""
_SENT: Final = "it stays sent, and is looked up before it is sent again"
_FOUND: Final = "the bank has it: it stays sent until the look-up finds it"
_NOT_PROCESSED: Final = {"down": {}, "timeout": _BEYOND_PATIENCE, "5xx": {}, "rate_limited": {"seconds": 1}}
_PROCESSED: Final[dict[str, dict[str, Any]]] = {"malformed": {}, "lost_response": {}}
_ONCE: Final = "made once, under one end-to-end id"
_AFTER_LEG: Final = {
    "lender's payment": ("FIAT_SENT", "FIAT_FINAL"),
    "payout": ("SELLER_PAYOUT_SENT", "CLOSED"),
    "onward payment": ("SETTLING", "SETTLED"),
}
"""Where disbursement or invoice rest while the bank has not spoken, and once it has."""

BANK: Final = tuple(
    Row(
        "bank", mode, leg, (waiting, ended) if mode in _PROCESSED else (waiting,),
        _FOUND if mode in _PROCESSED else _SENT, _ONCE, how={**how, **(_PAY if leg == "onward payment" else {})},
    )
    for mode, how in (_NOT_PROCESSED | _PROCESSED).items()
    for leg, (waiting, ended) in _AFTER_LEG.items()
)  # fmt: skip

REJECTS: Final = (
    Row(
        "bank", "reject, retriable", "lender's payment", ("FIAT_RETRY",), "nothing is paid; tried again after a minute",
        "made once, under a fresh end-to-end id",
    ),
    Row(
        "bank", "reject, retriable", "payout", ("TOKEN_MOVED",), "nothing is paid; tried again after a minute",
        "made once, under a fresh end-to-end id",
    ),
    Row(
        "bank", "reject, retriable", "onward payment", ("SETTLING",), "nothing is paid; tried again after a minute",
        "made once, under a fresh end-to-end id",
    ),
    Row(
        "bank", "reject, terminal", "lender's payment", ("CANCELLED",), "nothing is paid; the commitment is cancelled",
        "the listing is open again, to the same lender too",
    ),
    Row(
        "bank", "reject, terminal", "payout", ("OPS_ESCALATED",), "the advance stays with us, owed to the seller",
        "a person decides",
    ),
)  # fmt: skip

STATEMENTS: Final = (
    Row(
        "open_banking", "down", "seller's credit", ("SELLER_PAYOUT_SENT",),
        "the disbursement is not closed; after four hours somebody is told", "closed when the bank shows the credit",
    ),
    Row(
        "open_banking", "down", "buyer's payment", ("FUNDED",), "the credit is not seen",
        "booked once and passed on once",
    ),
)  # fmt: skip

MAIL: Final = tuple(
    Row(
        "mail", mode, "buyer's mail", ("AWAITING_BUYER",),
        f"{said}; tried again later, with a fresh link each time; after three minutes somebody is told (MAIL_DELAYED)",
        "recorded as sent once; only the newest link works, once",
    )
    for mode, said in (
        ("smtp_down", "the relay hangs up"),
        ("smtp_silent", "the relay falls silent"),
        ("smtp_defer", "the recipient is deferred"),
        ("smtp_lost_response", "the relay has it and hangs up"),
    )
)  # fmt: skip

REFUSED_MAIL: Final = tuple(
    Row(
        "mail", mode, "buyer's mail", ("AWAITING_BUYER",), f"{said} for good: the mail ends and is not tried again",
        "an administrator confirms for the buyer, or the seller withdraws", "MAIL_UNDELIVERABLE",
    )
    for mode, said in (("smtp_refuse", "the recipient is refused"), ("smtp_reject_data", "the content is refused"))
)  # fmt: skip

CHAIN: Final = tuple(
    Row(
        "chain", mode, "mint", ("PENDING_MINT",), f"{said}; confirmed invoices wait as PENDING_MINT",
        "all minted, one mint each", alert,
    )
    for mode, said, alert in (
        ("paused", "no blocks for ten seconds: no purchase begins", "CHAIN_HALTED"),
        ("stopped", "nobody listens", ""),
        ("frozen", "the node does not answer", ""),
    )
)  # fmt: skip

OURS: Final = (
    Row(
        "vault", "down", "payment and confirmation", ("FIAT_SENT",),
        "nothing is signed or fetched: payments are not sent, mints and anchors wait, webhooks and new subjects get "
        "503; a platform that starts now ends; reads are served, /readyz says so",
        "everything goes on, each payment and mint once",
    ),
    Row(
        "database", "killed", "everything", (), "503 with a named code, /readyz says so, /healthz lives",
        "the platform reconnects by itself; nothing confirmed is lost, nothing is done twice, the record verifies",
    ),
)  # fmt: skip

MATRIX: Final = (*SUMSUB, *COMPLYADVANTAGE, *BANK, *REJECTS, *STATEMENTS, *MAIL, *REFUSED_MAIL, *CHAIN, *OURS)


def without_rows(names: Iterable[str]) -> list[str]:
    """Which of these providers the matrix says nothing of: nobody has tried what happens when they fail."""
    said = {row.provider for row in MATRIX}
    return [name for name in names if name not in said]


def document() -> str:
    """The table for people."""
    lines = [
        "<!-- Printed from tests/failures/matrix.py by `python -m tests.failures.matrix`; edit that, print again. -->",
        "",
        "# What happens when an outside system fails",
        "",
        "Every line is tried on a running system by [tests/failures](../tests/failures). The modes are those of the",
        "mock servers (`/v1/sandbox/providers`). While it lasts, no penny moves twice and nothing counts as clear,",
        "paid or final on a guess.",
        "",
        "After five failures in a row the circuit of a provider opens: for five seconds nothing is sent to it, and",
        "calls are refused as unavailable, known not to be sent. Then one call is on trial. `GET /v1/ops/providers`",
        "shows how each does ([ADR 0024](adr/0024-circuit-breaker-and-retries.md)).",
        "",
        "| system | fails by | at | meanwhile | alert | once it is back |",
        "|---|---|---|---|---|---|",
    ]
    for row in MATRIX:
        alert = f"`{row.alert}`" if row.alert else ""
        cells = (row.provider, f"`{row.mode}`", row.moment, row.meanwhile, alert, row.afterwards)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
