"""What the chain will say to a transfer, foretold from what stands on chain, without asking the chain.

The contracts decide; this only says beforehand what they will say and why, in their words and in their order. It is a
second reading of the specification: the full decision table holds it and the contracts to one another. The product asks
the contract itself (``Chain.can_transfer``); a snapshot would be of the same chain, by eight questions and not one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fintokenx.lifecycle.tokenisation.ports import Claims, StatusWord


@dataclass(frozen=True, slots=True)
class WalletSnapshot:
    """One wallet as FXIdentityRegistry, the token and SanctionsRule know it."""

    status_word: int
    """``statusWord(wallet)``; see :class:`StatusWord`."""
    frozen: bool
    """``isFrozen(wallet)``: frozen, or retired by a recovery."""
    sanctioned: bool
    """``isFlagged(wallet)``."""

    def claims_at(self, now_unix: int, issuer_generation: int) -> Claims:
        """The claims that hold now: none when they have expired, or when the issuer changed since they were signed."""
        word = StatusWord(self.status_word)
        live = now_unix < word.expires_at_unix and word.issuer_generation == issuer_generation
        return Claims(word.claims) if live else Claims(0)

    @property
    def is_investor(self) -> bool:
        """Whether a MiFID classification is required to receive."""
        return StatusWord(self.status_word).is_investor


@dataclass(frozen=True, slots=True)
class ReceivableSnapshot:
    """One token id as the token and LockupRule know it."""

    exists: bool
    """Stays true after the burn."""
    burned: bool
    paused: bool
    locked_until_unix: int
    """Free from that second on; 0: never locked."""


@dataclass(frozen=True, slots=True)
class HoldingSnapshot:
    """What the sender has of the token id. The frozen amount may exceed the balance (ERC-7943)."""

    balance_pence: int
    frozen_pence: int


@dataclass(frozen=True, slots=True)
class NetworkSnapshot:
    """What counts for every transfer."""

    now_unix: int
    """Time of the block that would take the transfer."""
    paused: bool
    issuer_generation: int
    sanctions_updated_at_unix: int
    """0: the list was never confirmed."""
    sanctions_age_seconds_max: int
    compliance_answers: bool = True
    """False: the compliance contract, or a part of it, fails."""


@dataclass(frozen=True, slots=True)
class TransferSnapshot:
    """A transfer and all that decides it."""

    sender: WalletSnapshot
    receiver: WalletSnapshot
    receivable: ReceivableSnapshot
    holding: HoldingSnapshot
    network: NetworkSnapshot
    amount_pence: int

    @property
    def receiver_claims(self) -> Claims:
        """The receiver's claims that hold now."""
        return self.receiver.claims_at(self.network.now_unix, self.network.issuer_generation)

    @property
    def sender_claims(self) -> Claims:
        """The sender's claims that hold now."""
        return self.sender.claims_at(self.network.now_unix, self.network.issuer_generation)


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason, and when it is given."""

    reason: str
    refuses: Callable[[TransferSnapshot], bool]


def _touches_frozen(transfer: TransferSnapshot) -> bool:
    # More than the balance is no matter of freezing: ERC-7943 leaves plain lack to the transfer itself.
    held = transfer.holding
    unfrozen = max(held.balance_pence - held.frozen_pence, 0)
    return unfrozen < transfer.amount_pence <= held.balance_pence


def _unclassified(transfer: TransferSnapshot) -> bool:
    classified = transfer.receiver_claims & (Claims.MIFID_PROFESSIONAL | Claims.MIFID_ECP)
    return transfer.receiver.is_investor and not classified


def _sanctioned(transfer: TransferSnapshot) -> bool:
    network = transfer.network
    confirmed = network.sanctions_updated_at_unix
    stale = confirmed == 0 or network.now_unix > confirmed + network.sanctions_age_seconds_max
    return stale or transfer.sender.sanctioned or transfer.receiver.sanctioned


RULES: Final = (
    # The token's own, then those of FXComplianceModularised; the first that refuses gives its reason (CH-09 to CH-14).
    Rule("paused", lambda t: t.network.paused),
    Rule("unknown token", lambda t: not t.receivable.exists),
    Rule("token burned", lambda t: t.receivable.burned),
    Rule("token paused", lambda t: t.receivable.paused),
    Rule("address frozen", lambda t: t.sender.frozen or t.receiver.frozen),
    Rule("tokens frozen", _touches_frozen),
    Rule("compliance unavailable", lambda t: not t.network.compliance_answers),
    Rule("wallet not verified", lambda t: not t.sender_claims or not t.receiver_claims),
    Rule("missing claim: KYC_VERIFIED", lambda t: Claims.KYC_VERIFIED not in t.receiver_claims),
    Rule("missing claim: AML_CLEARED", lambda t: Claims.AML_CLEARED not in t.receiver_claims),
    Rule("missing claim: JURISDICTION_UK", lambda t: Claims.JURISDICTION_UK not in t.receiver_claims),
    Rule("MiFID classification required", _unclassified),
    Rule("token locked", lambda t: t.network.now_unix < t.receivable.locked_until_unix),
    Rule("sanctions", _sanctioned),
)


def predict(transfer: TransferSnapshot, rules: Sequence[Rule] = RULES) -> tuple[bool, str]:
    """Whether the token will let this transfer pass, and the first reason if not, else ``ok``.

    As the token's ``canTransferReason``, it does not ask whether the sender holds enough.
    """
    reason = next((rule.reason for rule in rules if rule.refuses(transfer)), None)
    return (True, "ok") if reason is None else (False, reason)
