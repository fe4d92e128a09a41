"""Listed, seen, chosen: who is offered an invoice, and who takes it.

Tokenisation's mint opens a listing; settlement takes it for a lender with :func:`committed`, and gives it back with
:func:`reopened` or ends it with :func:`closed`. Visibility is worked out per viewer and never stored.
"""

from fintokenx.lifecycle.marketplace.carries import (
    LISTING_COMMITTED,
    LISTING_FUNDED,
    LISTING_REFUNDED,
    LISTING_RELEASED,
)
from fintokenx.lifecycle.marketplace.service import (
    closed,
    committed,
    filter_of,
    listing,
    listing_of,
    open_listing,
    reopened,
    set_filter,
    visible_to,
)
from fintokenx.lifecycle.marketplace.types import (
    ConcentrationCapReached,
    Listing,
    ListingFilter,
    ListingMatured,
    OutsideAppetite,
    UnknownListing,
    Wanted,
)

__all__ = [
    "LISTING_COMMITTED",
    "LISTING_FUNDED",
    "LISTING_REFUNDED",
    "LISTING_RELEASED",
    "ConcentrationCapReached",
    "Listing",
    "ListingFilter",
    "ListingMatured",
    "OutsideAppetite",
    "UnknownListing",
    "Wanted",
    "closed",
    "committed",
    "filter_of",
    "listing",
    "listing_of",
    "open_listing",
    "reopened",
    "set_filter",
    "visible_to",
]
