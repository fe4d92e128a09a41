"""The comparison alone, on pictures of what is under way: transfers, claims, recoveries, flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.tokenisation import DriftKind, Kind, Token
from fintokenx.lifecycle.tokenisation.ports import StandingIdentity
from fintokenx.lifecycle.tokenisation.service.chain_audit.reconciliation import waiting_too_long
from fintokenx.lifecycle.tokenisation.types import Book
from tests.reconciliation.pictures import (
    ANN,
    BEN,
    BURNED,
    EVE,
    FACE,
    GONE,
    MINTED,
    MINTING,
    REFERENCE,
    REVOKED,
    SLICES,
    SPLIT,
    STRIPPED,
    THEN,
    TOKEN,
    TOLD,
    UNKNOWN,
    UNTOLD,
    VOUCHED,
    WALLET,
    compared,
    promise,
    telling,
)

WANTED = replace(MINTED, state="MINT_SUBMITTED", holder_wallet=None, minted_at=None)

BURNING = replace(TOKEN, state="BURN_PENDING")


def transfer(state: str, *, block: int | None = None) -> ChainTransaction:
    """Of the whole token, from the minting wallet to Ann."""
    return promise(Kind.TRANSFER, state, block=block, from_wallet=MINTING, to_wallet=ANN, to_subject_id="sub_ann")


# ── In flight: as before or as after, and not otherwise


def whole(wallet: str) -> dict[str, Any]:
    """The whole of the token in a wallet."""
    return {"balances": {(1, wallet): FACE}}


NOTHING = {"receivables": {}, "balances": {}}

BURNT = {"receivables": {1: GONE}, "balances": {}}

OPEN = ("PROMISED", "RESERVED", "SIGNED")


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize(
    ("token", "way", "ends", "otherwise"),
    [
        (WANTED, lambda state: promise(Kind.MINT, state), (NOTHING, whole(MINTING)), whole(EVE)),
        (MINTED, transfer, (whole(MINTING), whole(ANN)), whole(EVE)),
        (BURNING, lambda state: promise(Kind.BURN, state, holders=[ANN]), (whole(ANN), BURNT), whole(EVE)),
    ],
)
def test_a_token_in_flight_stands_as_before_or_as_after(
    state: str, token: Token, way: Callable[[str], ChainTransaction], ends: tuple[dict[str, Any], ...],
    otherwise: dict[str, Any],
) -> None:  # fmt: skip
    promises = (TOLD, way(state))
    for end in ends:
        found = compared(tokens=(token,), promises=promises, **end)
        assert (found.drifts, found.in_flight) == ((), 1)
    assert not compared(tokens=(token,), promises=promises, **otherwise).equal


@pytest.mark.parametrize(
    ("token", "way", "before"),
    [
        (MINTED, promise(Kind.MINT, "CONFIRMED", block=101), NOTHING),
        (TOKEN, transfer("CONFIRMED", block=101), whole(MINTING)),
        (BURNED, promise(Kind.BURN, "CONFIRMED", block=101, holders=[ANN]), whole(ANN)),
    ],
)
def test_what_was_confirmed_after_the_block_is_not_missed_in_it(
    token: Token, way: ChainTransaction, before: dict[str, Any]
) -> None:
    found = compared(tokens=(token,), promises=(TOLD, way), **before)
    assert (found.drifts, found.in_flight) == ((), 1)
    by_then = replace(way, block_number=100)
    assert not compared(tokens=(token,), promises=(TOLD, by_then), **before).equal


def test_a_transfer_that_is_confirmed_and_not_taken_up_has_left_the_minting_wallet() -> None:
    told = {"tokens": (MINTED,), "promises": (TOLD, transfer("CONFIRMED", block=99))}
    found = compared(**told, **whole(ANN))
    assert (found.drifts, found.in_flight) == ((), 1)
    assert {drift.kind for drift in compared(**told, **whole(MINTING)).drifts} == {DriftKind.HOLDING}


def test_a_transfer_that_was_refused_has_not_moved_anything() -> None:
    told = {"tokens": (MINTED,), "promises": (TOLD, transfer("REVERTED", block=99))}
    assert compared(**told, **whole(MINTING)).equal
    assert not compared(**told, **whole(ANN)).equal


def test_a_token_that_was_never_asked_for_does_not_exist() -> None:
    assert compared(tokens=(WANTED,), **NOTHING).equal
    assert not compared(tokens=(WANTED,), **whole(MINTING)).equal


@pytest.mark.parametrize("state", [*OPEN, "REVERTED"])
def test_claims_in_flight_stand_as_before_or_as_after(state: str) -> None:
    promises = (TOLD, telling(0, state))
    for end in (VOUCHED, STRIPPED):
        found = compared(promises=promises, identities={ANN: end})
        assert (found.drifts, found.in_flight) == ((), 1)
    assert not compared(promises=promises, identities={ANN: replace(VOUCHED, claims=5)}).equal
    found = compared(wallets=(UNTOLD,), promises=(telling(7, state),), identities={ANN: VOUCHED})
    assert (found.drifts, found.in_flight) == ((), 1)


def test_claims_that_were_confirmed_after_the_block_are_not_missed_in_it() -> None:
    late = telling(0, "CONFIRMED", block=101)
    for end in (VOUCHED, STRIPPED):
        assert compared(wallets=(REVOKED,), promises=(TOLD, late), identities={ANN: end}).equal
    first = replace(TOLD, block_number=101)
    assert compared(promises=(first,), identities={}).equal
    assert not compared(wallets=(REVOKED,), promises=(TOLD, replace(late, block_number=100))).equal


# ── Recoveries and flags

LOST = replace(REVOKED, state="LOST")

NEXT = replace(WALLET, id="wal_eve", address=EVE)
"""Ann's next wallet."""

RETIRED = replace(REVOKED, state="RETIRED")

MOVED = replace(TOKEN, holder_wallet=EVE)


def recovery(state: str, *, block: int | None = None, pence: int = FACE) -> ChainTransaction:
    """Of what Ann's lost wallet holds of the token."""
    moving = [{"token_reference": REFERENCE, "token_id_hex": TOKEN.token_id_hex, "pence": pence}]
    arguments = {"recovery_id": "rec_1", "from_wallet": ANN, "to_wallet": EVE, "moving": moving}
    return promise(Kind.RECOVERY, state, block=block, **arguments)


@pytest.mark.parametrize("holder", [ANN, EVE])
@pytest.mark.parametrize(
    ("token", "promised"),
    [(TOKEN, recovery("SIGNED")), (TOKEN, recovery("REVERTED", block=90)), (MOVED, recovery("CONFIRMED", block=101))],
)
def test_while_a_recovery_is_under_way_either_wallet_may_hold(
    token: Token, promised: ChainTransaction, holder: str
) -> None:
    found = compared(tokens=(token,), promises=(TOLD, promised), balances={(1, holder): FACE})
    assert (found.drifts, found.in_flight) == ((), 1)


def test_a_recovery_under_way_excuses_no_third_holder_and_no_missing_penny() -> None:
    promises = (TOLD, recovery("SIGNED"))
    assert not compared(promises=promises, balances={(1, BEN): FACE}).equal
    assert not compared(promises=promises, balances={(1, EVE): FACE - 1}).equal
    assert not compared(promises=promises, balances={(1, EVE): FACE - 1, (1, ANN): 1}).equal


@pytest.mark.parametrize("holder", [ANN, EVE])
def test_of_a_split_token_only_the_lost_wallets_parts_may_be_in_either(holder: str) -> None:
    promises = (TOLD, recovery("SIGNED", pence=4_500))
    balances = {(1, holder): 4_500, (1, BEN): 1_500}
    assert compared(tokens=(SPLIT,), slices=SLICES, promises=promises, balances=balances).equal
    assert not compared(
        tokens=(SPLIT,), slices=SLICES, promises=promises, balances={(1, holder): 4_000, (1, BEN): 2_000}
    ).equal


def test_a_retired_wallet_must_be_out_of_the_registry() -> None:
    wallets, identities = (RETIRED, NEXT), {ANN: UNKNOWN, EVE: VOUCHED}
    here: dict[str, Any] = {"tokens": (MOVED,), "balances": {(1, EVE): FACE}, "wallets": wallets}
    removed = promise(Kind.REMOVAL, "CONFIRMED", block=50, recovery_id="rec_1", wallet=ANN)
    of_next = replace(TOLD, wallet_id="wal_eve")
    assert compared(**here, promises=(TOLD, removed, of_next), identities=identities).equal
    found = compared(**here, promises=(TOLD, removed, of_next), identities={**identities, ANN: STRIPPED})
    assert [drift.kind for drift in found.drifts] == [DriftKind.WALLET_REGISTRATION, DriftKind.WALLET_COUNTRY]


@pytest.mark.parametrize("stands", [STRIPPED, UNKNOWN])
def test_while_a_wallet_is_being_removed_it_may_be_registered_or_not(stands: StandingIdentity) -> None:
    removing = promise(Kind.REMOVAL, "SIGNED", recovery_id="rec_1", wallet=ANN)
    revoked = telling(0, "CONFIRMED", block=20)
    found = compared(
        tokens=(MOVED,),
        balances={(1, EVE): FACE},
        wallets=(LOST, NEXT),
        promises=(TOLD, revoked, removing, replace(TOLD, wallet_id="wal_eve")),
        identities={ANN: stands, EVE: VOUCHED},
    )
    assert (found.drifts, found.in_flight) == ((), 1)


def test_a_flag_is_compared_and_may_be_either_while_it_is_on_its_way() -> None:
    flagged = {ANN: replace(VOUCHED, flagged=True)}
    assert [drift.kind for drift in compared(identities=flagged).drifts] == [DriftKind.WALLET_FLAG]
    named = (replace(WALLET, flagged_at=THEN),)
    assert compared(wallets=named, identities=flagged).equal
    assert [drift.kind for drift in compared(wallets=named).drifts] == [DriftKind.WALLET_FLAG]
    under_way = (TOLD, promise(Kind.FLAG, "SIGNED", wallet=ANN, flagged=True))
    assert compared(promises=under_way, identities=flagged).equal
    assert compared(promises=under_way).equal


@pytest.mark.parametrize("state", ["PROMISED", "RESERVED", "SIGNED", "CONFIRMED", "REVERTED", "SUPERSEDED"])
def test_what_the_chain_has_not_answered_for_long_is_named_and_what_it_has_is_not(state: str) -> None:
    reserved = replace(promise(Kind.MINT, state), sender=ANN, nonce=7)
    book = Book([], [], [], [reserved])
    late = waiting_too_long(book, before=THEN + timedelta(seconds=1))
    assert [drift.kind for drift in late] == (
        [DriftKind.WAITING] if state in ("PROMISED", "RESERVED", "SIGNED") else []
    )
    assert all(f"nonce 7 of {ANN}" in drift.told() and "waits too long mint key" in drift.told() for drift in late)
    assert waiting_too_long(book, before=THEN) == ()
