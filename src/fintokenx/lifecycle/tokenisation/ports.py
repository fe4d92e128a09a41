"""What tokenisation needs of the FinToken X Network, in its own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Protocol

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.ports import ChainHead, SendingChain

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


class Chain(SendingChain[Call], Protocol):
    """The network as seen through the relay. Raises :class:`ChainUnavailable`; signing raises VaultUnavailable."""

    async def contract_address(self) -> str:
        """FXReceivableToken of this environment, checksummed."""
        ...

    async def minting_wallet(self) -> str:
        """fx_minting_wallet, checksummed."""
        ...

    async def create_wallet(self, key_name: str) -> str:
        """Make (or find) a custody wallet's key in the vault; return its address, checksummed."""
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


class SubjectHashes(Protocol):
    """Keyed hashes, so that no identity stands on chain; :class:`kernel.sealing.Sealer` gives them."""

    async def blind_index(self, name: str, value: str) -> str:
        """32 bytes as hex; the same value gives the same text under one name. Raises VaultUnavailable."""
        ...
