"""A deterministic chain in memory, for module logic. It keeps nonces, blocks, claims and holdings as the real one does,
and fails on demand: no blocks, no answer, an answer lost after the effect, a process that dies at a call."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from fintokenx.kernel.money import ZERO, Pence
from fintokenx.lifecycle.chainwork.ports import ChainHead, ChainUnavailable, Receipt, SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    Claims,
    FlagWallet,
    Holding,
    MintReceivable,
    RecoverWallet,
    RefreshSanctions,
    RegisterIdentity,
    RemoveIdentity,
    TransferToken,
)

AGENT_KEY = "chain/agent"
MINTER_KEY = "chain/minter"
REGISTRAR_KEY = "chain/registrar"
UPDATER_KEY = "chain/sanctions-updater"
GENESIS_UNIX = 1_780_000_000
BLOCK_SECONDS = 2
FAR_FUTURE_UNIX = 2**62
PENDING_MAX = 200
"""So far ahead of the mined count a nonce may be (Besu)."""

_REQUIRED = (Claims.KYC_VERIFIED, Claims.AML_CLEARED, Claims.JURISDICTION_UK)


class Crash(Exception):
    """Stands for a process that dies here: nothing catches it but the worker's last resort."""


class Reverted(Exception):
    """A contract says no; the message is the reason."""


def address_of(key_name: str) -> str:
    """The address of a key."""
    return "0x" + hashlib.sha256(key_name.encode()).hexdigest()[:40]


@dataclass
class Contracts:
    """Registry, compliance and token, as far as tokenisation uses them."""

    identities: dict[str, RegisterIdentity] = field(default_factory=dict)
    faces: dict[int, Pence] = field(default_factory=dict)
    holdings: dict[tuple[str, int], Pence] = field(default_factory=dict)
    flagged: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    listed_at: int = 0
    """As of when the sanctions list was last confirmed."""

    def verified(self, wallet: str, now_unix: int) -> bool:
        known = self.identities.get(wallet)
        return known is not None and not self._missing(known) and known.expires_at_unix > now_unix

    @staticmethod
    def _missing(known: RegisterIdentity) -> list[str]:
        return [str(claim.name) for claim in _REQUIRED if claim not in known.claims]

    def may_transfer(self, from_wallet: str, to_wallet: str, now_unix: int) -> tuple[bool, str]:
        sender, receiver = self.identities.get(from_wallet), self.identities.get(to_wallet)
        if sender is None or receiver is None or receiver.expires_at_unix <= now_unix:
            return False, "wallet not verified"
        if {from_wallet, to_wallet} & self.retired:
            return False, "address frozen"
        if missing := self._missing(receiver):
            return False, f"missing claim: {missing[0]}"
        if receiver.is_investor and not receiver.claims & (Claims.MIFID_PROFESSIONAL | Claims.MIFID_ECP):
            return False, "MiFID classification required"
        if {from_wallet, to_wallet} & self.flagged:
            return False, "sanctions"
        return True, "ok"

    def supply(self, token_id: int) -> Pence:
        return Pence(sum(amount.value for (_, held), amount in self.holdings.items() if held == token_id))

    def execute(self, call: Call, now_unix: int) -> None:
        """:raises Reverted: nothing has changed"""
        match call:
            case RegisterIdentity():
                self.identities[call.wallet] = call
            case MintReceivable():
                if call.token_id in self.faces:
                    raise Reverted("reverted")
                if call.to_wallet not in self.identities:
                    raise Reverted("wallet not verified")
                self.faces[call.token_id] = call.face
                self.holdings[call.to_wallet, call.token_id] = call.face
            case TransferToken():
                allowed, reason = self.may_transfer(call.from_wallet, call.to_wallet, now_unix)
                if not allowed:
                    raise Reverted(reason)
                self._move(call)
            case FlagWallet():
                (self.flagged.add if call.flagged else self.flagged.discard)(call.wallet)
            case RefreshSanctions():
                if call.as_of_unix > now_unix:
                    raise Reverted("reverted")
                self.listed_at = max(self.listed_at, call.as_of_unix)
            case RemoveIdentity():
                if self.identities.pop(call.wallet, None) is None:
                    raise Reverted("reverted")
            case RecoverWallet():
                self._recover(call, now_unix)
            case BurnReceivable():
                left = self.supply(call.token_id)
                held = sum(self.holdings.get((holder, call.token_id), ZERO).value for holder in call.holders)
                if not left or held != left.value:
                    raise Reverted("reverted")
                for holder in call.holders:
                    self.holdings.pop((holder, call.token_id), None)

    def _recover(self, call: RecoverWallet, now_unix: int) -> None:
        lost, new = self.identities.get(call.lost_wallet), self.identities.get(call.new_wallet)
        if lost is None or new is None or not lost.subject_hash == new.subject_hash == call.subject_hash:
            raise Reverted("reverted")
        if not self.verified(call.new_wallet, now_unix) or call.new_wallet in self.retired | self.flagged:
            raise Reverted("reverted")
        for token_id in call.token_ids:
            moved = self.holdings.pop((call.lost_wallet, token_id), ZERO)
            self.holdings[call.new_wallet, token_id] = self.holdings.get((call.new_wallet, token_id), ZERO) + moved
        self.retired.add(call.lost_wallet)

    def _move(self, call: TransferToken) -> None:
        has = self.holdings.get((call.from_wallet, call.token_id), ZERO)
        if has < call.amount:
            raise Reverted("reverted")
        received = self.holdings.get((call.to_wallet, call.token_id), ZERO)
        self.holdings[call.from_wallet, call.token_id] = has - call.amount
        self.holdings[call.to_wallet, call.token_id] = received + call.amount


class LedgerChain:
    """The port ``tokenisation.ports.Chain`` in memory. Blocks come by :meth:`mine`, or at once while ``automine``."""

    def __init__(self, *, automine: bool = True) -> None:
        self.automine = automine
        self.contracts = Contracts()
        self.calls: Counter[str] = Counter()
        self.mined: list[tuple[SignedTransaction, Call | None, Receipt]] = []
        self.broadcasts: list[str] = []
        self._number = 1
        self._skipped_seconds = 0
        self._stalled = False
        self._away: Exception | None = None
        self._pool: dict[tuple[str, int], SignedTransaction] = {}
        self._receipts: dict[str, Receipt] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._signed: dict[bytes, tuple[SignedTransaction, Call | None]] = {}
        self._faults: dict[tuple[str, str], deque[Exception | None]] = defaultdict(deque)
        minting = address_of(MINTER_KEY)
        everything = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
        self.contracts.identities[minting] = RegisterIdentity(minting, bytes(32), everything, False, FAR_FUTURE_UNIX)

    # What a test does to the chain.

    def pass_time(self, passed: timedelta) -> None:
        """The chain's clock goes on by so much, without blocks."""
        self._skipped_seconds += int(passed.total_seconds())

    def stall(self) -> None:
        """Take transactions, but make no more blocks."""
        self._stalled = True

    @property
    def is_stalled(self) -> bool:
        """Whether :meth:`stall` holds."""
        return self._stalled

    def resume(self) -> None:
        """Make blocks again, at once if any transaction waits and ``automine``."""
        self._stalled = False
        self._number += 1
        if self.automine:
            self.mine()

    def go_away(self, fault: Exception | None) -> None:
        """Answer nothing but ``fault`` from now on; None: come back."""
        self._away = fault

    def fail_before(self, call: str, fault: Exception) -> None:
        """The next ``call`` raises and does nothing."""
        self._faults[call, "before"].append(fault)

    def fail_after(self, call: str, fault: Exception, *, skipping: int = 0) -> None:
        """The next ``call`` takes effect, but its answer is lost; ``skipping`` so many that go well before."""
        self._faults[call, "after"].extend((*[None] * skipping, fault))

    def still_to_fail(self, call: str) -> bool:
        """Whether a fault of ``call`` was ordered that did not come yet."""
        return bool(self._faults[call, "before"] or self._faults[call, "after"])

    def forget_pool(self) -> None:
        """Drop every transaction that is in no block, as a node that restarts does."""
        self._pool.clear()

    def mine(self) -> int:
        """Make a block of everything that is next in its sender's order; returns how many transactions it holds."""
        if self._stalled:
            return 0
        self._number += 1
        done = 0
        while ready := [key for key in sorted(self._pool) if self._counts[key[0]] == key[1]]:
            for key in ready:
                self._include(self._pool.pop(key))
                done += 1
        return done

    def _include(self, signed: SignedTransaction) -> None:
        call = self._signed[signed.raw][1]
        reason = ""
        try:
            if call is not None:
                self.contracts.execute(call, self._now_unix())
        except Reverted as no:
            reason = str(no)
        receipt = Receipt(signed.tx_hash, self._number, not reason, reason)
        self._receipts[signed.tx_hash] = receipt
        self._counts[signed.sender] += 1
        self.mined.append((signed, call, receipt))

    def mined_calls(self, kind: type[Call]) -> list[Call]:
        """The calls of one kind that took effect, in order."""
        return [call for _, call, receipt in self.mined if isinstance(call, kind) and receipt.succeeded]

    def _now_unix(self) -> int:
        return GENESIS_UNIX + self._number * BLOCK_SECONDS + self._skipped_seconds

    def _enter(self, call: str) -> None:
        self.calls[call] += 1
        if (faults := self._faults[call, "before"]) and (fault := faults.popleft()):
            raise fault
        if self._away is not None:
            raise self._away

    def _leave(self, call: str) -> None:
        if (faults := self._faults[call, "after"]) and (fault := faults.popleft()):
            raise fault

    # The port.

    async def head(self) -> ChainHead:
        self._enter("head")
        return ChainHead(self._number, self._now_unix())

    async def contract_address(self) -> str:
        self._enter("contract_address")
        return address_of("FXReceivableToken")

    async def minting_wallet(self) -> str:
        self._enter("minting_wallet")
        return address_of(MINTER_KEY)

    async def create_wallet(self, key_name: str) -> str:
        self._enter("create_wallet")
        self._leave("create_wallet")
        return address_of(key_name)

    async def sender_of(self, call: Call) -> str:
        self._enter("sender_of")
        match call:
            case TransferToken():
                return address_of(call.from_wallet_key)
            case RegisterIdentity() | RemoveIdentity():
                return address_of(REGISTRAR_KEY)
            case BurnReceivable() | RecoverWallet():
                return address_of(AGENT_KEY)
            case FlagWallet() | RefreshSanctions():
                return address_of(UPDATER_KEY)
            case MintReceivable():
                return address_of(MINTER_KEY)

    async def transaction_count(self, sender: str) -> int:
        self._enter("transaction_count")
        return self._counts[sender]

    async def sign(self, call: Call, nonce: int) -> SignedTransaction:
        self._enter("sign")
        sender = await self.sender_of(call)
        raw = f"{sender}|{nonce}|{call!r}".encode()
        signed = SignedTransaction(sender, nonce, "0x" + hashlib.sha256(raw).hexdigest(), raw)
        self._signed[raw] = (signed, call)
        self._leave("sign")
        return signed

    async def waiting(self, sender: str, tx_hashes: Sequence[str]) -> set[int]:
        self._enter("waiting")
        return {nonce for (of, nonce), signed in self._pool.items() if of == sender and signed.tx_hash in tx_hashes}

    async def cancellation(self, sender: str, nonce: int) -> SignedTransaction | None:
        self._enter("cancellation")
        if sender not in map(address_of, (AGENT_KEY, MINTER_KEY, REGISTRAR_KEY, UPDATER_KEY)):
            return None
        raw = f"{sender}|{nonce}|nothing".encode()
        signed = SignedTransaction(sender, nonce, "0x" + hashlib.sha256(raw).hexdigest(), raw)
        self._signed[raw] = (signed, None)
        return signed

    async def broadcast(self, raw: bytes) -> None:
        self._enter("broadcast")
        signed = self._signed[raw][0]
        self.broadcasts.append(signed.tx_hash)
        if signed.tx_hash not in self._receipts:
            if signed.nonce < self._counts[signed.sender]:
                raise ChainUnavailable("nonce too low", outcome_unknown=False)
            if signed.nonce >= self._counts[signed.sender] + PENDING_MAX:
                raise ChainUnavailable("nonce too distant", outcome_unknown=False)
            self._pool[signed.sender, signed.nonce] = signed
            if self.automine:
                self.mine()
        self._leave("broadcast")

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        self._enter("send_many")
        refusals = [await self._refusal_of(raw) for raw in raws]
        self._leave("send_many")
        return refusals

    async def _refusal_of(self, raw: bytes) -> ChainUnavailable | None:
        try:
            await self.broadcast(raw)
        except ChainUnavailable as refusal:
            return refusal
        return None

    async def receipts(self, tx_hashes: Sequence[str]) -> dict[str, Receipt]:
        self._enter("receipts")
        found = {tx_hash: receipt for tx_hash in tx_hashes if (receipt := await self.receipt(tx_hash)) is not None}
        self._leave("receipts")
        return found

    async def receipt(self, tx_hash: str) -> Receipt | None:
        self._enter("receipt")
        found = self._receipts.get(tx_hash)
        self._leave("receipt")
        return found

    async def can_transfer(self, from_wallet: str, to_wallet: str, token_id: int, amount: Pence) -> tuple[bool, str]:
        self._enter("can_transfer")
        return self.contracts.may_transfer(from_wallet, to_wallet, self._now_unix())

    async def holding(self, wallet: str, token_id: int) -> Pence:
        self._enter("holding")
        return self.contracts.holdings.get((wallet, token_id), ZERO)

    async def holdings(self, asked: Sequence[Holding]) -> list[Pence]:
        return [await self.holding(wallet, token_id) for token_id, wallet in asked]

    async def supplies(self, token_ids: Sequence[int]) -> list[Pence]:
        return [await self.supply(token_id) for token_id in token_ids]

    async def supply(self, token_id: int) -> Pence:
        self._enter("supply")
        return self.contracts.supply(token_id)

    async def is_registered(self, wallet: str) -> bool:
        self._enter("is_registered")
        return wallet in self.contracts.identities

    async def is_verified(self, wallet: str) -> bool:
        self._enter("is_verified")
        return self.contracts.verified(wallet, self._now_unix())
