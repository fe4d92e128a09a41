"""Paid out, collected, shared: every pound that moves, and the proof that each moved once.

A lender commits to a listing (F1); jobs check it, move its money to collections, ask for the token, pay the seller and
wait until the seller's bank shows the credit (F4). Buyers' payments are read from the collections account, matched to
their invoice and passed on to whoever holds it. An intended payment is recorded before its bank is asked, under an
end-to-end id that the bank pays once.
"""

from fintokenx.lifecycle.settlement.jobs import SettlementJobs
from fintokenx.lifecycle.settlement.service.collecting import collection, collections
from fintokenx.lifecycle.settlement.service.funding import commit
from fintokenx.lifecycle.settlement.service.reads import disbursement, live_commitment_of
from fintokenx.lifecycle.settlement.types import (
    FPS_LIMIT,
    AmountOverFpsLimit,
    Collection,
    Disbursement,
    NothingToAdvance,
    Price,
    PriceChanged,
    UnknownCollection,
    UnknownDisbursement,
    WalletNotReady,
)

__all__ = [
    "FPS_LIMIT",
    "AmountOverFpsLimit",
    "Collection",
    "Disbursement",
    "NothingToAdvance",
    "Price",
    "PriceChanged",
    "SettlementJobs",
    "UnknownCollection",
    "UnknownDisbursement",
    "WalletNotReady",
    "collection",
    "collections",
    "commit",
    "disbursement",
    "live_commitment_of",
]
