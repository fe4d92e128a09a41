"""The closed taxonomy, for everybody who is known."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from fintokenx.audit.service.taxonomy import taxonomy
from fintokenx.kernel.actions import Action, OnBehalfOf
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.routes import EVERYBODY, may_call

router = APIRouter(tags=["audit"])


class ActionView(BaseModel):
    """One line of the closed taxonomy."""

    name: str = Field(description="As it stands in an entry.", examples=["SUBMIT_INVOICE"])
    customer_facing: bool = Field(description="Whether it is a customer's act.")
    roles: list[Role] = Field(description="Who may record it.")
    on_behalf_of: OnBehalfOf = Field(description="Whether an entry names somebody on whose behalf it was done.")

    @classmethod
    def of(cls, action: Action) -> ActionView:
        """Spell an action."""
        return cls(
            name=action.name,
            customer_facing=action.customer_facing,
            roles=list(action.roles),
            on_behalf_of=action.on_behalf_of,
        )


class Taxonomy(BaseModel):
    """Everything that may be recorded; the database refuses an entry with anything else."""

    items: list[ActionView]


@router.get("/v1/audit/actions", responses=problems(WrongRole), openapi_extra=may_call(*EVERYBODY))
async def actions(read: Annotated[Query, Depends(query)]) -> Taxonomy:
    """The closed taxonomy of the record (AD-15). For every signed-in caller and every API key."""
    found = await read.run(lambda tx: taxonomy(tx, read.caller))
    return Taxonomy(items=[ActionView.of(action) for action in found])
