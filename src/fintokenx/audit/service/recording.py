"""The only way to change a domain row: the entry first, then its rows."""

from __future__ import annotations

from fintokenx.audit import store
from fintokenx.audit.types import Changes
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.db import Tx


async def change(
    tx: Tx,
    caller: Caller,
    *,
    action: str,
    resource: str,
    move: Changes,
) -> str:
    """Record an entry and apply its rows, in that order, in the caller's transaction; then tell the facts.

    The rows become the entry's diff and are applied by the function that a replay uses, so state is the fold of
    the record (P-05, P-06). In-step reactions run here and may refuse; the others become jobs of this transaction,
    one per entry and reaction.

    :returns: the entry's id
    :raises StaleRow: a row is no longer as ``before`` says
    """
    entry_id = tx.ids.new("aud")
    diff = {
        "facts": [{"fact": fact.name(), **fact.payload()} for fact in move.facts],
        "rows": [row.wire() for row in move.rows],
    }
    await store.record_and_apply(
        tx,
        (
            entry_id,
            tx.at,
            action,
            caller.actor,
            str(caller.role),
            caller.on_behalf_of,
            resource,
            tx.request_id,
            canonical_json(diff).decode(),
        ),
    )
    for number, fact in enumerate(move.facts):
        for reaction in tx.reactions.in_step_with(fact):
            await reaction.react(tx, fact)
        for later in tx.reactions.after(fact):
            tx.enqueue(later.job, fact.payload(), dedupe_key=f"{entry_id}:{number}")
    return entry_id
