"""Which rows the entries of marketplace's actions carry, and what the modules above may carry of a listing."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes, walking
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.marketplace.transitions import LISTING, ListingEvent

_MOVED: Final = changes("primary_listings", "state", "committed_by")
LISTING_COMMITTED: Final = walking(_MOVED, LISTING, ListingEvent.COMMIT)
LISTING_RELEASED: Final = walking(_MOVED, LISTING, ListingEvent.CANCEL)
"""Open again before money has moved."""
LISTING_REFUNDED: Final = walking(_MOVED, LISTING, ListingEvent.REFUND)
LISTING_FUNDED: Final = walking(_MOVED, LISTING, ListingEvent.FUND)

CARRIES: Final[Carries] = {
    "LISTING_OPEN": always(adds("primary_listings"), invoice.INVOICE_LISTED),
    "LISTING_FILTER_SET": (
        adds("listing_filters"),
        changes("listing_filters", "max_tenor_days", "min_discount_bps", "concentration_cap_pence", "set_at"),
    ),
}
