"""What one holder has and what happened to it, chain and database side by side; of nobody else (CH-03, IN-12).

It keeps no table of its own: it reads the chain's log of the holder's wallets, what tokenisation knows, and which
entries of the record are behind it.
"""

from fintokenx.lifecycle.explorer.service.own_entries import OwnEntries
from fintokenx.lifecycle.explorer.service.own_holdings import events, holdings
from fintokenx.lifecycle.explorer.service.seen import Events, EventSeen, Holdings, HoldingSeen, OwnSlice, Run, Viewer
from fintokenx.lifecycle.explorer.types import Agreement, Counterparty, Direction, HolderRequired, NotYourHoldings

__all__ = [
    "Agreement",
    "Counterparty",
    "Direction",
    "EventSeen",
    "Events",
    "HolderRequired",
    "HoldingSeen",
    "Holdings",
    "NotYourHoldings",
    "OwnEntries",
    "OwnSlice",
    "Run",
    "Viewer",
    "events",
    "holdings",
]
