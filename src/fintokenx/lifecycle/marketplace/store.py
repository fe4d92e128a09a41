"""All SQL of the marketplace."""

from __future__ import annotations

from datetime import date
from typing import Any

from fintokenx import audit
from fintokenx.kernel.db import Row, Tx
from fintokenx.kernel.machine import Transition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.marketplace.transitions import ListingEvent, ListingState
from fintokenx.lifecycle.marketplace.types import Listing, ListingFilter, Wanted

_COLUMNS = (
    "tenant_id, id, invoice_reference, token_reference, originator_id, obligor_id, face_pence, asking_discount_bps,"
    " maturity_date, visible_to_lender_subject_ids, state, committed_by, created_at"
)


def _listing(row: Row) -> Listing:
    values = dict(row)
    invited = values.pop("visible_to_lender_subject_ids")
    return Listing(
        face=Pence(values.pop("face_pence")),
        state=ListingState(values.pop("state")),
        visible_to_lender_subject_ids=None if invited is None else tuple(invited),
        **values,
    )


async def _lock(tx: Tx, thing: str) -> None:
    await tx.lock(thing)


async def find(tx: Tx, listing_id: str) -> Listing | None:
    """One listing of the tenant, in any state."""
    row = await tx.row(f"select {_COLUMNS} from app.primary_listings where id = $1", listing_id)
    return _listing(row) if row else None


async def lock(tx: Tx, listing_id: str) -> Listing | None:
    """Take the listing's lock until the transaction ends, then read it."""
    await _lock(tx, f"primary_listings:{listing_id}")
    return await find(tx, listing_id)


async def of_invoice(tx: Tx, invoice_reference: str) -> Listing | None:
    """The listing of an invoice, in any state."""
    row = await tx.row(f"select {_COLUMNS} from app.primary_listings where invoice_reference = $1", invoice_reference)
    return _listing(row) if row else None


async def lock_invoice(tx: Tx, invoice_reference: str) -> None:
    """One listing of an invoice is opened at a time."""
    await _lock(tx, f"primary_listings:{invoice_reference}")


async def lock_exposure(tx: Tx, lender_subject_id: str, obligor_id: str) -> None:
    """One change at a time of what a buyer owes a lender, so that two commitments cannot both pass under the cap."""
    await _lock(tx, f"exposure:{lender_subject_id}:{obligor_id}")


async def open_to(
    tx: Tx, lender_subject_id: str, wanted: Wanted, *, today: date, after: str, limit: int
) -> list[Listing]:
    """Open, unmatured listings that a lender is invited to and that are ``wanted``, by id."""
    rows = await tx.rows(
        f"""select {_COLUMNS} from app.primary_listings
             where state = 'OPEN' and maturity_date > $1 and id > $2
               and (visible_to_lender_subject_ids is null or $3 = any(visible_to_lender_subject_ids))
               and ($4::text is null or obligor_id = $4) and ($5::int is null or asking_discount_bps >= $5)
               and ($6::date is null or maturity_date <= $6)
             order by id limit $7""",
        today,
        after,
        lender_subject_id,
        wanted.obligor_id,
        wanted.min_discount_bps,
        wanted.matures_by,
        limit,
    )
    return [_listing(row) for row in rows]


async def page(tx: Tx, originator_id: str | None, wanted: Wanted, *, after: str, limit: int) -> list[Listing]:
    """Listings in every state that are ``wanted``, of one seller or of all, by id."""
    rows = await tx.rows(
        f"""select {_COLUMNS} from app.primary_listings
             where id > $1 and ($2::text is null or originator_id = $2)
               and ($3::text is null or obligor_id = $3) and ($4::int is null or asking_discount_bps >= $4)
               and ($5::date is null or maturity_date <= $5)
             order by id limit $6""",
        after,
        originator_id,
        wanted.obligor_id,
        wanted.min_discount_bps,
        wanted.matures_by,
        limit,
    )
    return [_listing(row) for row in rows]


async def committed_face(tx: Tx, lender_subject_id: str, obligor_id: str) -> Pence:
    """Face of what a lender has committed to and does not hold yet. FUND_INVOICE closes the listing in the entry
    that makes the token HELD, so nothing is both."""
    value = await tx.value(
        "select coalesce(sum(face_pence), 0)::bigint from app.primary_listings"
        " where committed_by = $1 and obligor_id = $2 and state = 'COMMITTED'",
        lender_subject_id,
        obligor_id,
    )
    return Pence(value)


def opened(listing: Listing) -> audit.RowChange:
    """A new listing."""
    return audit.insert(
        "primary_listings",
        {
            "tenant_id": listing.tenant_id,
            "id": listing.id,
            "invoice_reference": listing.invoice_reference,
            "token_reference": listing.token_reference,
            "originator_id": listing.originator_id,
            "obligor_id": listing.obligor_id,
            "face_pence": listing.face,
            "asking_discount_bps": listing.asking_discount_bps,
            "maturity_date": listing.maturity_date,
            "visible_to_lender_subject_ids": listing.visible_to_lender_subject_ids,
            "state": listing.state,
            "committed_by": listing.committed_by,
            "created_at": listing.created_at,
        },
    )


def moved(
    listing: Listing, transition: Transition[ListingState, ListingEvent], *, committed_by: str | None
) -> audit.RowChange:
    """The listing's state change, and whose it is from now on."""
    return audit.update(
        "primary_listings",
        key={"tenant_id": listing.tenant_id, "id": listing.id},
        before={"state": transition.source, "committed_by": listing.committed_by},
        after={"state": transition.target, "committed_by": committed_by},
    )


_LIMITS = "max_tenor_days, min_discount_bps, concentration_cap_pence"


async def filter_of(tx: Tx, lender_subject_id: str) -> ListingFilter:
    """A lender's filter; one without limits when it never set any."""
    row = await tx.row(f"select {_LIMITS} from app.listing_filters where lender_subject_id = $1", lender_subject_id)
    if row is None:
        return ListingFilter(lender_subject_id, None, None, None)
    cap = row["concentration_cap_pence"]
    return ListingFilter(
        lender_subject_id, row["max_tenor_days"], row["min_discount_bps"], None if cap is None else Pence(cap)
    )


async def filter_set(tx: Tx, wanted: ListingFilter) -> audit.RowChange:
    """The row of a lender's filter: its first, or the change of the one it has."""
    await _lock(tx, f"listing_filters:{wanted.lender_subject_id}")
    after: dict[str, Any] = {
        "max_tenor_days": wanted.max_tenor_days,
        "min_discount_bps": wanted.min_discount_bps,
        "concentration_cap_pence": wanted.concentration_cap,
        "set_at": tx.at,
    }
    row = await tx.row(
        f"select id, {_LIMITS}, set_at from app.listing_filters where lender_subject_id = $1", wanted.lender_subject_id
    )
    if row is None:
        key = {"tenant_id": tx.tenant_id, "id": tx.ids.new("flt"), "lender_subject_id": wanted.lender_subject_id}
        return audit.insert("listing_filters", {**key, **after})
    before = dict(row)
    return audit.update(
        "listing_filters", key={"tenant_id": tx.tenant_id, "id": before.pop("id")}, before=before, after=after
    )
