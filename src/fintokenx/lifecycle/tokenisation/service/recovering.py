"""A lost wallet and the way of its holdings to the subject's next one, by order of the MLRO (CH-17).

Asked for by one officer, decided by another as a case of the MLRO queue; from the approval on the lost wallet is
nobody's to use. A job does the rest, one transaction of the chain after the other, and finds here what is next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.service import identity
from fintokenx.lifecycle.tokenisation.service.reads import locked_token
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.transitions import (
    OFFICERS,
    RECOVERY,
    TOKEN,
    WALLET,
    RecoveryEvent,
    RecoveryState,
    TokenEvent,
    TokenState,
    WalletEvent,
)
from fintokenx.lifecycle.tokenisation.types import (
    Kind,
    Recovery,
    RecoveryUnderWay,
    Token,
    UnknownRecovery,
    UnknownWallet,
    Wallet,
    WalletNotOnChain,
)
from fintokenx.parties import auth, compliance

CASE_REASON: Final = "WALLET_RECOVERY"
RECOVER_JOB: Final = "tokenisation.recover"
_UNDER_WAY: Final = (RecoveryState.APPROVED, RecoveryState.MOVING, RecoveryState.RETIRING)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An approved recovery that is not at its end."""

    recovery: Recovery
    lost: Wallet


@dataclass(frozen=True, slots=True)
class Step:
    """What a recovery does next on chain, or what it has to wait for first."""

    promise: chainwork.ChainTransaction | None
    waits_for: str = ""
    waits_for_people: bool = False
    """Nobody vouches for the subject, and nothing that the platform does by itself changes that."""


async def request(tx: Tx, caller: Caller, *, subject_id: str, reason: str) -> Recovery:
    """Ask that a subject's wallet be given up and its holdings moved to its next one. Opens a case for the MLRO.

    :raises UnknownSubject, UnknownWallet: none in this tenant
    :raises WalletNotOnChain: it was never registered, so there is nothing that could be lost
    :raises RecoveryUnderWay: asked for already
    """
    caller.must_be(*OFFICERS, tenant_id=tx.tenant_id)
    await auth.subject(tx, subject_id)
    await store.lock(tx, "wallet", subject_id)
    if await store.open_recovery(tx, subject_id) is not None:
        raise RecoveryUnderWay
    lost = await store.wallet_of(tx, subject_id)
    if lost is None:
        raise UnknownWallet
    if lost.registered_at is None:
        raise WalletNotOnChain
    line = RECOVERY.next(NOTHING, RecoveryEvent.REQUEST)
    recovery_id = tx.ids.new("rec")
    case, opened = await compliance.open_case(
        tx,
        caller,
        subject_id=subject_id,
        resource=recovery_id,
        reason=CASE_REASON,
    )
    wanted = Recovery(
        tenant_id=tx.tenant_id,
        id=recovery_id,
        subject_id=subject_id,
        lost_wallet_id=lost.id,
        new_wallet_id=None,
        case_id=case.id,
        reason=reason,
        state=line.target,
        requested_at=tx.at,
        requested_by=caller.actor,
    )
    # The case first: the recovery points at it.
    move = opened + audit.Changes((store.new_recovery(wanted),))
    await audit.change(tx, caller, action=line.action, resource=subject_id, move=move)
    return wanted


async def decided(tx: Tx, caller: Caller, *, case_id: str) -> None:
    """Do what the MLRO has just decided, in the transaction of the decision; nothing for another module's case.

    :raises FourEyes: whoever asked does not decide
    :raises WrongRole: not the MLRO's decision
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    case = await compliance.case_of(tx, caller, case_id=case_id)
    known = await store.recovery(tx, case.resource) if case.reason == CASE_REASON else None
    if known is None:
        return
    await _refuse_unfit_decider(tx, known, case)
    await store.lock(tx, "wallet", known.subject_id)
    approved = case.decision == compliance.Decision.APPROVE.value
    line = RECOVERY.next(known.state, RecoveryEvent.APPROVE if approved else RecoveryEvent.DECLINE)
    rows = [store.changed_recovery(known, state=line.target, decided_at=tx.at, decided_by=case.decided_by)]
    if approved:
        lost = await _wallet(tx, known.lost_wallet_id)
        rows.append(store.changed_wallet(lost, state=WALLET.next(lost.state, WalletEvent.LOSE).target))
        tx.enqueue(RECOVER_JOB, {"recovery_id": known.id}, dedupe_key=known.id)
    await audit.change(tx, caller, action=line.action, resource=known.subject_id, move=audit.Changes(tuple(rows)))


async def _refuse_unfit_decider(tx: Tx, known: Recovery, case: compliance.Case) -> None:
    if case.decided_by is None or case.decided_by == known.requested_by:
        raise auth.FourEyes
    decider = await auth.find_subject(tx, case.decided_by)
    if decider is None or decider.role is not Role.MLRO:
        raise WrongRole("the recovery of a wallet needs the role mlro")


async def recovery(tx: Tx, caller: Caller, *, recovery_id: str) -> Recovery:
    """One recovery. :raises UnknownRecovery: none in the caller's tenant"""
    caller.must_be(*OFFICERS, tenant_id=tx.tenant_id)
    return await _recovery(tx, recovery_id)


async def recoveries(tx: Tx, caller: Caller, *, state: str | None, after: str, limit: int) -> list[Recovery]:
    """All of the tenant, oldest first; ended ones stay."""
    caller.must_be(*OFFICERS, tenant_id=tx.tenant_id)
    return await store.recoveries(tx, state=state, after=after, limit=limit)


async def all_under_way(tx: Tx, caller: Caller, *, limit: int = 200) -> list[Recovery]:
    """Approved and not at their end: what a job must be at."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await store.recoveries_under_way(tx, limit=limit)


async def under_way(tx: Tx, caller: Caller, *, recovery_id: str) -> UnderWay | None:
    """The recovery and its wallets; None when there is nothing to do for it, or nothing any more."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await _recovery(tx, recovery_id)
    if known.state not in _UNDER_WAY:
        return None
    return UnderWay(known, await _wallet(tx, known.lost_wallet_id))


async def next_step(tx: Tx, caller: Caller, *, recovery_id: str, tokens_max: int) -> Step:
    """What is to be done on chain now: the step that is promised and not confirmed, or the next one, promised here.

    Holdings move when nothing is on its way to or from the lost wallet, and the next wallet may receive. When none is
    left in the lost wallet, it leaves the registry. ``tokens_max`` bounds the gas of one step.
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await _locked(tx, recovery_id)
    if known.state not in _UNDER_WAY:
        return Step(None)
    last = await promises.last_step(tx, known.lost_wallet_id)
    if last is not None and last.state != chainwork.ChainTxState.CONFIRMED:
        return Step(last)
    lost, new = await _wallet(tx, known.lost_wallet_id), await store.wallet_of(tx, known.subject_id)
    if new is None or (waits_for := await _waits_for(tx, lost, new)):
        barred = not identity.is_vouched_for(await auth.subject(tx, known.subject_id))
        return Step(None, waits_for if new else "there is no next wallet yet", waits_for_people=barred)
    left = await store.held_in(tx, lost, limit=tokens_max)
    if left or last is None:  # the first also retires a wallet that holds nothing
        return Step(await _promised(tx, caller, known, lost, new, await _moving(tx, lost, left)))
    return Step(await _removal(tx, caller, known, lost))


async def _waits_for(tx: Tx, lost: Wallet, new: Wallet) -> str:
    """Why nothing may move yet; empty when it may."""
    if not new.registered:
        return "the next wallet may not receive yet"
    if lost.claims:
        return "the registry still vouches for the lost wallet"
    in_flight = await promises.moves_in_flight(tx, lost)
    return f"on the way to or from the lost wallet: {', '.join(in_flight[:5])}" if in_flight else ""


async def _moving(tx: Tx, lost: Wallet, tokens: list[Token]) -> list[dict[str, Any]]:
    """What goes over: the whole of a token, or the parts of it that the wallet holds."""
    found = []
    for token in tokens:
        pieces = await store.slices_in(tx, lost, token.reference)
        pence = sum(piece.face.value for piece in pieces) or token.face.value
        found.append({"token_reference": token.reference, "token_id_hex": token.token_id_hex, "pence": pence})
    return found


async def _promised(
    tx: Tx, caller: Caller, known: Recovery, lost: Wallet, new: Wallet, moving: list[dict[str, Any]]
) -> chainwork.ChainTransaction:
    line = RECOVERY.next(known.state, RecoveryEvent.MOVE)
    promise = chainwork.new_promise(
        tx,
        kind=Kind.RECOVERY,
        business_key=f"recovery:{known.id}:{await promises.words(tx, lost.id) + 1}",
        resource=known.subject_id,
        arguments={"recovery_id": known.id, "from_wallet": lost.address, "to_wallet": new.address, "moving": moving},
        wallet_id=lost.id,
    )
    rows = (store.changed_recovery(known, state=line.target, new_wallet_id=new.id), chainwork.promised_row(promise))
    await audit.change(tx, caller, action=line.action, resource=known.subject_id, move=audit.Changes(rows))
    return promise


async def _removal(tx: Tx, caller: Caller, known: Recovery, lost: Wallet) -> chainwork.ChainTransaction:
    line = RECOVERY.next(known.state, RecoveryEvent.RETIRE)
    promise = chainwork.new_promise(
        tx,
        kind=Kind.REMOVAL,
        business_key=f"removal:{known.id}",
        resource=known.subject_id,
        arguments={"recovery_id": known.id, "wallet": lost.address},
        wallet_id=lost.id,
    )
    rows = (store.changed_recovery(known, state=line.target), chainwork.promised_row(promise))
    await audit.change(tx, caller, action=line.action, resource=known.subject_id, move=audit.Changes(rows))
    return promise


async def moved(tx: Tx, caller: Caller, *, business_key: str, mined: chainwork.Mined) -> None:
    """The chain has moved the holdings: the tokens' rows say so in the entry of the confirmation. Told again, nothing
    happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    promise = await chainwork.locked_promise(tx, business_key)
    if promise.state == chainwork.ChainTxState.CONFIRMED:
        return
    references = sorted(each["token_reference"] for each in promise.arguments["moving"])
    tokens = [await locked_token(tx, reference) for reference in references]
    known = await _locked(tx, promise.arguments["recovery_id"])
    lost, new = await _wallet(tx, known.lost_wallet_id), await _wallet(tx, known.new_wallet_id or "")
    rows = [chainwork.confirmed_row(tx, promise, mined, even_if_refused=True)]
    for token in tokens:
        rows += await _over(tx, token, lost, new)
    await audit.change(tx, caller, action="TOKEN_RECOVER", resource=promise.resource, move=audit.Changes(tuple(rows)))


async def _over(tx: Tx, token: Token, lost: Wallet, new: Wallet) -> list[audit.RowChange]:
    """The rows of one token, its parts or itself; of one that was burned meanwhile none, for it went from the wallet
    that its row names."""
    if token.state == TokenState.BURNED:
        return []
    if pieces := await store.slices_in(tx, lost, token.reference):
        return [store.changed_slice(piece, holder_wallet=new.address) for piece in pieces]
    state = TOKEN.next(token.state, TokenEvent.RECOVER).target
    return [store.changed_token(token, state=state, holder_wallet=new.address)]


async def retired(tx: Tx, caller: Caller, *, business_key: str, mined: chainwork.Mined) -> None:
    """The lost wallet has left the registry: the recovery is complete. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    promise = await chainwork.locked_promise(tx, business_key)
    if promise.state == chainwork.ChainTxState.CONFIRMED:
        return
    known = await _locked(tx, promise.arguments["recovery_id"])
    lost = await _wallet(tx, known.lost_wallet_id)
    line = RECOVERY.next(known.state, RecoveryEvent.RETIRED)
    rows = (
        chainwork.confirmed_row(tx, promise, mined, even_if_refused=True),
        store.changed_wallet(lost, state=WALLET.next(lost.state, WalletEvent.RETIRE).target),
        store.changed_recovery(known, state=line.target, completed_at=tx.at),
    )
    await audit.change(tx, caller, action=line.action, resource=promise.resource, move=audit.Changes(rows))


async def _recovery(tx: Tx, recovery_id: str) -> Recovery:
    if (found := await store.recovery(tx, recovery_id)) is None:
        raise UnknownRecovery
    return found


async def _locked(tx: Tx, recovery_id: str) -> Recovery:
    """Under the lock of its subject's wallets."""
    await store.lock(tx, "wallet", (await _recovery(tx, recovery_id)).subject_id)
    return await _recovery(tx, recovery_id)


async def _wallet(tx: Tx, wallet_id: str) -> Wallet:
    if (found := await store.wallet(tx, wallet_id)) is None:
        raise UnknownWallet
    return found
