"""Wallets of those who may hold, and the claims that stand for them on chain (CH-06, CH-16)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.ports import Claims
from fintokenx.lifecycle.tokenisation.service import sending
from fintokenx.lifecycle.tokenisation.service.reads import locked_chain_transaction
from fintokenx.lifecycle.tokenisation.transitions import WALLET
from fintokenx.lifecycle.tokenisation.types import ChainTransaction, Kind, UnknownWallet, Wallet
from fintokenx.parties import auth

CLAIMS_OF_ACTIVE: Final = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
CLAIMS_LIFE: Final = timedelta(days=365)
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
    if (under_way := await store.identity_under_way(tx, wallet.id)) is not None:
        return under_way
    claims = CLAIMS_OF_ACTIVE if subject.state in _VOUCHED_FOR else Claims(0)
    if wallet.claims == claims:
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
    move = audit.Move((store.new_chain_tx(promise),))
    await audit.change(tx, caller, action="CLAIMS_REQUEST", resource=subject_id, move=move)
    return promise


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
