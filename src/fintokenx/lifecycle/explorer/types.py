"""How the explorer tells of holdings and events, and how it refuses."""

from __future__ import annotations

from enum import StrEnum

from fintokenx.kernel.errors import Forbidden, Invalid


class NotYourHoldings(Forbidden):
    """You see your own holdings and nobody else's."""

    code = "NOT_YOUR_HOLDINGS"


class HolderRequired(Invalid):
    """Say whose holdings: you hold none yourself."""

    code = "HOLDER_REQUIRED"


class Agreement(StrEnum):
    """How database and chain stand to each other."""

    EQUAL = "equal"
    IN_FLIGHT = "in_flight"
    DIFFERS = "differs"


class Counterparty(StrEnum):
    """Who was at the other end, as far as a holder may know."""

    MINTING_WALLET = "fx_minting_wallet"
    OWN_WALLET = "own_wallet"
    ANOTHER_HOLDER = "another_holder"
    NOBODY = "nobody"


class Direction(StrEnum):
    """Which way a token went, seen from the holder."""

    IN = "in"
    OUT = "out"
    WITHIN = "within"
    NONE = "none"
