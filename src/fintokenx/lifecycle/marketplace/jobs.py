"""Putting freshly minted paper on the market: work after the mint's transaction."""

from __future__ import annotations

from typing import Final

import structlog

from fintokenx.kernel.errors import Refused
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.marketplace import service

log = structlog.get_logger("fintokenx.marketplace")


async def open_listing(work: Work, payload: Payload) -> None:
    """The payload is tokenisation's ``TokenMinted``."""
    async with work.completing() as tx:
        await service.open_listing(
            tx,
            work.caller,
            invoice_reference=payload["invoice_reference"],
            token_reference=payload["token_reference"],
        )


async def walk(work: Work, _payload: Payload) -> None:
    """Periodic: open the listings whose own job is lost. One that is refused does not hold up the others.

    :raises Refused: the first refusal, when all the others are done
    """
    async with work.transaction() as tx:
        waiting = await service.unlisted(tx, work.caller)
        if not waiting and not await invoice.any_open(tx, work.caller):
            work.may_rest()
    refusals: list[Refused] = []
    for found in waiting:
        if found.token_reference is None:
            continue
        try:
            async with work.transaction() as tx:
                await service.open_listing(
                    tx, work.caller, invoice_reference=found.reference, token_reference=found.token_reference
                )
        except Refused as refusal:
            log.warning("listing_not_opened", invoice=found.reference, code=refusal.code)
            refusals.append(refusal)
    if refusals:
        raise refusals[0]


JOBS: Final = (
    Job("marketplace.open_listing", open_listing, Lane.MONEY, seconds_max=30),
    Job("marketplace.walk", walk, Lane.MONEY, seconds_max=300),
)
