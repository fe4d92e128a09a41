"""Which entries of the record tell a holder of its own transfers, and of nobody else's."""

from __future__ import annotations

import json
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.explorer.ports import ChainHistory
from fintokenx.lifecycle.explorer.service.holder import may_prove

ACTIONS: Final = frozenset({"TOKEN_TRANSFER", "TOKEN_BURN", "TOKEN_RECOVER"})
"""Their diffs hold what stands on chain anyway, and the states that follow from it. A recovery's names the lost and the
new wallet of one subject; of a shared token it changes that subject's slices alone."""


class OwnEntries:
    """audit's ``Own`` port. What it does not know is nobody's own."""

    def __init__(self, chain: ChainHistory) -> None:
        self._chain = chain

    async def __call__(self, tx: Tx, caller: Caller, entry: audit.Entry) -> bool:
        """Whether the entry confirms a chain transaction of the caller's wallet that names no other holder's."""
        if entry.action not in ACTIONS:
            return False
        confirmed = [
            row["key"]["id"]
            for row in json.loads(entry.diff)["rows"]
            if (row["table"], row["op"]) == ("chain_tx", "update")
            and row["after"]["state"] == chainwork.ChainTxState.CONFIRMED
        ]
        minting_wallet = await self._chain.minting_wallet()
        return bool(confirmed) and all(
            [await may_prove(tx, caller, transaction_id=each, minting_wallet=minting_wallet) for each in confirmed]
        )
