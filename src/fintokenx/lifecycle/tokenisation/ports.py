"""What tokenisation needs of the FinToken X Network, in its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Final, Protocol

from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import Pence


class ChainUnavailable(Unavailable):
    """The network did not answer, or does not produce blocks."""

    def __init__(self, detail: str, *, outcome_unknown: bool = True) -> None:
        super().__init__("chain", detail, outcome_unknown=outcome_unknown)


class NotInABlock(ChainUnavailable):
    """The network answers, and no block has taken what was sent; its outcome is unknown."""

    answers = True


class StateNotKept(ChainUnavailable):
    """The node does not keep the state of this block, or no longer; a newer block can be asked."""

    def __init__(self, block_number: int) -> None:
        super().__init__(f"the state of block {block_number} is not kept", outcome_unknown=False)


UNITED_KINGDOM: Final = 826
"""ISO 3166-1 numeric."""


class Claims(IntFlag):
    """The five claim topics (CH-07), as bits of the packed status word."""

    KYC_VERIFIED = 1
    AML_CLEARED = 2
    JURISDICTION_UK = 4
    MIFID_PROFESSIONAL = 8
    MIFID_ECP = 16


@dataclass(frozen=True, slots=True)
class RegisterIdentity:
    """Enter a wallet with its subject, role and claims; also renews and revokes (claims = 0)."""

    wallet: str
    subject_hash: bytes
    """32 bytes: keyed hash of the subject id; no identity stands on chain."""
    claims: Claims
    is_investor: bool
    expires_at_unix: int
    country: int = UNITED_KINGDOM


@dataclass(frozen=True, slots=True)
class MintReceivable:
    """Create the receivable and mint its whole face to a wallet, in one transaction."""

    token_id: int
    face: Pence
    due_at_unix: int
    document_sha256: bytes
    to_wallet: str


@dataclass(frozen=True, slots=True)
class TransferToken:
    """Move an amount between wallets, by the key of the sending wallet."""

    from_wallet_key: str
    from_wallet: str
    to_wallet: str
    token_id: int
    amount: Pence


@dataclass(frozen=True, slots=True)
class BurnReceivable:
    """Burn the whole receivable, whoever holds it. ``holders`` are the wallets that hold it now."""

    token_id: int
    holders: tuple[str, ...]
    reason: bytes
    """32 bytes, e.g. ``SETTLED`` padded with zeros."""


@dataclass(frozen=True, slots=True)
class FlagWallet:
    """Say on the chain's own sanctions list whether it names a wallet."""

    wallet: str
    flagged: bool


@dataclass(frozen=True, slots=True)
class RecoverWallet:
    """Move all that a lost wallet holds of these receivables to another wallet of the same subject, and retire the lost
    one for ever. Named again, what has gone moves nothing."""

    lost_wallet: str
    new_wallet: str
    subject_hash: bytes
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RemoveIdentity:
    """Take a wallet out of the identity registry."""

    wallet: str


@dataclass(frozen=True, slots=True)
class RefreshSanctions:
    """Say on the chain's own sanctions list that it was complete at a moment. One that is older than the last that the
    chain knows of changes nothing."""

    as_of_unix: int
    """The time of a block that was there before the lists were asked: however late this is mined, it is as old."""


Call = (
    RegisterIdentity
    | MintReceivable
    | TransferToken
    | BurnReceivable
    | FlagWallet
    | RecoverWallet
    | RemoveIdentity
    | RefreshSanctions
)


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction that can be broadcast any number of times and takes effect once."""

    sender: str
    nonce: int
    tx_hash: str
    """0x + 64 lower-case hex."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction. IBFT: one block is final."""

    tx_hash: str
    block_number: int
    succeeded: bool
    revert_reason: str
    """The refusing rule's reason in words of the specification, or ``reverted``; empty on success."""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest block."""

    number: int
    timestamp_unix: int


class Chain(Protocol):
    """The network as seen through the relay. Raises :class:`ChainUnavailable`; signing raises VaultUnavailable."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...

    async def contract_address(self) -> str:
        """FXReceivableToken of this environment, checksummed."""
        ...

    async def minting_wallet(self) -> str:
        """fx_minting_wallet, checksummed."""
        ...

    async def create_wallet(self, key_name: str) -> str:
        """Make (or find) a custody wallet's key in the vault; return its address, checksummed."""
        ...

    async def sender_of(self, call: Call) -> str:
        """The address that must sign this call (its role's key in the vault)."""
        ...

    async def transaction_count(self, sender: str) -> int:
        """The next nonce as far as mined blocks know."""
        ...

    async def sign(self, call: Call, nonce: int) -> SignedTransaction:
        """Encode and sign; touches the vault, not the network. Whether the same call and nonce give the same bytes
        again depends on the vault."""
        ...

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        """Send in this order; for each what the node has against it, None when the node has it. "Already known" and
        "nonce too low" are believed of nothing: it is looked up. Raises when it is not known of any."""
        ...

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """None while the transaction is not in a block; asked of the node itself."""
        ...

    async def receipts(self, tx_hashes: Sequence[str]) -> Mapping[str, Receipt]:
        """Of those that are in a block. Made for asking for the same ones again and again."""
        ...

    async def can_transfer(self, from_wallet: str, to_wallet: str, token_id: int, amount: Pence) -> tuple[bool, str]:
        """Ask the compliance contract; the reason in the specification's words, ``ok`` when true."""
        ...

    async def holdings(self, asked: Sequence[Holding]) -> Sequence[Pence]:
        """What wallets hold of receivables, in the order of asking."""
        ...

    async def supplies(self, token_ids: Sequence[int]) -> Sequence[Pence]:
        """What exists of each receivable; zero before the mint and after the burn."""
        ...

    async def is_registered(self, wallet: str) -> bool:
        """Whether the identity registry knows the wallet, with or without claims."""
        ...


class NonceChain(Protocol):
    """What closing a gap of nonces needs. Raises as :class:`Chain` does."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...

    async def transaction_count(self, sender: str) -> int:
        """The next nonce as far as mined blocks know."""
        ...

    async def waiting(self, sender: str, tx_hashes: Sequence[str]) -> set[int]:
        """With which nonces the node holds those of the transactions that are this sender's and in no block yet."""
        ...

    async def cancellation(self, sender: str, nonce: int) -> SignedTransaction | None:
        """A transaction that does nothing but use this nonce; None for a sender whose key is not a role's."""
        ...

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        """As :meth:`Chain.send_many`."""
        ...


@dataclass(frozen=True, slots=True)
class StatusWord:
    """What FXIdentityRegistry says of a wallet in one word; the bits are those of contracts/README.md."""

    word: int

    @property
    def claims(self) -> int:
        """Bitmap of :class:`Claims`; bits that it does not know are kept."""
        return self._bits(0, 32)

    @property
    def is_investor(self) -> bool:
        """Whether a MiFID classification is required to receive."""
        return bool(self._bits(32, 1))

    @property
    def is_registered(self) -> bool:
        """Whether the registry knows the wallet."""
        return bool(self._bits(33, 1))

    @property
    def country(self) -> int:
        """ISO 3166-1 numeric."""
        return self._bits(48, 16)

    @property
    def expires_at_unix(self) -> int:
        """Until when the claims hold; 0 without any."""
        return self._bits(64, 64)

    @property
    def issuer_generation(self) -> int:
        """Under which set of issuers the claims were signed."""
        return self._bits(128, 64)

    def _bits(self, start: int, length: int) -> int:
        return (self.word >> start) & ((1 << length) - 1)


@dataclass(frozen=True, slots=True)
class StandingReceivable:
    """A receivable as the token contract has it. Plain integers: a stranger's may be larger than our pence can be."""

    exists: bool
    """Stays true after the burn."""
    burned: bool
    face_pence: int
    supply_pence: int
    due_at_unix: int
    document_sha256: str
    """Hex."""


@dataclass(frozen=True, slots=True)
class StandingIdentity:
    """A wallet as the identity registry has it."""

    registered: bool
    verified: bool
    """Whether its claims hold at that block."""
    claims: int
    """Bitmap of :class:`Claims`; bits that it does not know are kept."""
    is_investor: bool
    country: int
    expires_at_unix: int
    """0 when it has no claims."""
    flagged: bool = False
    """Whether SanctionsRule names it."""


Holding = tuple[int, str]
"""A token id and the wallet that may hold some of it, checksummed."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What the contracts' logs add up to."""

    events: int
    token_ids: frozenset[int]
    """Of every receivable that was ever created."""
    balances: Mapping[Holding, int]
    """What came in less what went out, of every holding that was ever touched."""
    wallets: frozenset[str]
    """That the registry ever said something about, checksummed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands on chain of the things that were asked about, at one block."""

    receivables: Mapping[int, StandingReceivable]
    balances: Mapping[Holding, int]
    identities: Mapping[str, StandingIdentity]


Progress = Callable[[str, int, int], None]
"""Called with what is being counted, how many are done and how many there are."""


class ChainState(Protocol):
    """Reads what stands on chain at a block of the caller's choice. Raises :class:`ChainUnavailable`."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...

    async def contract_address(self) -> str:
        """FXReceivableToken of this environment, checksummed."""
        ...

    async def minting_wallet(self) -> str:
        """fx_minting_wallet, checksummed: the platform's own, and no subject's."""
        ...

    async def logged(self, block_number: int, progress: Progress) -> Logged:
        """Every log from the deployment up to the block, folded."""
        ...

    async def standing(
        self, block_number: int, *, token_ids: Sequence[int], holdings: Sequence[Holding], wallets: Sequence[str]
    ) -> Standing:
        """What the contracts answer at the block. :raises StateNotKept: ask at a newer one"""
        ...


class EventKind(StrEnum):
    """What the token contract logs of a wallet."""

    MINT = "mint"
    TRANSFER = "transfer"
    FORCED_TRANSFER = "forced_transfer"
    RECOVERY = "recovery"
    BURN = "burn"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class WalletEvent:
    """One thing that happened to a holding. Addresses are checksummed."""

    kind: EventKind
    token_id: int
    from_wallet: str | None
    """None at a mint; the wallet itself at a freeze."""
    to_wallet: str | None
    """None at a burn; the wallet itself at a freeze."""
    amount_pence: int
    """What moved; at a freeze what is frozen from then on. A plain integer, as the chain has it."""
    block_number: int
    tx_hash: str
    in_block: tuple[int, int]
    """The log's number in its block, and the part of a batch."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands among all that ever happened."""
        return (self.block_number, *self.in_block)


@dataclass(frozen=True, slots=True)
class Held:
    """A holding as the token contract has it. What is frozen may exceed the balance (ERC-7943)."""

    balance_pence: int
    frozen_pence: int


class ChainHistory(Protocol):
    """Reads what happened to single wallets, and of no others. Raises :class:`ChainUnavailable`."""

    async def head(self) -> ChainHead:
        """The newest block."""
        ...

    async def minting_wallet(self) -> str:
        """fx_minting_wallet, checksummed: the platform's own, and no subject's."""
        ...

    async def events(self, block_number: int, wallets: Sequence[str], *, afresh: bool = False) -> list[WalletEvent]:
        """All that was logged of the wallets up to the block, oldest first; ``afresh`` forgets what was read before."""
        ...

    async def held(self, block_number: int, holdings: Sequence[Holding]) -> Mapping[Holding, Held]:
        """What the holdings are at the block. :raises StateNotKept: ask at a newer one"""
        ...


class SubjectHashes(Protocol):
    """Keyed hashes, so that no identity stands on chain; :class:`kernel.sealing.Sealer` gives them."""

    async def blind_index(self, name: str, value: str) -> str:
        """32 bytes as hex; the same value gives the same text under one name. Raises VaultUnavailable."""
        ...
