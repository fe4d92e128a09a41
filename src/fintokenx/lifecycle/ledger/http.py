"""Routes of the ledger."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from fintokenx.kernel.caller import WrongRole
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.ledger import service
from fintokenx.lifecycle.ledger.types import TrialBalance
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.routes import OVERSEERS, may_call

router = APIRouter(tags=["ledger"])


class AccountView(BaseModel):
    """An account and its totals."""

    code: str = Field(description="The account, e.g. `payable:sub_…`.")
    kind: str = Field(description="asset, client, income or expense.")
    debit_pence: Pence = Field(description="Sum of debits, in pence.")
    credit_pence: Pence = Field(description="Sum of credits, in pence.")


class TrialBalanceView(BaseModel):
    """The trial balance of the caller's tenant."""

    accounts: list[AccountView]
    debit_pence: Pence = Field(description="Sum of all debits, in pence.")
    credit_pence: Pence = Field(description="Sum of all credits, in pence.")
    difference_pence: Pence = Field(description="Debits less credits: always 0.")

    @classmethod
    def of(cls, balance: TrialBalance) -> TrialBalanceView:
        """Spell a trial balance."""
        return cls(
            accounts=[
                AccountView(code=a.code, kind=a.kind, debit_pence=a.debit, credit_pence=a.credit)
                for a in balance.accounts
            ],
            debit_pence=balance.debit,
            credit_pence=balance.credit,
            difference_pence=balance.difference,
        )


@router.get("/v1/ledger/trial-balance", responses=problems(WrongRole), openapi_extra=may_call(*OVERSEERS))
async def trial_balance(read: Annotated[Query, Depends(query)]) -> TrialBalanceView:
    """Every account with its totals; the difference is always zero (SE-17)."""
    return TrialBalanceView.of(await read.run(lambda tx: service.trial_balance(tx, read.caller)))
