"""The decision table of canTransfer as data: who may stand in a transfer, and all combinations of that.

The table is two full products, because the whole product would be a hundred million rows and the token's part and the
compliance contract's part only meet in one place, which the second product crosses:

``rules``   token free of pauses and freezes: sender's standing × receiver's standing, claims and kind × sanctions flags
            of both × lock of the token id × state of the sanctions list.
``token``   global pause × compliance contract works or fails × state of the token id × sender's flags and holding ×
            receiver's flags, verified or not × amount.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from fintokenx.lifecycle.tokenisation.ports import Claims

REQUIRED = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
EVERY_CLAIMS = tuple(Claims(bits) for bits in range(32))
SOME_CLAIMS = (
    Claims(0), Claims.JURISDICTION_UK, Claims.KYC_VERIFIED, Claims.KYC_VERIFIED | Claims.AML_CLEARED,
    REQUIRED, REQUIRED | Claims.MIFID_PROFESSIONAL, REQUIRED | Claims.MIFID_ECP,
)  # fmt: skip
"""One claim missing, and two neighbours missing, so that their order shows."""
REASONS = {
    "ok", "paused", "unknown token", "token burned", "token paused", "address frozen", "tokens frozen",
    "compliance unavailable", "wallet not verified", "missing claim: KYC_VERIFIED", "missing claim: AML_CLEARED",
    "missing claim: JURISDICTION_UK", "MiFID classification required", "token locked", "sanctions",
}  # fmt: skip
"""Every reason that the specification and the token know."""


class Standing(Enum):
    """How a wallet stands in the identity registry."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    """At the first moment of the table its claims' last second has just passed."""
    OLD_ISSUER = "old issuer"
    LIVE = "live"


class Flag(Enum):
    """What the token has against a wallet."""

    CLEAR = "clear"
    FROZEN = "frozen"
    RETIRED = "retired"


class Lock(Enum):
    """LockupRule of a token id."""

    NEVER = "never"
    OVER = "over"
    """Free from the first moment of the table on."""
    LOCKED = "locked"


class Listing(Enum):
    """The sanctions list, and with it the moment at which the table asks."""

    UNSET = "unset"
    FRESH = "fresh"
    LAST_SECOND = "last second"
    STALE = "stale"


class Id(Enum):
    """States of a token id."""

    LIVE = "live"
    PAUSED = "paused"
    BURNED = "burned"
    BURNED_PAUSED = "burned, paused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Actor:
    """A wallet of the table. Nobody has its key: it is only asked about."""

    role: str
    standing: Standing = Standing.LIVE
    claims: Claims = REQUIRED
    is_investor: bool = False
    sanctioned: bool = False
    flag: Flag = Flag.CLEAR
    balance: int = 0
    frozen: int = 0

    @property
    def address(self) -> str:
        """Follows from what it is."""
        return _address(self)


@functools.cache
def _address(actor: Actor) -> str:
    return to_checksum_address(keccak(text=repr(actor))[-20:])


@dataclass(frozen=True, slots=True)
class Row:
    """One question, and in what state of the network it is asked."""

    sender: Actor
    receiver: Actor
    amount: int
    id: Id = Id.LIVE
    lock: Lock = Lock.NEVER
    listing: Listing = Listing.FRESH
    paused: bool = False
    compliance_fails: bool = False

    @property
    def token_id(self) -> int:
        """One token id per state and lock."""
        return token_id(self.id, self.lock)


@functools.cache
def token_id(state: Id, lock: Lock = Lock.NEVER) -> int:
    """A token id like the product's: 32 bytes that look random."""
    return int.from_bytes(keccak(text=f"{state.value}/{lock.value}"), "big")


def _standings(role: str, claims: Sequence[Claims], kinds: Sequence[bool]) -> list[Actor]:
    known = itertools.product((Standing.EXPIRED, Standing.OLD_ISSUER, Standing.LIVE), claims, kinds, (False, True))
    found = [Actor(role, standing, held, kind, flagged) for standing, held, kind, flagged in known]
    return found + [Actor(role, Standing.UNKNOWN, Claims(0), False, flagged) for flagged in (False, True)]


RULE_SENDERS = _standings("sender", (Claims(0), Claims.KYC_VERIFIED), (False,))
TOKEN_SENDERS = [
    Actor("holder", flag=flag, balance=balance, frozen=frozen)
    for flag, (balance, frozen) in itertools.product(Flag, ((0, 0), (100, 40), (100, 150)))
]
TOKEN_RECEIVERS = [
    Actor("taker", claims=claims, flag=flag) for flag, claims in itertools.product(Flag, (REQUIRED, Claims(0)))
]
AMOUNTS = (0, 1, 60, 61, 100, 101)
"""Round the edges of a holding of 100 of which 40 are frozen."""


@dataclass(frozen=True)
class Table:
    """All rows over these claims of receivers."""

    claims: Sequence[Claims]

    def actors(self) -> list[Actor]:
        """Every wallet that stands in a row."""
        return [*RULE_SENDERS, *self.rule_receivers(), *TOKEN_SENDERS, *TOKEN_RECEIVERS]

    def rule_receivers(self) -> list[Actor]:
        """Receivers of the first product."""
        return _standings("receiver", self.claims, (False, True))

    def rows(self) -> Iterator[Row]:
        """Both products; the rows of one state of the network stand together."""
        yield from itertools.starmap(
            lambda sender, receiver, lock, listing: Row(sender, receiver, 1, lock=lock, listing=listing),
            itertools.product(RULE_SENDERS, self.rule_receivers(), Lock, Listing),
        )
        for paused, fails in itertools.product((False, True), repeat=2):
            for sender, receiver, state, amount in itertools.product(TOKEN_SENDERS, TOKEN_RECEIVERS, Id, AMOUNTS):
                yield Row(sender, receiver, amount, state, paused=paused, compliance_fails=fails)
