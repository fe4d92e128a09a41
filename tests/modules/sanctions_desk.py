"""The job that confirms the chain's sanctions list, beside the house of tokenisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fintokenx import audit
from fintokenx.desks.operations import sanctions
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.jobs import Work
from fintokenx.lifecycle.tokenisation.ports import RefreshSanctions
from fintokenx.parties import auth
from fintokenx.parties.kyc.ports import ScreeningAnswer, ScreeningName, Verdict
from tests.modules.tokens_house import TENANT, House

HOME = "tnt_fintokenx"


@dataclass
class Lists:
    """A provider that answers, or does not yet."""

    verdict: Verdict = Verdict.CLEAR

    async def screen(self, name: ScreeningName) -> ScreeningAnswer:
        return ScreeningAnswer(self.verdict, name.external_id, (), b"{}")


async def open_tenants() -> tuple[str, ...]:
    return HOME, TENANT


@dataclass
class Desk:
    """The house of tokenisation, and the job that confirms the list."""

    house: House
    lists: Lists = field(default_factory=Lists)

    @property
    def confirmed(self) -> list[int]:
        """As of when the chain was told that the list is complete, in the order of blocks."""
        calls = self.house.chain.mined_calls(RefreshSanctions)
        return [call.as_of_unix for call in calls if isinstance(call, RefreshSanctions)]

    async def promise(self, job_id: str = "") -> None:
        """One run of the periodic job."""
        world = self.house.world
        job = sanctions.SanctionsConfirmation(world.database, self.lists, self.house.chain, open_tenants)
        row: Any = {
            "id": job_id or world.ids.new("job"),
            "name": sanctions.JOB,
            "tenant_id": HOME,
            "attempts": 1,
            "lease": "x",
        }
        await job.confirm(Work(world.database, row), {})

    async def confirm(self) -> None:
        """One run of the periodic job, and what it promises is done."""
        await self.promise()
        await self.until_home_is_idle()

    async def until_home_is_idle(self) -> None:
        await self.house.work_until(self._home_is_idle)

    async def _home_is_idle(self) -> bool:
        return not await self.at_home("select count(*) from ops.jobs where state = 'READY'")

    async def at_home(self, question: str) -> Any:
        """One value under the platform's own tenant."""
        async with self.house.world.database.transaction(HOME) as tx:
            return await tx.value(question)

    async def states(self) -> list[str]:
        """Of every confirmation that was ever promised, oldest first."""
        asked = "select array_agg(state order by promised_at, id) from app.chain_tx where kind = 'refresh'"
        return list(await self.at_home(asked) or [])

    async def move(self, event: auth.SubjectEvent, reason: str = "") -> None:
        """As an officer's command does."""
        mlro = Caller(TENANT, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
        async with self.house.tx() as tx:
            move = await auth.advance(tx, mlro, subject_id=self.house.lender, event=event, reason=reason)
            await audit.change(tx, mlro, action=auth.action_of(event), resource=self.house.lender, move=move)
