"""The machines of money on its way (statemachines §5, §6), as far as code walks them, and what is recorded of them.

FIAT_FINAL and PART_HELD → DISTRIBUTING are spelled out here: "fiat final in collections" must survive a crash before
the token is asked for. A credit is matched in the step that records it, so RECEIVED is not a resting place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import NOTHING, machine


class DisbursementState(StrEnum):
    """Where a disbursement stands."""

    COMMITTED = "COMMITTED"
    CHECKED = "CHECKED"
    CANCELLED = "CANCELLED"
    FIAT_SENT = "FIAT_SENT"
    FIAT_RETRY = "FIAT_RETRY"
    FIAT_FINAL = "FIAT_FINAL"
    TOKEN_MOVED = "TOKEN_MOVED"
    CHAIN_REFUSED = "CHAIN_REFUSED"
    REFUNDING = "REFUNDING"
    REFUNDED = "REFUNDED"
    SELLER_PAYOUT_SENT = "SELLER_PAYOUT_SENT"
    CLOSED = "CLOSED"
    RETURNED = "RETURNED"
    OPS_ESCALATED = "OPS_ESCALATED"


class DisbursementEvent(StrEnum):
    """What moves a disbursement."""

    COMMIT = "commit"
    CHECK = "check"
    CANCEL = "cancel"
    SEND = "send"
    RETRY = "retry"
    SETTLE = "settle"
    FUND = "fund"
    REFUSE = "refuse"
    REFUND = "refund"
    ACKNOWLEDGE = "acknowledge"
    RETURN = "return"
    ESCALATE = "escalate"


DISBURSEMENT: Final = machine(
    "disbursement",
    DisbursementState,
    DisbursementEvent,
    [
        (NOTHING, "commit", "COMMITTED", "FUND_COMMIT"),
        ("COMMITTED", "check", "CHECKED", "FUND_CHECK"),
        ("COMMITTED|CHECKED|FIAT_SENT|FIAT_RETRY", "cancel", "CANCELLED", "FUND_CANCEL"),
        ("CHECKED|FIAT_RETRY", "send", "FIAT_SENT", "FIAT_OUT"),
        ("FIAT_SENT", "retry", "FIAT_RETRY", "FIAT_RETRY"),
        ("FIAT_SENT", "settle", "FIAT_FINAL", "FIAT_IN"),
        ("FIAT_FINAL", "fund", "TOKEN_MOVED", "FUND_INVOICE"),
        ("FIAT_FINAL", "refuse", "CHAIN_REFUSED", "CHAIN_REFUSED"),
        ("CHAIN_REFUSED", "send", "REFUNDING", "FIAT_OUT"),
        ("REFUNDING", "retry", "CHAIN_REFUSED", "FIAT_RETRY"),
        ("REFUNDING", "refund", "REFUNDED", "FIAT_REFUND"),
        ("TOKEN_MOVED", "send", "SELLER_PAYOUT_SENT", "FIAT_OUT"),
        ("SELLER_PAYOUT_SENT", "retry", "TOKEN_MOVED", "FIAT_RETRY"),
        ("SELLER_PAYOUT_SENT", "acknowledge", "CLOSED", "SELLER_CREDIT_ACK"),
        ("SELLER_PAYOUT_SENT", "return", "RETURNED", "FIAT_RETURN"),
        ("REFUNDING", "return", "OPS_ESCALATED", "FIAT_RETURN"),
        ("FIAT_SENT|REFUNDING|SELLER_PAYOUT_SENT", "escalate", "OPS_ESCALATED", "FIAT_ESCALATE"),
    ],
)


class InstructionState(StrEnum):
    """Where a payment instruction stands."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    CANCELLED = "CANCELLED"
    HELD = "HELD"
    SETTLED = "SETTLED"
    REJECTED = "REJECTED"
    RETURNED = "RETURNED"


class InstructionEvent(StrEnum):
    """What moves a payment instruction."""

    QUEUE_IN = "queue in"
    QUEUE_PAYOUT = "queue payout"
    QUEUE_REFUND = "queue refund"
    QUEUE_ONWARD = "queue onward"
    QUEUE_AGAIN = "queue again"
    SEND = "send"
    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"
    SETTLE_IN = "settle in"
    SETTLE_PAYOUT = "settle payout"
    SETTLE_REFUND = "settle refund"
    SETTLE_ONWARD = "settle onward"
    REJECT_FOR_NOW = "reject for now"
    REJECT_FUNDING = "reject funding"
    REJECT = "reject"
    RETURN_FUNDING = "return funding"
    RETURN = "return"


INSTRUCTION: Final = machine(
    "payment_instruction",
    InstructionState,
    InstructionEvent,
    [
        (NOTHING, "queue in", "QUEUED", "FUND_CHECK"),
        (NOTHING, "queue payout", "QUEUED", "FUND_INVOICE"),
        (NOTHING, "queue refund", "QUEUED", "CHAIN_REFUSED"),
        (NOTHING, "queue onward", "QUEUED", "RECEIVE_SETTLEMENT"),
        (NOTHING, "queue again", "QUEUED", "FIAT_RETRY"),
        ("QUEUED", "send", "SENT", "FIAT_OUT"),
        ("QUEUED", "cancel", "CANCELLED", "FUND_CANCEL"),
        ("QUEUED", "hold", "HELD", "ONWARD_HELD"),
        ("HELD", "release", "QUEUED", "ONWARD_RELEASE"),
        ("SENT", "settle in", "SETTLED", "FIAT_IN"),
        ("SENT", "settle payout", "SETTLED", "FIAT_PAID"),
        ("SENT", "settle refund", "SETTLED", "FIAT_REFUND"),
        ("SENT", "settle onward", "SETTLED", "ONWARD_PAID"),
        ("SENT", "reject for now", "REJECTED", "FIAT_RETRY"),
        ("SENT", "reject funding", "REJECTED", "FUND_CANCEL"),
        ("SENT", "reject", "REJECTED", "FIAT_ESCALATE"),
        ("SENT", "return funding", "RETURNED", "FUND_CANCEL"),
        ("SENT|SETTLED", "return", "RETURNED", "FIAT_RETURN"),
    ],
)


class CollectionState(StrEnum):
    """Where a collection stands."""

    MATCHED = "MATCHED"
    UNMATCHED = "UNMATCHED"
    DISTRIBUTING = "DISTRIBUTING"
    REFUND_DUE = "REFUND_DUE"
    PART_HELD = "PART_HELD"
    DISTRIBUTED = "DISTRIBUTED"


class CollectionEvent(StrEnum):
    """What moves a collection."""

    RECEIVE = "receive"
    ALLOCATE = "allocate"
    HOLD = "hold"
    RETURN = "return"
    ESCALATE = "escalate"
    RELEASE = "release"
    PAY_OUT = "pay out"


COLLECTION: Final = machine(
    "collection",
    CollectionState,
    CollectionEvent,
    [
        (NOTHING, "receive", "MATCHED", "RECEIVE_CREDIT"),
        (NOTHING, "receive", "UNMATCHED", "RECEIVE_CREDIT"),
        ("MATCHED", "allocate", "DISTRIBUTING", "RECEIVE_SETTLEMENT"),
        ("MATCHED", "allocate", "REFUND_DUE", "RECEIVE_SETTLEMENT"),
        ("DISTRIBUTING", "hold", "PART_HELD", "ONWARD_HELD"),
        ("DISTRIBUTING|DISTRIBUTED", "return", "PART_HELD", "FIAT_RETURN"),
        ("DISTRIBUTING", "escalate", "PART_HELD", "FIAT_ESCALATE"),
        ("PART_HELD", "release", "DISTRIBUTING", "ONWARD_RELEASE"),
        ("DISTRIBUTING|PART_HELD", "pay out", "DISTRIBUTED", "ONWARD_PAID"),
    ],
)


class LineDoubtState(StrEnum):
    """Where a doubt about a line stands."""

    OPEN = "OPEN"
    NEW = "NEW"
    SAME = "SAME"


class LineDoubtEvent(StrEnum):
    """What moves a doubt about a line."""

    OPEN = "open"
    IT_IS_NEW = "it is new"
    IT_IS_KNOWN = "it is known"


LINE_DOUBT: Final = machine(
    "line_doubt",
    LineDoubtState,
    LineDoubtEvent,
    [
        (NOTHING, "open", "OPEN", "RECON_DOUBT"),
        ("OPEN", "it is new", "NEW", "RECON_DECIDE"),
        ("OPEN", "it is known", "SAME", "RECON_DECIDE"),
    ],
)


class DifferenceState(StrEnum):
    """Where a balance's difference stands."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class DifferenceEvent(StrEnum):
    """What moves a balance's difference."""

    OPEN = "open"
    CLOSE = "close"


DIFFERENCE: Final = machine(
    "balance_difference",
    DifferenceState,
    DifferenceEvent,
    [(NOTHING, "open", "OPEN", "BALANCE_DIFFERS"), ("OPEN", "close", "CLOSED", "BALANCE_AGREES")],
)

MACHINES = (DISBURSEMENT, INSTRUCTION, COLLECTION, LINE_DOUBT, DIFFERENCE)

_SYSTEM = (Role.SYSTEM,)

ACTIONS = (
    Action("FUND_COMMIT", (Role.LENDER, Role.PLATFORM_ADMIN), True, "required_from_admin"),
    Action("FUND_CHECK", _SYSTEM),
    Action("FUND_CANCEL", _SYSTEM),
    Action("FUND_INVOICE", (Role.SYSTEM, Role.PLATFORM_ADMIN), True, "required_from_admin"),
    Action("RECEIVE_SETTLEMENT", (Role.SYSTEM, Role.PLATFORM_ADMIN), True, "required_from_admin"),
    Action("RECON_DECIDE", (Role.COMPLIANCE, Role.MLRO), staff_only=True),
    *(
        Action(name, _SYSTEM)
        for name in (
            "FIAT_OUT", "FIAT_RETRY", "FIAT_ESCALATE", "FIAT_IN", "FIAT_PAID", "FIAT_RETURN", "FIAT_REFUND",
            "CHAIN_REFUSED", "SELLER_CREDIT_ACK", "RECON_ALERT", "RECON_LINE", "RECON_GAP", "RECON_WHOLE",
            "RECON_SAME", "RECON_DOUBT", "BALANCE_DIFFERS", "BALANCE_AGREES", "BALANCE_GAP", "BALANCE_READ",
            "RECEIVE_CREDIT", "SETTLEMENT_START", "ONWARD_HELD", "ONWARD_RELEASE", "ONWARD_PAID",
        )
    ),
)  # fmt: skip
