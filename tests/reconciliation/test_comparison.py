"""The comparison alone, on pictures of database and chain: each kind of drift, and everything that is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.tokenisation import Drift, DriftKind
from tests.reconciliation.pictures import (
    ALIVE,
    ANN,
    BEN,
    BURNED,
    CONTRACT,
    DOCUMENT,
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
    UNKNOWN,
    UNTOLD,
    VOUCHED,
    WALLET,
    compared,
)


def test_what_agrees_is_no_drift_and_everything_was_looked_at() -> None:
    found = compared()
    assert found.equal
    assert (found.block_number, found.tokens, found.holdings, found.wallets) == (100, 1, 1, 1)
    assert (found.events, found.in_flight) == (9, 0)


@pytest.mark.parametrize(
    ("told", "chain"),
    [
        ({"tokens": (MINTED,)}, {"balances": {(1, MINTING): FACE}}),
        ({"tokens": (BURNED,)}, {"balances": {}, "receivables": {1: GONE}}),
        ({"tokens": (BURNED,), "slices": SLICES}, {"balances": {}, "receivables": {1: GONE}}),
        ({"tokens": (SPLIT,), "slices": SLICES}, {"balances": {(1, ANN): 4_500, (1, BEN): 1_500}}),
        ({"wallets": (UNTOLD,), "promises": ()}, {"identities": {}}),
        ({"wallets": (REVOKED,)}, {"identities": {ANN: STRIPPED}}),
        ({}, {"identities": {ANN: VOUCHED, MINTING: VOUCHED, EVE: UNKNOWN}}),
    ],
)  # fmt: skip
def test_every_settled_state_of_token_and_wallet_has_its_standing(told: dict[str, Any], chain: dict[str, Any]) -> None:
    found = compared(**told, **chain)
    assert (found.drifts, found.in_flight) == ((), 0)


def test_claims_that_have_ended_are_not_verified_and_no_drift() -> None:
    ended = datetime(2026, 6, 2, 9, 0, 59, tzinfo=UTC)
    stale = replace(VOUCHED, verified=False, expires_at_unix=int(ended.timestamp()))
    wallet = replace(WALLET, claims_expire_at=ended)
    assert compared(wallets=(wallet,), identities={ANN: stale}).equal
    [drift] = compared(wallets=(wallet,), identities={ANN: replace(stale, verified=True)}).drifts
    assert drift.kind is DriftKind.WALLET_VERIFIED


HOLDER, ANNS = f"{REFERENCE} {ANN}", f"sub_ann {ANN}"


@pytest.mark.parametrize(
    ("told", "kind", "resource", "database", "chain"),
    [
        ({"receivables": {}, "balances": {}}, "TOKEN_EXISTENCE", REFERENCE, "minted (HELD)", "not minted"),
        ({"contract": EVE}, "TOKEN_CONTRACT", REFERENCE, CONTRACT, EVE),
        ({"receivables": {1: replace(ALIVE, face_pence=7_000)}}, "TOKEN_FACE", REFERENCE, "£60.00", "£70.00"),
        ({"receivables": {1: replace(ALIVE, supply_pence=2**90)}}, "TOKEN_SUPPLY", REFERENCE, "£60.00",
         f"{2**90} pence"),
        ({"receivables": {1: replace(ALIVE, due_at_unix=2**40 - 1)}}, "TOKEN_DUE", REFERENCE, "2026-07-31T00:00:00Z",
         "second 1099511627775"),
        ({"receivables": {1: replace(ALIVE, document_sha256="cd" * 32)}}, "TOKEN_DOCUMENT", REFERENCE, DOCUMENT,
         "cd" * 32),
        ({"tokens": (BURNED,), "balances": {}, "receivables": {1: replace(GONE, burned=False)}}, "TOKEN_BURN",
         REFERENCE, "burned", "not burned"),
        ({"tokens": (BURNED,), "balances": {(1, EVE): 5}, "receivables": {1: GONE}}, "HOLDING", f"{REFERENCE} {EVE}",
         "£0.00", "£0.05"),
        ({"log": {(1, ANN): 1}}, "HOLDING_LOG", HOLDER, "£0.01", "£60.00"),
        ({"identities": {ANN: replace(VOUCHED, verified=False)}}, "WALLET_VERIFIED", ANNS, "verified", "not verified"),
        ({"identities": {ANN: replace(VOUCHED, claims=5)}}, "WALLET_CLAIMS", ANNS,
         "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", "KYC_VERIFIED, JURISDICTION_UK"),
        ({"identities": {ANN: replace(VOUCHED, claims=7 + 64)}}, "WALLET_CLAIMS", ANNS,
         "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", "KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK, bits 0x40"),
        ({"identities": {ANN: replace(VOUCHED, expires_at_unix=2**63)}}, "WALLET_EXPIRY", ANNS, "2027-06-02T09:00:00Z",
         f"second {2**63}"),
        ({"identities": {ANN: replace(VOUCHED, is_investor=True)}}, "WALLET_ROLE", ANNS, "no investor", "investor"),
        ({"identities": {ANN: replace(VOUCHED, country=250)}}, "WALLET_COUNTRY", ANNS, "826", "250"),
    ],
)  # fmt: skip
def test_each_kind_of_drift_is_named(told: dict[str, Any], kind: str, resource: str, database: str, chain: str) -> None:
    assert compared(**told).drifts == (Drift(DriftKind[kind], resource, database, chain, "tnt_a"),)


def test_a_balance_that_moved_is_named_at_both_ends() -> None:
    found = compared(balances={(1, ANN): 0, (1, EVE): FACE})
    assert [(drift.resource, drift.database, drift.chain) for drift in found.drifts] == [
        (f"{REFERENCE} {ANN}", "£60.00", "£0.00"),
        (f"{REFERENCE} {EVE}", "£0.00", "£60.00"),
    ]
    assert {drift.kind for drift in found.drifts} == {DriftKind.HOLDING}


def test_slices_are_named_where_their_sum_is_not_what_the_wallet_holds() -> None:
    wrong = (SLICES[0], replace(SLICES[1], face=Pence(1_499)), SLICES[2])
    found = compared(tokens=(SPLIT,), slices=wrong, balances={(1, ANN): 4_500, (1, BEN): 1_500})
    assert found.drifts == (Drift(DriftKind.HOLDING, f"{REFERENCE} {BEN}", "£14.99 (slc_2)", "£15.00", "tnt_a"),)
    stolen = (*SLICES[:2], replace(SLICES[2], holder_wallet=EVE))
    found = compared(tokens=(SPLIT,), slices=stolen, balances={(1, ANN): 4_500, (1, BEN): 1_500})
    assert [(drift.resource, drift.database) for drift in found.drifts] == [
        (f"{REFERENCE} {ANN}", "£40.00 (slc_1)"),
        (f"{REFERENCE} {EVE}", "£5.00 (slc_3)"),
    ]


def test_a_revoked_claim_is_named_with_all_that_it_takes_away() -> None:
    found = compared(identities={ANN: STRIPPED})
    assert [drift.kind for drift in found.drifts] == [
        DriftKind.WALLET_VERIFIED, DriftKind.WALLET_CLAIMS, DriftKind.WALLET_EXPIRY,
    ]  # fmt: skip
    assert found.drifts[1].told() == (
        f"wallet claims sub_ann {ANN}: the database says KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK, "
        "the chain says none"
    )


def test_a_wallet_that_is_gone_from_the_registry_is_named() -> None:
    found = compared(identities={})
    assert found.drifts[0] == Drift(DriftKind.WALLET_REGISTRATION, ANNS, "registered", "not registered", "tnt_a")


def test_tokens_and_wallets_that_the_database_does_not_know_are_named() -> None:
    found = compared(
        receivables={1: ALIVE, 255: replace(ALIVE, face_pence=100)},
        balances={(1, ANN): FACE, (255, EVE): 100},
        identities={ANN: VOUCHED, EVE: VOUCHED},
    )
    assert found.drifts == (
        Drift(DriftKind.UNKNOWN_TOKEN, f"0x{255:064x}", "no such token", f"face £1.00, held by {EVE} £1.00", None),
        Drift(DriftKind.UNKNOWN_WALLET, EVE, "no such wallet",
              "registered with KYC_VERIFIED, AML_CLEARED, JURISDICTION_UK", None),
    )  # fmt: skip


def test_the_log_of_a_strangers_token_must_add_up_too() -> None:
    found = compared(
        receivables={1: ALIVE, 2: ALIVE}, balances={(1, ANN): FACE, (2, EVE): 7}, log={(1, ANN): FACE, (2, EVE): 8}
    )
    assert (DriftKind.HOLDING_LOG, f"0x{2:064x} {EVE}") in [(drift.kind, drift.resource) for drift in found.drifts]
