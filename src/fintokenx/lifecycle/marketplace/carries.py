"""Which rows the entries of marketplace's actions carry, and what the modules above may carry of a listing."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes
from fintokenx.lifecycle import invoice

LISTING_MOVED: Final = changes("primary_listings", "state", "committed_by")

CARRIES: Final[Carries] = {
    "LISTING_OPEN": always(adds("primary_listings"), invoice.INVOICE_MOVED),
    "LISTING_FILTER_SET": (
        adds("listing_filters"),
        changes("listing_filters", "max_tenor_days", "min_discount_bps", "concentration_cap_pence", "set_at"),
    ),
}
