"""Money: disbursements, collections, the statement of the account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Protocol

from fintokenx.kernel.jobs import Handler, Job, Lane, Periodic
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


def _handlers(needs: Needs, _services: Services) -> Mapping[str, Handler]:
    return SettlementJobs(needs.payments, needs.accounts, needs.tokens).handlers()


_NAMES: Final = (
    "disburse", "pay", "token_moved", "token_refused", "follow_token", "await_seller_credit", "collect",
    "check_balance", "allocate", "release_held", "resume",
)  # fmt: skip

MODULE: Final = Module[Needs](
    name="settlement",
    routers=(http.router,),
    machines=MACHINES,
    actions=ACTIONS,
    carries=CARRIES,
    in_step=reactions.IN_STEP,
    afterwards=reactions.AFTERWARDS,
    jobs=tuple(Job(f"settlement.{name}", Lane.MONEY) for name in _NAMES),
    handlers=_handlers,
    periodic=(
        Periodic("settlement.collect", timedelta(seconds=5), each_tenant=True, resting=SEEN_WITHIN),
        Periodic("settlement.check_balance", timedelta(minutes=1), each_tenant=True, resting=SEEN_WITHIN),
        Periodic("settlement.resume", timedelta(minutes=5), each_tenant=True, resting=timedelta(hours=1)),
    ),
)
