"""The recovery of a lost wallet on a real chain, asked for and approved; and a client that dies on the way."""

from __future__ import annotations

from collections.abc import Sequence

from fintokenx.adapters.chain import ChainClient
from fintokenx.kernel.caller import Caller, Role
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import Call, RecoverWallet
from fintokenx.lifecycle.tokenisation.service import recovering
from fintokenx.parties import compliance
from tests.modules.recovery_office import RATIONALE, REASON
from tests.modules.tokens_house import TENANT, subject_row
from tests.reconciliation.house import Town
from tests.support.fakes.chain import Crash


async def approved(town: Town, lender: str) -> str:
    """The recovery of a lender's wallet, asked for by one officer and approved by another; its id."""
    asker, decider = (town.world.ids.new("sub") for _ in range(2))
    await town.house.seed(*(subject_row(town.world, each, "mlro") for each in (asker, decider)))
    callers = [Caller(TENANT, Role.MLRO, each, subject_id=each) for each in (asker, decider)]
    async with town.house.tx() as tx:
        known = await recovering.request(tx, callers[0], subject_id=lender, reason=REASON)
    async with town.house.tx() as tx:
        await compliance.decide(
            tx, callers[1], case_id=known.case_id, decision=compliance.Decision.APPROVE, rationale=RATIONALE
        )
    return known.id


async def state_of(town: Town, recovery_id: str) -> str:
    async with town.house.tx() as tx:
        caller = Caller(TENANT, Role.MLRO, "sub_x", subject_id="sub_x")
        return (await recovering.recovery(tx, caller, recovery_id=recovery_id)).state


class Dying(ChainClient):
    """The network's client in a process that dies right after the broadcast of a recovery."""

    fatal = b""
    dead = False

    async def sign(self, call: Call, nonce: int) -> SignedTransaction:
        """Remember the recovery."""
        signed = await super().sign(call, nonce)
        if isinstance(call, RecoverWallet):
            self.fatal = signed.raw
        return signed

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        """Send, and die of it."""
        refusals = await super().send_many(raws)
        if self.fatal in raws and not self.dead:
            self.dead = True
            raise Crash
        return refusals
