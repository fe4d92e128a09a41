"""Wallets of those who may hold, and what the chain says of them: claims, and sanctions flags (CH-06, CH-14, CH-16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant, from_wire, to_wire
from fintokenx.kernel.db import StaleRow, Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.ports import Claims
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.transitions import WALLET, WalletEvent, WalletState
from fintokenx.lifecycle.tokenisation.types import Kind, UnknownWallet, Wallet
from fintokenx.parties import auth, kyc

CLAIMS_OF_ACTIVE: Final = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
HOLDERS: Final = (Role.LENDER, Role.INVESTOR)


def key_name_of(tenant_id: str, subject_id: str, generation: int) -> str:
    """Where a wallet's key lies in the vault. ``generation`` counts a subject's wallets from 1; a lost one is followed
    by the next."""
    first = f"wallet/{tenant_id}/{subject_id}"
    return first if generation == 1 else f"{first}/{generation}"


async def key_wanted(tx: Tx, caller: Caller, *, subject_id: str) -> str | None:
    """The vault's name of the key of the wallet that the subject uses, or will use next; None for somebody who does not
    hold tokens, or has no wallet and whom nobody vouches for."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    subject = await auth.subject(tx, subject_id)
    if subject.role not in HOLDERS:
        return None
    used = await store.wallet_of(tx, subject_id)
    if used is not None:
        return used.key_name
    return await _next_key(tx, subject_id) if is_vouched_for(subject) else None


async def _next_key(tx: Tx, subject_id: str) -> str:
    return key_name_of(tx.tenant_id, subject_id, len(await store.wallets_of(tx, subject_id)) + 1)


async def lost_wallets(tx: Tx, caller: Caller, *, subject_id: str) -> list[Wallet]:
    """Those that the subject uses no longer and that stand in the registry all the same, oldest first."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return [wallet for wallet in await store.wallets_of(tx, subject_id) if wallet.state == WalletState.LOST]


async def keep_wallet(tx: Tx, caller: Caller, *, subject_id: str, key_name: str, address: str) -> Wallet:
    """Record a custody wallet whose key the vault has made; the one that is in use already.

    :raises StaleRow: a wallet was lost meanwhile, and the next one has another key
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, "wallet", subject_id)
    if (known := await store.wallet_of(tx, subject_id)) is not None:
        return known
    if key_name != await _next_key(tx, subject_id):
        raise StaleRow("the subject's next wallet has another key")
    line = WALLET.next(NOTHING, WalletEvent.CREATE)
    wallet = Wallet(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("wal"),
        subject_id=subject_id,
        address=address,
        key_name=key_name,
        claims=0,
        claims_expire_at=None,
        state=line.target,
        created_at=tx.at,
        registered_at=None,
    )
    await audit.change(
        tx, caller, action=line.action, resource=subject_id, move=audit.Changes((store.new_wallet(wallet),))
    )
    return wallet


async def wanted(tx: Tx, caller: Caller, *, wallet_id: str) -> chainwork.ChainTransaction | None:
    """What makes the chain say of a wallet what we know now, promised if it is not under way: a flag of the sanctions
    list first, then claims, then the end of a flag. One at a time, so that the chain hears them in this order.

    :returns: what is under way (perhaps an earlier word: ask again afterwards); None when chain and platform agree
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    named = await _wallet(tx, wallet_id)
    await store.lock(tx, "wallet", named.subject_id)
    wallet = await _wallet(tx, wallet_id)
    subject = await auth.subject(tx, wallet.subject_id)
    word = _word_wanted(wallet, subject, tx.at)
    under_way = await promises.word_under_way(tx, wallet.id)
    if under_way is not None and not _is_stale(under_way, word, wallet, subject, tx.at):
        return under_way
    if word is None:
        return None
    number = await promises.words(tx, wallet.id) + 1
    promise = chainwork.new_promise(
        tx,
        kind=word,
        business_key=f"{word}:{wallet.id}:{number}",
        resource=wallet.subject_id,
        arguments=_arguments(word, wallet, subject, tx.at),
        wallet_id=wallet.id,
    )
    given_up: tuple[audit.RowChange, ...] = ()
    if under_way is not None:
        given_up = (chainwork.superseded_row(under_way),)
    action = "SANCTIONS_FLAG_REQUEST" if word is Kind.FLAG else "CLAIMS_REQUEST"
    move = audit.Changes((*given_up, chainwork.promised_row(promise)))
    await audit.change(tx, caller, action=action, resource=wallet.subject_id, move=move)
    return promise


def _word_wanted(wallet: Wallet, subject: auth.Subject, at: Instant) -> Kind | None:
    """Of what the chain must be told next: a hit before anything else, its end last."""
    if subject.is_sanctioned and wallet.flagged_at is None:
        return Kind.FLAG
    if _differs(wallet, subject, at):
        return Kind.IDENTITY
    return Kind.FLAG if wallet.flagged_at is not None and not subject.is_sanctioned else None


def _arguments(word: Kind, wallet: Wallet, subject: auth.Subject, at: Instant) -> dict[str, Any]:
    if word is Kind.FLAG:
        return {"wallet": wallet.address, "flagged": subject.is_sanctioned}
    checked_at = _checked_at(wallet, subject, at)
    return {
        "wallet": wallet.address,
        "claims": int(claims_of(wallet, subject, at)),
        "is_investor": subject.role is Role.INVESTOR,
        "checked_at": to_wire(checked_at) if checked_at else None,
        "expires_at_unix": int((checked_at + kyc.CHECKS_HOLD).timestamp()) if checked_at else 0,
    }


def is_vouched_for(subject: auth.Subject) -> bool:
    """Whether the platform tells the chain that it knows the subject."""
    return subject.state in kyc.VOUCHED_FOR


def claims_of(wallet: Wallet, subject: auth.Subject, at: Instant) -> Claims:
    """What the chain is to vouch for: of a wallet that is lost, and of a subject whose checks are too old, nothing."""
    in_use = wallet.state not in (WalletState.LOST, WalletState.RETIRED)
    return CLAIMS_OF_ACTIVE if in_use and is_vouched_for(subject) and kyc.is_cleared(subject, at) else Claims(0)


def _checked_at(wallet: Wallet, subject: auth.Subject, at: Instant) -> Instant | None:
    """Of the checks on which the wallet's claims are to rest; None when it is to have none."""
    return subject.cleared_at if claims_of(wallet, subject, at) else None


def _differs(wallet: Wallet, subject: auth.Subject, at: Instant) -> bool:
    """Whether the registry must be told: other claims, or the same after another check."""
    if wallet.claims != claims_of(wallet, subject, at):
        return True
    return wallet.claims != 0 and wallet.checked_at != subject.cleared_at


def _is_stale(
    refused: chainwork.ChainTransaction, word: Kind | None, wallet: Wallet, subject: auth.Subject, at: Instant
) -> bool:
    """Whether something that the chain refused says what is no longer wanted. What may still take effect is never
    stale: it is waited for, and what is wanted then is looked at again."""
    if refused.state != chainwork.ChainTxState.REVERTED:
        return False
    if word is not None and refused.kind != word:
        return True
    if refused.kind == Kind.FLAG:
        return bool(refused.arguments["flagged"]) != subject.is_sanctioned
    wanted = _arguments(Kind.IDENTITY, wallet, subject, at)
    return any(refused.arguments.get(name) != wanted[name] for name in ("claims", "checked_at"))


async def _wallet(tx: Tx, wallet_id: str) -> Wallet:
    if (found := await store.wallet(tx, wallet_id)) is None:
        raise UnknownWallet
    return found


@dataclass(frozen=True, slots=True)
class Walked:
    """What a look at some wallets found."""

    out_of_date: list[Wallet]
    """Those of which the chain does not say what we know now."""
    renewal_due: list[auth.Subject]
    """Whose claims end soon, or have ended, for want of a check that is young enough."""
    go_on_after: str
    """The id after which to go on; empty: from the first."""


async def walked(tx: Tx, caller: Caller, *, after: str, limit: int = 100) -> Walked:
    """Look at the next ``limit`` wallets after the id ``after``."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    looked_at = await store.wallets(tx, after=after, limit=limit)
    found = Walked([], [], looked_at[-1].id if len(looked_at) == limit else "")
    for wallet in looked_at:
        subject = await auth.subject(tx, wallet.subject_id)
        if _word_wanted(wallet, subject, tx.at) is not None:
            found.out_of_date.append(wallet)
        if wallet.state not in (WalletState.LOST, WalletState.RETIRED) and kyc.is_renewal_due(subject, tx.at):
            found.renewal_due.append(subject)
    return found


async def without_wallet(tx: Tx, caller: Caller, *, subjects: Sequence[auth.Subject]) -> list[auth.Subject]:
    """Those of ``subjects`` for whom no wallet was made yet."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    bare = await store.without_wallet(tx, [subject.id for subject in subjects])
    return [subject for subject in subjects if subject.id in bare]


async def unflagged(tx: Tx, caller: Caller) -> list[str]:
    """Subjects whom a sanctions list names and of whom the chain's own list does not name every wallet yet, a lost one
    included, for it may still hold: until it does, nobody may confirm that list as complete."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.with_unflagged_wallet(tx, await auth.sanctioned(tx))


async def told(tx: Tx, caller: Caller, *, business_key: str, mined: chainwork.Mined) -> None:
    """The chain says of the wallet what it was to say. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await chainwork.locked_promise(tx, business_key)
    if known.state == chainwork.ChainTxState.CONFIRMED:
        return
    await store.lock(tx, "wallet", known.resource)
    wallet = await _wallet(tx, known.wallet_id or "")
    if known.kind == Kind.FLAG:
        action = "SANCTIONS_FLAG"
        after: dict[str, Any] = {"flagged_at": tx.at if known.arguments["flagged"] else None}
    else:
        claims = int(known.arguments["claims"])
        moved = WALLET.next(wallet.state, WalletEvent.ISSUE if claims else WalletEvent.REVOKE)
        action = moved.action
        after = {
            "state": moved.target,
            "claims": claims,
            "checked_at": from_wire(known.arguments["checked_at"]) if claims else None,
            "claims_expire_at": datetime.fromtimestamp(known.arguments["expires_at_unix"], UTC) if claims else None,
            "registered_at": wallet.registered_at or tx.at,
        }
    rows = (chainwork.confirmed_row(tx, known, mined), store.changed_wallet(wallet, **after))
    await audit.change(tx, caller, action=action, resource=known.resource, move=audit.Changes(rows))
