"""The confirmation that the chain's sanctions list is complete: a promise like any other (CH-14, TK-12)."""

from __future__ import annotations

from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING
from fintokenx.lifecycle.tokenisation import store
from fintokenx.lifecycle.tokenisation.service import sending
from fintokenx.lifecycle.tokenisation.service.reads import locked_chain_transaction
from fintokenx.lifecycle.tokenisation.transitions import CHAIN_TX
from fintokenx.lifecycle.tokenisation.types import ChainTransaction, Kind

RESOURCE: Final = "sanctions_list"
"""Under what its entries are recorded: there is one list."""


async def refresh_known(tx: Tx, caller: Caller, *, business_key: str) -> ChainTransaction | None:
    """What was promised under this key, or else an earlier confirmation that the chain has not answered."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await store.chain_tx(tx, business_key) or await store.refresh_under_way(tx)
    return None if known is not None and known.state == "REVERTED" and known.business_key != business_key else known


async def refresh(tx: Tx, caller: Caller, *, business_key: str, as_of_unix: int) -> ChainTransaction:
    """Promise to tell the chain that its list was complete at a moment; one that it refused gives way. One at a time.

    :param as_of_unix: the time of a block that was there before the lists were asked
    :returns: what is promised now: this, or an earlier one that the chain has not answered
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock(tx, "sanctions", RESOURCE)
    if (known := await refresh_known(tx, caller, business_key=business_key)) is not None:
        return known
    promise = sending.promise(
        tx,
        kind=Kind.REFRESH,
        business_key=business_key,
        resource=RESOURCE,
        arguments={"as_of_unix": as_of_unix},
    )
    rows = [store.new_chain_tx(promise)]
    if (refused := await store.refresh_under_way(tx)) is not None:
        target = CHAIN_TX.next(refused.state, "supersede by refresh").target
        rows.insert(0, store.changed_chain_tx(refused, state=target))
    action = CHAIN_TX.next(NOTHING, "promise refresh").action
    await audit.change(tx, caller, action=action, resource=RESOURCE, move=audit.Move(tuple(rows)))
    tx.enqueue("tokenisation.confirm_list", {"business_key": business_key}, dedupe_key=promise.id)
    return promise


async def refreshed(tx: Tx, caller: Caller, *, business_key: str, mined: sending.Mined) -> None:
    """The chain knows. Told again, nothing happens."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    known = await locked_chain_transaction(tx, business_key)
    if known.state == "CONFIRMED":
        return
    line = CHAIN_TX.next(known.state, "refresh")
    move = audit.Move((sending.confirmation(tx, known, mined, "refresh"),))
    await audit.change(tx, caller, action=line.action, resource=known.resource, move=move)
