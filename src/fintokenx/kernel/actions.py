"""The closed taxonomy: an action that may be recorded is declared once, by its module, and loaded into the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fintokenx.kernel.caller import Role

OnBehalfOf = Literal["required_from_admin", "forbidden", "optional", "required"]


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the closed taxonomy (AD-15): what may be recorded, by whom, for whom."""

    name: str
    roles: tuple[Role, ...]
    customer_facing: bool = False
    on_behalf_of: OnBehalfOf = "forbidden"
    staff_only: bool = False
    """Its entries are shown to staff and not to the tenant's partner: they tell of cases, alerts, gates or freezes."""
