"""Money: disbursements, collections, the statement of the account."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.jobs import Job, Periodic
from fintokenx.lifecycle.settlement import SettlementJobs, http, reactions
from fintokenx.lifecycle.settlement.carries import CARRIES
from fintokenx.lifecycle.settlement.ports import AccountInformation, FasterPayments, TokenTransfers
from fintokenx.lifecycle.settlement.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module
from fintokenx.web.services import Services

SEEN_WITHIN: Final = timedelta(minutes=15)
"""Money that nobody expects is seen so soon; what somebody expects, within seconds."""


class Needs(Protocol):
    """What it takes from the process."""

    @property
    def payments(self) -> FasterPayments: ...

    @property
    def accounts(self) -> AccountInformation: ...

    @property
    def tokens(self) -> TokenTransfers: ...


def _jobs(needs: Needs, _services: Services) -> tuple[Job, ...]:
    return SettlementJobs(needs.payments, needs.accounts, needs.tokens).jobs()


MODULE: Final = Module[Needs](
    name="settlement",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    jobs=_jobs,
    periodic=(
        Periodic("settlement.collect", timedelta(seconds=5), each_tenant=True, resting=SEEN_WITHIN),
        Periodic("settlement.check_balance", timedelta(minutes=1), each_tenant=True, resting=SEEN_WITHIN),
        Periodic("settlement.resume", timedelta(minutes=5), each_tenant=True, resting=timedelta(hours=1)),
    ),
)
