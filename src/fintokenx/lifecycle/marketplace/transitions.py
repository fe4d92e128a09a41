"""The machine of primary listings (statemachines §7), as far as code walks it, and what marketplace records.

Whether a lender sees a listing is no state: it is worked out per viewer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import FROM_ABOVE, NOTHING, AnyMachine, machine


class ListingState(StrEnum):
    """Where a listing stands."""

    OPEN = "OPEN"
    COMMITTED = "COMMITTED"
    CLOSED_FUNDED = "CLOSED_FUNDED"


class ListingEvent(StrEnum):
    """What moves a listing."""

    OPEN = "open"
    COMMIT = "commit"
    CANCEL = "cancel"
    REFUND = "refund"
    FUND = "fund"


LISTING: Final = machine(
    "listing",
    ListingState,
    ListingEvent,
    [
        (NOTHING, "open", "OPEN", "LISTING_OPEN"),
        ("OPEN", "commit", "COMMITTED", FROM_ABOVE),
        ("COMMITTED", "cancel", "OPEN", FROM_ABOVE),
        ("COMMITTED", "refund", "OPEN", FROM_ABOVE),
        ("COMMITTED", "fund", "CLOSED_FUNDED", FROM_ABOVE),
    ],
)

MACHINES: tuple[AnyMachine, ...] = (LISTING,)

ACTIONS = (
    Action("LISTING_OPEN", (Role.SYSTEM,)),
    Action("LISTING_FILTER_SET", (Role.LENDER, Role.PLATFORM_ADMIN), True, "required_from_admin"),
)
