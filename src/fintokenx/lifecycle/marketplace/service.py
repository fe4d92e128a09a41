"""Open listings, work out who sees them within its concentration limit, and move them as money is committed, comes back
or arrives."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.machine import NOTHING, IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice, tokenisation
from fintokenx.lifecycle.marketplace import store
from fintokenx.lifecycle.marketplace.transitions import LISTING, ListingEvent, ListingState
from fintokenx.lifecycle.marketplace.types import (
    ConcentrationCapReached,
    Listing,
    ListingFilter,
    ListingMatured,
    OutsideAppetite,
    UnknownListing,
    Wanted,
)

_BATCH: Final = 200
_STAFF: Final = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)
_VIEWERS: Final = (*_STAFF, Role.LENDER, Role.SELLER)
_COMMITTERS: Final = (Role.LENDER, Role.PLATFORM_ADMIN, Role.SYSTEM)


async def open_listing(
    tx: Tx,
    caller: Caller,
    *,
    invoice_reference: str,
    token_reference: str,
    invited: tuple[str, ...] | None = None,
) -> None:
    """Offer a tokenised invoice, at the discount that its seller asks for; told again, nothing happens (TK-04).

    ``invited`` lists the lenders that may see it; None: all of the tenant, each within its own filter. Recorded as
    LISTING_OPEN together with the invoice's TOKENISED → LISTED.

    :raises UnknownInvoice: none in this tenant
    :raises IllegalTransition: the invoice is not tokenised
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await store.lock_invoice(tx, invoice_reference)
    if await store.of_invoice(tx, invoice_reference) is not None:
        return
    offered = await invoice.get(tx, caller, reference=invoice_reference)
    opening = LISTING.next(NOTHING, ListingEvent.OPEN)
    new = Listing(
        tenant_id=tx.tenant_id,
        id=tx.ids.new("lst"),
        invoice_reference=invoice_reference,
        token_reference=token_reference,
        originator_id=offered.originator_id,
        obligor_id=offered.obligor_id,
        face=offered.face_value,
        asking_discount_bps=offered.asking_discount_bps,
        maturity_date=offered.maturity_date,
        visible_to_lender_subject_ids=invited,
        state=opening.target,
        committed_by=None,
        created_at=tx.at,
    )
    move = audit.Changes((store.opened(new),)) + await invoice.listed(tx, caller, reference=invoice_reference)
    await audit.change(tx, caller, action=opening.action, resource=invoice_reference, move=move)


async def unlisted(tx: Tx, caller: Caller, *, after: str | None = None, limit: int = 200) -> list[invoice.Invoice]:
    """Tokenised invoices by reference: what :func:`open_listing` was never called for, or is about to be."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    return await invoice.page(tx, caller, state=invoice.InvoiceState.TOKENISED, after=after, limit=limit)


async def listing(tx: Tx, caller: Caller, *, listing_id: str) -> Listing:
    """One listing as its viewer may see it: a lender what it could commit to or has committed to, a seller its own,
    staff all. Whatever a lender may not see is not there (MK-03).

    :raises UnknownListing: none that the caller may see
    """
    caller.must_be(*_VIEWERS, tenant_id=tx.tenant_id)
    return await _shown_to(tx, caller, await store.find(tx, listing_id))


async def listing_of(tx: Tx, caller: Caller, *, invoice_reference: str) -> Listing:
    """The listing of an invoice, under the rules of :func:`listing`. :raises UnknownListing: none to be seen"""
    caller.must_be(*_VIEWERS, tenant_id=tx.tenant_id)
    return await _shown_to(tx, caller, await store.of_invoice(tx, invoice_reference))


async def visible_to(
    tx: Tx, caller: Caller, *, wanted: Wanted | None = None, after: str = "", limit: int = 50
) -> list[Listing]:
    """Listings by id, from the one after ``after``; at most ``limit``.

    To a lender what it could commit to now (MK-01, MK-03, MK-04), to a seller its own in every state, to staff all.

    :raises WrongRole: investors buy in the secondary market
    """
    caller.must_be(*_VIEWERS, tenant_id=tx.tenant_id)
    asked = wanted or Wanted()
    if caller.party_role is Role.LENDER:
        return await _committable(tx, caller, asked, after=after, limit=limit)
    own = caller.must_be_subject() if caller.party_role is Role.SELLER else None
    return await store.page(tx, own, asked, after=after, limit=limit)


async def committed(tx: Tx, caller: Caller, *, listing_id: str, lender_subject_id: str) -> audit.Changes:
    """OPEN → COMMITTED by this lender; recorded as FUND_COMMIT. Two lenders at once: one gets it. The cap is read
    again under the lender's lock for this buyer, so two commitments at once cannot both pass under it (MK-03).

    :raises UnknownListing: none in this tenant, or this lender is not invited
    :raises IllegalTransition: it is not open
    :raises ListingMatured: there is nothing left to finance
    :raises OutsideAppetite: the lender's own filter excludes it
    :raises ConcentrationCapReached: the buyer would owe this lender more than its cap
    """
    _must_speak_for(tx, caller, lender_subject_id)
    found = await store.lock(tx, listing_id)
    if found is None or not _invited(found, lender_subject_id):
        raise UnknownListing
    transition = LISTING.next(found.state, ListingEvent.COMMIT)
    await store.lock_exposure(tx, lender_subject_id, found.obligor_id)
    await _refuse_unfit(tx, caller, found, lender_subject_id)
    return audit.Changes((store.moved(found, transition, committed_by=lender_subject_id),))


async def reopened(tx: Tx, caller: Caller, *, listing_id: str, action: str) -> audit.Changes:
    """COMMITTED → OPEN, for everybody again. ``action``: FIAT_REFUND when money had moved, else FUND_CANCEL.

    :raises UnknownListing: none in this tenant
    :raises IllegalTransition: nobody has committed to it, or another action
    """
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    event = _REOPENS.get(action)
    if event is None:
        raise IllegalTransition(f"{LISTING.name}: {action} reopens none")
    return await _left(tx, caller, listing_id, event)


_REOPENS: Final = {"FUND_CANCEL": ListingEvent.CANCEL, "FIAT_REFUND": ListingEvent.REFUND}


async def closed(tx: Tx, caller: Caller, *, listing_id: str) -> audit.Changes:
    """COMMITTED → CLOSED_FUNDED; recorded as FUND_INVOICE, in the entry that makes the token HELD.

    :raises UnknownListing: none in this tenant
    :raises IllegalTransition: nobody has committed to it
    """
    return await _left(tx, caller, listing_id, ListingEvent.FUND)


async def filter_of(tx: Tx, caller: Caller) -> ListingFilter:
    """The calling lender's filter; without limits when it never set any."""
    caller.must_be(Role.LENDER, tenant_id=tx.tenant_id)
    return await store.filter_of(tx, caller.must_be_subject())


async def set_filter(
    tx: Tx,
    caller: Caller,
    *,
    max_tenor_days: int | None,
    min_discount_bps: int | None,
    concentration_cap: Pence | None,
) -> ListingFilter:
    """Replace the calling lender's filter (MK-04); what is committed stays so. Recorded as LISTING_FILTER_SET."""
    caller.must_be(Role.LENDER, tenant_id=tx.tenant_id)
    lender = caller.must_be_subject()
    wanted = ListingFilter(lender, max_tenor_days, min_discount_bps, concentration_cap)
    move = audit.Changes((await store.filter_set(tx, wanted),))
    await audit.change(tx, caller, action="LISTING_FILTER_SET", resource=lender, move=move)
    return wanted


def _must_speak_for(tx: Tx, caller: Caller, lender_subject_id: str) -> None:
    """A lender commits for itself; the platform for the lender that it names. :raises UnknownListing: for another"""
    caller.must_be(*_COMMITTERS, tenant_id=tx.tenant_id)
    if caller.party_role is Role.LENDER and caller.must_be_subject() != lender_subject_id:
        raise UnknownListing


async def _refuse_unfit(tx: Tx, caller: Caller, found: Listing, lender_subject_id: str) -> None:
    if refusal := await (await _eyes_of(tx, caller, lender_subject_id)).refusal(found):
        raise refusal


async def _left(tx: Tx, caller: Caller, listing_id: str, event: ListingEvent) -> audit.Changes:
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    found = await store.lock(tx, listing_id)
    if found is None:
        raise UnknownListing
    transition = LISTING.next(found.state, event)
    if found.committed_by is not None:
        await store.lock_exposure(tx, found.committed_by, found.obligor_id)
    kept_by = None if transition.target is ListingState.OPEN else found.committed_by
    return audit.Changes((store.moved(found, transition, committed_by=kept_by),))


def _invited(found: Listing, lender_subject_id: str) -> bool:
    invited = found.visible_to_lender_subject_ids
    return invited is None or lender_subject_id in invited


async def _shown_to(tx: Tx, caller: Caller, found: Listing | None) -> Listing:
    if found is None:
        raise UnknownListing
    match caller.party_role:
        case Role.LENDER:
            shown = await _shown_to_lender(tx, caller, found)
        case Role.SELLER:
            shown = found.originator_id == caller.must_be_subject()
        case _:
            shown = True
    if not shown:
        raise UnknownListing
    return found


async def _shown_to_lender(tx: Tx, caller: Caller, found: Listing) -> bool:
    lender = caller.must_be_subject()
    if found.state != ListingState.OPEN:
        return found.committed_by == lender
    return _invited(found, lender) and await (await _eyes_of(tx, caller, lender)).refusal(found) is None


async def _committable(tx: Tx, caller: Caller, wanted: Wanted, *, after: str, limit: int) -> list[Listing]:
    """Read on until ``limit`` listings have passed the lender's limits, or there are no more."""
    lender = caller.must_be_subject()
    eyes = await _eyes_of(tx, caller, lender)
    seen: list[Listing] = []
    while len(seen) < limit:
        batch = await store.open_to(tx, lender, eyes.narrowed(wanted), today=eyes.today, after=after, limit=_BATCH)
        seen += [found for found in batch if await eyes.refusal(found) is None]
        if len(batch) < _BATCH:
            break
        after = batch[-1].id
    return seen[:limit]


async def _eyes_of(tx: Tx, caller: Caller, lender_subject_id: str) -> _Eyes:
    return _Eyes(tx, caller, await store.filter_of(tx, lender_subject_id))


class _Eyes:
    """One lender in one transaction: what it may commit to. List, page and commitment all ask here, so they agree."""

    def __init__(self, tx: Tx, caller: Caller, limits: ListingFilter) -> None:
        self.today = tx.at.date()
        self._tx = tx
        self._caller = caller
        self._limits = limits
        self._exposures: dict[str, Pence] = {}

    def narrowed(self, wanted: Wanted) -> Wanted:
        """``wanted`` within the lender's filter: what :meth:`refusal` would turn down is not even read."""
        limits = self._limits
        until = None if limits.max_tenor_days is None else self.today + timedelta(days=limits.max_tenor_days)
        return Wanted(
            obligor_id=wanted.obligor_id,
            min_discount_bps=max(wanted.min_discount_bps or 0, limits.min_discount_bps or 0),
            matures_by=min((day for day in (wanted.matures_by, until) if day is not None), default=None),
        )

    async def refusal(self, found: Listing) -> Refused | None:
        """Why this lender may not commit to an open listing; None when it may."""
        if found.maturity_date <= self.today:
            return ListingMatured()
        if not self._limits.fits(found, self.today):
            return OutsideAppetite()
        cap = self._limits.concentration_cap
        if cap is not None and await self._exposure(found.obligor_id) + found.face > cap:
            return ConcentrationCapReached()
        return None

    async def _exposure(self, obligor_id: str) -> Pence:
        """Face that the lender holds of this buyer, and face that it has committed to."""
        if obligor_id not in self._exposures:
            lender = self._limits.lender_subject_id
            # In this order: what is funded between the two reads is counted twice, never not at all.
            committed_to = await store.committed_face(self._tx, lender, obligor_id)
            held = await tokenisation.exposure(self._tx, self._caller, lender_subject_id=lender, obligor_id=obligor_id)
            self._exposures[obligor_id] = committed_to + held
        return self._exposures[obligor_id]
