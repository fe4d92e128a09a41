"""What one holder has and what happened to it, on chain and in the database side by side; of nobody else (CH-03).

The chain is asked while no transaction is open: first the block, then the wallets' own logs up to it, then the
database, then the balances at that block. So whatever the block holds the database knows of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fintokenx.lifecycle import chainwork, tokenisation
from fintokenx.lifecycle.chainwork.ports import ChainHead, StateNotKept
from fintokenx.lifecycle.explorer.ports import EventKind, Held, WalletEvent
from fintokenx.lifecycle.explorer.service.holder import (
    Details,
    OfHolder,
    details,
    names_only,
    of_holder,
    row_of_promise,
    row_of_slice,
    row_of_token,
)
from fintokenx.lifecycle.explorer.service.seen import Events, EventSeen, Holdings, HoldingSeen, OwnSlice, Viewer
from fintokenx.lifecycle.explorer.types import Agreement, Counterparty, Direction
from fintokenx.lifecycle.tokenisation import Book, UnknownToken, expected
from fintokenx.lifecycle.tokenisation.ports import Holding

TRIES_MAX: Final = 5
"""How many blocks may pass out of a node's memory before it counts as one that cannot be asked."""

# --- doors ---


async def holdings(viewer: Viewer, *, after: str | None, limit: int, reference: str | None = None) -> Holdings:
    """What the holder has, or had, a page at a time; with ``reference`` that token alone.

    :raises WrongRole, NotYourHoldings: the caller sees no holdings, or not these
    :raises UnknownWallet, UnknownToken: none that the caller may see
    :raises ChainUnavailable: the network does not answer; the database's word alone is not given for the chain's
    """
    theirs = await _of_viewer(viewer, reference)
    if not theirs.wallets:
        return Holdings(None, (), None)
    afresh = False
    for remaining in reversed(range(TRIES_MAX)):
        at = await viewer.chain.head()
        events = await viewer.chain.events(at.number, theirs.wallets, afresh=afresh)
        ids = await _ids(viewer, theirs, events, reference)
        page = [each for each in ids if after is None or each > after][:limit]
        known = await _details(viewer, page, at=at)
        asked = [(int(each, 16), wallet) for each in page for wallet in theirs.wallets]
        try:
            held = await viewer.chain.held(at.number, asked)
        except StateNotKept:
            if not remaining:
                raise
            continue
        if remaining and not afresh and any(_added_up(events, each) != held[each].balance_pence for each in asked):
            afresh = True  # a node that lags behind may have kept logs from us
            continue
        seen = _seen(theirs, known, asked, _Chain(at, await viewer.chain.minting_wallet(), held, events))
        return Holdings(at, seen, page[-1] if page and page[-1] != ids[-1] else None)
    raise AssertionError("the last try returns or raises")


async def events(viewer: Viewer, *, after: str | None, limit: int, reference: str | None = None) -> Events:
    """What happened to the holder's wallets, newest first, a page at a time; with ``reference`` to that token alone.

    :raises WrongRole, NotYourHoldings, UnknownWallet, UnknownToken, ChainUnavailable: as :func:`holdings`
    """
    theirs = await _of_viewer(viewer, reference)
    if not theirs.wallets:
        return Events(None, (), None)
    at = await viewer.chain.head()
    found = await viewer.chain.events(at.number, theirs.wallets)
    wanted = set(await _ids(viewer, theirs, found, reference))
    following = [
        event
        for event in reversed(found)
        if _hex(event) in wanted and (after is None or event.place < tuple(map(int, after.split("-"))))
    ]
    page = following[:limit]
    known = await _details(viewer, sorted({_hex(event) for event in page}), at=at)
    minting_wallet = await viewer.chain.minting_wallet()
    items = tuple(_told(event, theirs, known, minting_wallet) for event in page)
    return Events(at, items, "-".join(map(str, page[-1].place)) if len(following) > limit else None)


async def _of_viewer(viewer: Viewer, reference: str | None) -> OfHolder:
    theirs = await viewer.run(lambda tx: of_holder(tx, viewer.caller, holder_subject_id=viewer.holder_subject_id))
    if not theirs.wallets and reference is not None:
        raise UnknownToken
    return theirs


async def _ids(viewer: Viewer, theirs: OfHolder, events: Sequence[WalletEvent], reference: str | None) -> list[str]:
    """All tokens of the holder by their id on chain, or the one that was asked for. One that is not the holder's is
    answered as one that nobody has."""
    ids = sorted({*map(_hex, events), *theirs.token_ids})
    if reference is None:
        return ids
    wanted = await viewer.run(lambda tx: tokenisation.find_token(tx, viewer.caller, reference=reference))
    if wanted is None or wanted.token_id_hex not in ids:
        raise UnknownToken
    return [wanted.token_id_hex]


async def _details(viewer: Viewer, token_ids: list[str], *, at: ChainHead) -> Details:
    return await viewer.run(lambda tx: details(tx, viewer.caller, token_ids=token_ids, block_number=at.number))


def _hex(event: WalletEvent) -> str:
    return f"0x{event.token_id:064x}"


def _added_up(events: Sequence[WalletEvent], holding: Holding) -> int:
    """What the wallet's own logs come to."""
    token_id, wallet = holding
    total: Counter[str | None] = Counter()
    for event in events:
        if event.token_id == token_id and event.kind is not EventKind.FREEZE:
            total[event.to_wallet] += event.amount_pence
            total[event.from_wallet] -= event.amount_pence
    return total[wallet]


@dataclass(frozen=True, slots=True)
class _Chain:
    """What the chain said."""

    at: ChainHead
    minting_wallet: str
    held: Mapping[Holding, Held]
    events: Sequence[WalletEvent]


def _seen(theirs: OfHolder, known: Details, asked: Sequence[Holding], chain: _Chain) -> tuple[HoldingSeen, ...]:
    book = Book(list(known.tokens.values()), known.slices, (), known.undecided)
    wanted = {
        each.token.token_id: each for each in expected(book, at=chain.at, minting_wallet=chain.minting_wallet).tokens
    }
    passed_through = {
        (event.token_id, wallet) for event in chain.events for wallet in (event.from_wallet, event.to_wallet)
    }
    found = []
    for holding in asked:
        token_id, wallet = holding
        token, held = known.tokens.get(token_id), chain.held[holding]
        ways = [way.holdings.get(wallet, 0) for way in wanted[token_id].standings] if token else [0]
        if holding not in passed_through and not (held.balance_pence or any(ways)):
            continue  # another wallet of the holder has or had it
        if held.balance_pence not in ways or _added_up(chain.events, holding) != held.balance_pence:
            agreement = Agreement.DIFFERS
        else:
            agreement = Agreement.EQUAL if held.balance_pence == ways[0] else Agreement.IN_FLIGHT
        slices = [piece for piece in known.slices if token and piece.token_reference == token.reference]
        own = tuple(
            OwnSlice(piece, known.behind.get(row_of_slice(piece, token.invoice_reference)))
            for piece in slices
            if token and theirs.subject_id == piece.holder_subject_id and wallet == piece.holder_wallet
        )
        behind = known.behind.get(row_of_token(token)) if token else None
        found.append(HoldingSeen(token_id, wallet, token, ways[0], held, agreement, own, behind))
    return tuple(found)


def _told(event: WalletEvent, theirs: OfHolder, known: Details, minting_wallet: str) -> EventSeen:
    confirmed = (each for each in known.transactions if each.state == chainwork.ChainTxState.CONFIRMED)
    promise = next((each for each in confirmed if each.tx_hash == event.tx_hash), None)
    behind = known.behind.get(row_of_promise(promise)) if promise else None
    token = known.tokens.get(event.token_id)
    own = promise is not None and names_only(promise, own=theirs.wallets, minting_wallet=minting_wallet)
    direction = _direction(event, theirs.wallets)
    return EventSeen(
        event=event,
        token=token,
        direction=direction,
        counterparty=_counterparty(event, direction, minting_wallet),
        behind=behind,
        provable=behind is not None and behind.sealed and own,
    )


def _direction(event: WalletEvent, wallets: Sequence[str]) -> Direction:
    if event.kind is EventKind.FREEZE:
        return Direction.NONE
    if event.from_wallet in wallets:
        return Direction.WITHIN if event.to_wallet in wallets else Direction.OUT
    return Direction.IN


def _counterparty(event: WalletEvent, direction: Direction, minting_wallet: str) -> Counterparty:
    other = event.from_wallet if direction is Direction.IN else event.to_wallet
    if direction is Direction.NONE or other is None:
        return Counterparty.NOBODY
    if direction is Direction.WITHIN:
        return Counterparty.OWN_WALLET
    return Counterparty.MINTING_WALLET if other == minting_wallet else Counterparty.ANOTHER_HOLDER
