"""What must stand on chain at a block, by the database: one standing, or several while something is under way.

A transaction that may reach the chain at any moment, or that was confirmed after the block, is no drift and no excuse
either: the thing must then stand as it did before or as it will stand afterwards, and not otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.tokenisation.ports import UNITED_KINGDOM, StandingIdentity
from fintokenx.lifecycle.tokenisation.transitions import TokenState, WalletState
from fintokenx.lifecycle.tokenisation.types import Book, Kind, Slice, Token, Wallet

_UNREGISTERED: Final = StandingIdentity(False, False, 0, False, 0, 0)


@dataclass(frozen=True, slots=True)
class TokenStanding:
    """A receivable that lives, or does not."""

    exists: bool
    burned: bool
    holdings: Mapping[str, int]
    """Pence by wallet."""


_ABSENT: Final = TokenStanding(False, False, {})
_BURNED: Final = TokenStanding(True, True, {})


@dataclass(frozen=True, slots=True)
class ExpectedToken:
    """A token and how it may stand; the first way is that of its own row."""

    token: Token
    standings: tuple[TokenStanding, ...]
    slices: Sequence[Slice]
    in_flight: bool


@dataclass(frozen=True, slots=True)
class ExpectedWallet:
    """A wallet and what the registry may say of it; the first is what its own row says."""

    wallet: Wallet
    standings: tuple[StandingIdentity, ...]
    in_flight: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """All of it."""

    tokens: Sequence[ExpectedToken]
    wallets: Sequence[ExpectedWallet]


def expected(book: Book, *, at: ChainHead, minting_wallet: str) -> Expected:
    """How everything that the database knows may stand at a block. The database was read after the block was there:
    of all that the block holds it knew, because bytes are kept before they are sent."""
    slices: defaultdict[tuple[str, str], list[Slice]] = defaultdict(list)
    of_token: defaultdict[tuple[str, str], list[ChainTransaction]] = defaultdict(list)
    of_wallet: defaultdict[tuple[str, str | None], list[ChainTransaction]] = defaultdict(list)
    for piece in book.slices:
        slices[piece.tenant_id, piece.token_reference].append(piece)
    for promise in book.transactions:
        of_wallet[promise.tenant_id, promise.wallet_id].append(promise)
        for reference in _tokens_of(promise):
            of_token[promise.tenant_id, reference].append(promise)
    return Expected(
        [
            _token(token, slices[token.tenant_id, token.reference], of_token[token.tenant_id, token.reference], at,
                   minting_wallet)
            for token in book.tokens
        ],
        [_wallet(wallet, of_wallet[wallet.tenant_id, wallet.id], at) for wallet in book.wallets],
    )  # fmt: skip


def _tokens_of(promise: ChainTransaction) -> list[str]:
    if promise.kind == Kind.RECOVERY:
        return [each["token_reference"] for each in promise.arguments["moving"]]
    return [promise.token_reference] if promise.token_reference else []


def _is_pending(promise: ChainTransaction, at: ChainHead) -> bool:
    """Whether it may or may not have taken effect by the block. What was refused is tried again, but for transfers."""
    if promise.state == chainwork.ChainTxState.CONFIRMED:
        return promise.block_number is not None and promise.block_number > at.number
    return promise.kind != Kind.TRANSFER or promise.state != chainwork.ChainTxState.REVERTED


# --- tokens ---


def _token(
    token: Token, slices: Sequence[Slice], promises: Sequence[ChainTransaction], at: ChainHead, minting_wallet: str
) -> ExpectedToken:
    alive = _alive(token, slices)
    settled = _BURNED if token.state == TokenState.BURNED else alive
    moved = [each for each in promises if each.kind == Kind.TRANSFER and each.state == chainwork.ChainTxState.CONFIRMED]
    not_taken_up = token.state == TokenState.MINTED and bool(moved)
    if not_taken_up and not _is_pending(moved[-1], at):
        settled = _whole(token, moved[-1].arguments["to_wallet"])
    pending = [each for each in promises if _is_pending(each, at)]
    others = [way for each in pending for way in _before_and_after(token, alive, each, minting_wallet)]
    return ExpectedToken(token, (settled, *others), slices, bool(pending) or not_taken_up)


def _alive(token: Token, slices: Sequence[Slice]) -> TokenStanding:
    """Who holds it by its rows, or held it when it was burned."""
    if token.minted_at is None or token.holder_wallet is None:
        return _ABSENT
    if not slices:
        return _whole(token, token.holder_wallet)
    parts: Counter[str] = Counter()
    for piece in slices:
        parts[piece.holder_wallet] += piece.face.value
    return TokenStanding(True, False, parts)


def _whole(token: Token, wallet: str) -> TokenStanding:
    return TokenStanding(True, False, {wallet: token.face.value})


def _before_and_after(
    token: Token, alive: TokenStanding, promise: ChainTransaction, minting_wallet: str
) -> tuple[TokenStanding, ...]:
    match Kind(promise.kind):
        case Kind.MINT:
            return _ABSENT, _whole(token, minting_wallet)
        case Kind.TRANSFER:
            return tuple(_whole(token, promise.arguments[end]) for end in ("from_wallet", "to_wallet"))
        case Kind.BURN:
            return alive, _BURNED
        case Kind.RECOVERY:
            return _recovered(token, alive, promise)
        case Kind.IDENTITY | Kind.FLAG | Kind.REMOVAL | Kind.REFRESH:
            return ()


def _recovered(token: Token, alive: TokenStanding, promise: ChainTransaction) -> tuple[TokenStanding, ...]:
    """With the lost wallet and with the new one, whichever of them the rows name."""
    wanted = promise.arguments
    pence = next(each["pence"] for each in wanted["moving"] if each["token_reference"] == token.reference)
    lost, new = wanted["from_wallet"], wanted["to_wallet"]
    others = {wallet: held for wallet, held in alive.holdings.items() if wallet not in (lost, new)}
    bought = alive.holdings.get(lost, 0) + alive.holdings.get(new, 0) - pence
    """What the new wallet holds besides."""
    return tuple(
        TokenStanding(alive.exists, alive.burned, {w: held for w, held in (others | way).items() if held})
        for way in ({lost: pence, new: bought}, {new: pence + bought})
    )


# --- wallets ---


def _wallet(wallet: Wallet, promises: Sequence[ChainTransaction], at: ChainHead) -> ExpectedWallet:
    words = [each for each in promises if each.kind in (Kind.IDENTITY, Kind.REMOVAL)]
    flags = [each for each in promises if each.kind == Kind.FLAG]
    pending = [each for each in (*words, *flags) if _is_pending(each, at)]
    done = [each for each in words if each.state == chainwork.ChainTxState.CONFIRMED]
    by_then = [each for each in done if each not in pending]
    ways = [_by_the_row(wallet, done, at), *(_told(each, at) for each in words if each in pending)]
    if len(by_then) < len(done):  # its row is ahead of the block
        ways.append(_told(by_then[-1], at) if by_then else _UNREGISTERED)
    flagged = [wallet.flagged_at is not None]
    if any(each in pending for each in flags):
        flagged.append(not flagged[0])
    standings = tuple(replace(way, flagged=flag) for flag in flagged for way in ways)
    return ExpectedWallet(wallet, standings, bool(pending))


def _by_the_row(wallet: Wallet, done: Sequence[ChainTransaction], at: ChainHead) -> StandingIdentity:
    if wallet.registered_at is None or wallet.state == WalletState.RETIRED:
        return _UNREGISTERED
    expires_at_unix = int(wallet.claims_expire_at.timestamp()) if wallet.claims_expire_at else 0
    is_investor = bool(done and done[-1].arguments["is_investor"])
    return _registered(wallet.claims, is_investor, expires_at_unix, at)


def _told(promise: ChainTransaction, at: ChainHead) -> StandingIdentity:
    if promise.kind == Kind.REMOVAL:
        return _UNREGISTERED
    wanted = promise.arguments
    return _registered(wanted["claims"], wanted["is_investor"], wanted["expires_at_unix"], at)


def _registered(claims: int, is_investor: bool, expires_at_unix: int, at: ChainHead) -> StandingIdentity:
    live = claims != 0 and at.timestamp_unix < expires_at_unix
    return StandingIdentity(True, live, claims, is_investor, UNITED_KINGDOM, expires_at_unix if claims else 0)
