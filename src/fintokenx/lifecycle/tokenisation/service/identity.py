"""Wallets of those who may hold, and the claims that stand for them on chain (CH-06, CH-16)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.ports import Claims
from fintokenx.lifecycle.tokenisation.service import sending
from fintokenx.lifecycle.tokenisation.service.reads import locked_chain_transaction
from fintokenx.lifecycle.tokenisation.transitions import CHAIN_TX, WALLET
from fintokenx.lifecycle.tokenisation.types import ChainTransaction, Kind, UnknownWallet, Wallet
from fintokenx.parties import auth

CLAIMS_OF_ACTIVE: Final = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
CLAIMS_LIFE: Final = timedelta(days=365)
RENEWED_BEFORE: Final = timedelta(days=30)
"""Claims that end within this time are written anew, so that no holder falls off the registry."""
HOLDERS: Final = (Role.LENDER, Role.INVESTOR)
_VOUCHED_FOR: Final = ("ACTIVE", "SUSPENDED")
"""A suspended subject does no new business, but is who it is; frozen or declined it loses its claims (CH-16)."""


def key_name_of(tenant_id: str, subject_id: str) -> str:
    """Where a wallet's key lies in the vault."""
    return f"wallet/{tenant_id}/{subject_id}"


async def may_hold(tx: Tx, caller: Caller, *, subject_id: str) -> bool:
    """Whether the subject's role holds tokens at all."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return (await auth.subject(tx, subject_id)).role in HOLDERS


async def keep_wallet(tx: Tx, caller: Caller, *, subject_id: str, address: str) -> Wallet:
    """Record a custody wallet whose key the vault has made; the one that is there already."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, "wallet", subject_id)
    if (known := await store.wallet_of(tx, subject_id)) is not None:
        return known
    line = WALLET.next(NOTHING, "create")
    wallet = Wallet(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("wal"),
        subject_id=subject_id,
        address=address,
        key_name=key_name_of(tx.tenant_id, subject_id),
        claims=0,
        claims_expire_at=None,
        state=line.target,
        created_at=tx.at,
        registered_at=None,
    )
    await audit.change(
        tx, caller, action=line.action, resource=subject_id, move=audit.Move((store.new_wallet(wallet),))
    )
    return wallet


async def wanted(tx: Tx, caller: Caller, *, subject_id: str) -> ChainTransaction | None:
    """The registration that makes the chain say what we know of the subject now, promised if it is not under way.

    :returns: a registration that is under way (perhaps an earlier one: ask again afterwards); None when chain and
        platform agree
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, "wallet", subject_id)
    subject = await auth.subject(tx, subject_id)
    wallet = await store.wallet_of(tx, subject_id)
    if wallet is None:
        return None
    claims = _claims_of(subject)
    under_way = await store.identity_under_way(tx, wallet.id)
    if under_way is not None and not _is_stale(under_way, claims, tx.at):
        return under_way
    if not _differs(wallet, claims, tx.at):
        return None
    number = await store.identities(tx, wallet.id) + 1
    promise = sending.promise(
        tx,
        kind=Kind.IDENTITY,
        business_key=f"identity:{wallet.id}:{number}",
        resource=subject_id,
        arguments={
            "wallet": wallet.address,
            "claims": int(claims),
            "is_investor": subject.role is Role.INVESTOR,
            "expires_at_unix": int((tx.at + CLAIMS_LIFE).timestamp()),
        },
        wallet_id=wallet.id,
    )
    given_up: tuple[audit.RowChange, ...] = ()
    if under_way is not None:
        line = CHAIN_TX.next(under_way.state, "supersede")
        given_up = (store.changed_chain_tx(under_way, state=line.target),)
    move = audit.Move((*given_up, store.new_chain_tx(promise)))
    await audit.change(tx, caller, action="CLAIMS_REQUEST", resource=subject_id, move=move)
    return promise


def _claims_of(subject: auth.Subject) -> Claims:
    return CLAIMS_OF_ACTIVE if subject.state in _VOUCHED_FOR else Claims(0)


def _differs(wallet: Wallet, claims: Claims, at: Instant) -> bool:
    """Whether the registry must be told: other claims, or the same that end soon."""
    if wallet.claims != claims:
        return True
    return wallet.claims_expire_at is not None and wallet.claims_expire_at - at < RENEWED_BEFORE


def _is_stale(refused: ChainTransaction, claims: Claims, at: Instant) -> bool:
    """Whether a registration that the chain refused says what is no longer wanted. One that may still take effect is
    never stale: it is waited for, and what is wanted then is looked at again."""
    if refused.state != "REVERTED":
        return False
    ends_soon = refused.promised_at + CLAIMS_LIFE - at < RENEWED_BEFORE
    return int(refused.arguments["claims"]) != claims or (bool(claims) and ends_soon)


async def out_of_date(tx: Tx, caller: Caller, *, after: str, limit: int = 100) -> tuple[list[Wallet], str]:
    """Of the next ``limit`` wallets after the id ``after``, those of which the registry does not say what we know now,
    or not for long; and from where to go on (empty: from the first)."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    looked_at = await store.wallets(tx, after=after, limit=limit)
    found = [
        wallet for wallet in looked_at if _differs(wallet, _claims_of(await auth.subject(tx, wallet.subject_id)), tx.at)
    ]
    return found, looked_at[-1].id if len(looked_at) == limit else ""


async def without_wallet(tx: Tx, caller: Caller, *, subjects: Sequence[auth.Subject]) -> list[auth.Subject]:
    """Those of ``subjects`` for whom no wallet was made yet."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    bare = await store.without_wallet(tx, [subject.id for subject in subjects])
    return [subject for subject in subjects if subject.id in bare]


async def registered(tx: Tx, caller: Caller, *, business_key: str, mined: sending.Mined) -> None:
    """The registry holds the claims, or holds them no more. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await locked_chain_transaction(tx, business_key)
    if known.state == "CONFIRMED":
        return
    wallet = await store.wallet_of(tx, known.resource)
    if wallet is None:
        raise UnknownWallet
    claims = int(known.arguments["claims"])
    line = WALLET.next(wallet.state, "issue" if claims else "revoke")
    after = {
        "state": line.target,
        "claims": claims,
        "claims_expire_at": known.promised_at + CLAIMS_LIFE if claims else None,
        "registered_at": wallet.registered_at or tx.at,
    }
    confirmed = sending.confirmation(tx, known, mined, "issue claims" if claims else "revoke claims")
    rows = (confirmed, store.changed_wallet(wallet, **after))
    await audit.change(tx, caller, action=line.action, resource=known.resource, move=audit.Move(rows))
