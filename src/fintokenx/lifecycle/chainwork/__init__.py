"""Whatever is wanted of the chain reaches it exactly once: a nonce, then bytes, then the chain's answer (TK-12).

A promise has a business key. A job gives it a nonce, signs it, keeps the bytes, sends them and waits: each step is kept
before the next, so that a crash or a lost answer anywhere leads to one transaction on chain. What a promise is for and
what its confirmation or refusal means, the module that wants it says: by its :class:`Operations`, and by rows of its
own in the same entry.
"""

from fintokenx.lifecycle.chainwork.carries import (
    CONFIRMED,
    CONFIRMED_AT_LAST,
    PROMISED,
    REVERTED,
    SIGNED,
    SUPERSEDED,
)
from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch
from fintokenx.lifecycle.chainwork.jobs.chain_round import TellMined
from fintokenx.lifecycle.chainwork.jobs.gaps import tell_mined_with
from fintokenx.lifecycle.chainwork.jobs.operations import Operations, Recorder
from fintokenx.lifecycle.chainwork.jobs.outage import Away, waiting_while_away
from fintokenx.lifecycle.chainwork.jobs.pump import Pump
from fintokenx.lifecycle.chainwork.service.reads import (
    chain_transaction,
    find_promise,
    locked_promise,
    transaction_with_id,
    unanswered,
)
from fintokenx.lifecycle.chainwork.service.sending import (
    Mined,
    alarm,
    confirmed_row,
    is_kept,
    keep_signed,
    new_promise,
    promised_row,
    reverted,
    reverted_row,
    signed_row,
    superseded_row,
)
from fintokenx.lifecycle.chainwork.store import COLUMNS, OPEN
from fintokenx.lifecycle.chainwork.transitions import ChainTxState
from fintokenx.lifecycle.chainwork.types import ChainTransaction, UnknownChainTransaction

__all__ = [
    "COLUMNS",
    "CONFIRMED",
    "CONFIRMED_AT_LAST",
    "OPEN",
    "PROMISED",
    "REVERTED",
    "SIGNED",
    "SUPERSEDED",
    "Away",
    "BlockWatch",
    "ChainTransaction",
    "ChainTxState",
    "Mined",
    "Operations",
    "Pump",
    "Recorder",
    "TellMined",
    "UnknownChainTransaction",
    "alarm",
    "chain_transaction",
    "confirmed_row",
    "find_promise",
    "is_kept",
    "keep_signed",
    "locked_promise",
    "new_promise",
    "promised_row",
    "reverted",
    "reverted_row",
    "signed_row",
    "superseded_row",
    "tell_mined_with",
    "transaction_with_id",
    "unanswered",
    "waiting_while_away",
]
