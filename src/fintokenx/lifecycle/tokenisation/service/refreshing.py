"""The confirmation that the chain's sanctions list is complete: a promise like any other (CH-14, TK-12)."""

from __future__ import annotations

from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.store import promises
from fintokenx.lifecycle.tokenisation.types import Kind

RESOURCE: Final = "sanctions_list"
"""Under what its entries are recorded: there is one list."""


async def refresh_known(tx: Tx, caller: Caller, *, business_key: str) -> chainwork.ChainTransaction | None:
    """What was promised under this key, or else an earlier confirmation that the chain has not answered."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await chainwork.find_promise(tx, business_key) or await promises.refresh_under_way(tx)
    return (
        None
        if known is not None and known.state == chainwork.ChainTxState.REVERTED and known.business_key != business_key
        else known
    )


async def refresh(tx: Tx, caller: Caller, *, business_key: str, as_of_unix: int) -> chainwork.ChainTransaction:
    """Promise to tell the chain that its list was complete at a moment; one that it refused gives way. One at a time.

    :param as_of_unix: the time of a block that was there before the lists were asked
    :returns: what is promised now: this, or an earlier one that the chain has not answered
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, "sanctions", RESOURCE)
    if (known := await refresh_known(tx, caller, business_key=business_key)) is not None:
        return known
    promise = chainwork.new_promise(
        tx,
        kind=Kind.REFRESH,
        business_key=business_key,
        resource=RESOURCE,
        arguments={"as_of_unix": as_of_unix},
    )
    rows = [chainwork.promised_row(promise)]
    if (refused := await promises.refresh_under_way(tx)) is not None:
        rows.insert(0, chainwork.superseded_row(refused))
    await audit.change(
        tx, caller, action="SANCTIONS_CONFIRM_REQUEST", resource=RESOURCE, move=audit.Changes(tuple(rows))
    )
    tx.enqueue("tokenisation.confirm_list", {"business_key": business_key}, dedupe_key=promise.id)
    return promise


async def refreshed(tx: Tx, caller: Caller, *, business_key: str, mined: chainwork.Mined) -> None:
    """The chain knows. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await chainwork.locked_promise(tx, business_key)
    if known.state == chainwork.ChainTxState.CONFIRMED:
        return
    move = audit.Changes((chainwork.confirmed_row(tx, known, mined),))
    await audit.change(tx, caller, action="SANCTIONS_CONFIRM", resource=known.resource, move=move)
