"""The officers who may give a wallet up, beside a house of tokens."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.money import ZERO
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.tokenisation.service import recovering
from fintokenx.parties import compliance
from tests.modules.tokens_house import (
    TENANT,
    House,
    let_tests_seed,
    subject_row,
    tenant_row,
)
from tests.support import World
from tests.support.fakes.chain import LedgerChain, address_of

REASON = "The signing device was stolen on the train."
RATIONALE = compliance.Rationale("sealed:v1:nobody", "0" * 64)
APPROVE, DECLINE = compliance.Decision.APPROVE, compliance.Decision.DECLINE


@dataclass
class Office:
    """The house of tokenisation, and the officers who may give a wallet up."""

    house: House
    asker: Caller
    decider: Caller
    clerk: Caller

    async def request(self, by: Caller | None = None, subject_id: str = "") -> tokenisation.Recovery:
        async with self.house.tx() as tx:
            return await recovering.request(
                tx, by or self.asker, subject_id=subject_id or self.house.lender, reason=REASON
            )

    async def decide(
        self, known: tokenisation.Recovery, decision: compliance.Decision = APPROVE, by: Caller | None = None
    ) -> None:
        async with self.house.tx() as tx:
            await compliance.decide(
                tx, by or self.decider, case_id=known.case_id, decision=decision, rationale=RATIONALE
            )

    async def approved(self) -> tokenisation.Recovery:
        known = await self.request()
        await self.decide(known)
        return known

    async def recovered(self) -> tokenisation.Recovery:
        known = await self.approved()
        await self.house.until_idle()
        return await self.look(known)

    async def look(self, known: tokenisation.Recovery) -> tokenisation.Recovery:
        async with self.house.tx() as tx:
            return await recovering.recovery(tx, self.asker, recovery_id=known.id)

    async def state(self, known: tokenisation.Recovery) -> str:
        return (await self.look(known)).state

    async def wallets(self) -> list[tuple[str, str]]:
        """Key and state of every wallet that the lender ever had."""
        async with self.house.tx() as tx:
            rows = await tx.rows(
                "select key_name, state from app.wallets where subject_id = $1 order by created_at, id",
                self.house.lender,
            )
        return [(row["key_name"], row["state"]) for row in rows]

    async def until(self, known: tokenisation.Recovery, *states: str) -> None:
        """Block by block, until it stands in one of these; what it does there is in no block yet."""
        chain = self.house.chain
        chain.automine = False

        async def there() -> bool:
            if await self.state(known) in states:
                return True
            chain.mine()
            return False

        await self.house.work_until(there)
        chain.automine = True

    def key(self, generation: int) -> str:
        first = f"wallet/{TENANT}/{self.house.lender}"
        return first if generation == 1 else f"{first}/{generation}"

    def holding(self, generation: int, token: tokenisation.Token) -> int:
        return self.house.chain.contracts.holdings.get((address_of(self.key(generation)), token.token_id), ZERO).value


def officer(world: World, role: Role) -> Caller:
    subject_id = world.ids.new("sub")
    return Caller(TENANT, role, subject_id, subject_id=subject_id, aal=2)


async def recovery_office(world: World) -> Office:
    """A house of tokens with two MLROs and an officer; ``world`` must have tokenisation's reactions."""
    await let_tests_seed(world)
    seller, buyer, lender = (world.ids.new("sub") for _ in range(3))
    house = House(world, LedgerChain(), seller, buyer, lender)
    officers = [officer(world, role) for role in (Role.MLRO, Role.MLRO, Role.COMPLIANCE)]
    await house.seed(
        tenant_row(world),
        subject_row(world, seller, "seller"),
        subject_row(world, buyer, "buyer"),
        subject_row(world, lender, "lender"),
        *(subject_row(world, each.actor, each.role.value) for each in officers),
    )
    return Office(house, *officers)
