"""Listings, what lenders want of them, and how both may be refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import NotFound, Refused
from fintokenx.kernel.money import Pence, flat_discount
from fintokenx.lifecycle.marketplace.transitions import ListingState


class UnknownListing(NotFound):
    """There is no such listing that you may see."""


class ConcentrationCapReached(Refused):
    """With this listing you would be owed more by its buyer than your own cap allows."""

    code = "CONCENTRATION_CAP"


class OutsideAppetite(Refused):
    """Your own listing filter excludes this listing."""

    code = "OUTSIDE_APPETITE"


class ListingMatured(Refused):
    """The invoice is due: there is nothing left to finance."""

    code = "LISTING_MATURED"


@dataclass(frozen=True, slots=True)
class Listing:
    """A confirmed, tokenised invoice for sale as a whole. What it says of the invoice can no longer change."""

    tenant_id: str
    id: str
    invoice_reference: str
    token_reference: str
    originator_id: str
    obligor_id: str
    face: Pence
    asking_discount_bps: int
    """For the whole tenor, in basis points of the face."""
    maturity_date: date
    visible_to_lender_subject_ids: tuple[str, ...] | None
    """None: every lender of the tenant whose filter fits."""
    state: ListingState
    committed_by: str | None
    """The lender that has committed to it; None while it is OPEN."""
    created_at: Instant

    @property
    def discount(self) -> Pence:
        """What the lender keeps: the flat discount, rounded up to a whole penny."""
        return flat_discount(self.face, self.asking_discount_bps)

    @property
    def net_advance(self) -> Pence:
        """What the lender pays: face less discount."""
        return self.face - self.discount


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """What a lender wants to see; None: no limit of that kind."""

    lender_subject_id: str
    max_tenor_days: int | None
    """Days from today to maturity."""
    min_discount_bps: int | None
    concentration_cap: Pence | None
    """The most that any one buyer may owe this lender: face held, plus face committed to."""

    def fits(self, listing: Listing, today: date) -> bool:
        """Whether the lender has an appetite for the listing; caps are another matter."""
        short_enough = self.max_tenor_days is None or (listing.maturity_date - today).days <= self.max_tenor_days
        pays_enough = self.min_discount_bps is None or listing.asking_discount_bps >= self.min_discount_bps
        return short_enough and pays_enough


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request for the list asks for, on top of the lender's filter."""

    obligor_id: str | None = None
    min_discount_bps: int | None = None
    matures_by: date | None = None
