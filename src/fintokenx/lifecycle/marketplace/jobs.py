"""Putting freshly minted paper on the market: work after the mint's transaction."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.jobs import Handler, Payload, Work
from fintokenx.lifecycle.marketplace import service


async def open_listing(work: Work, payload: Payload) -> None:
    """The payload is tokenisation's ``TokenMinted``."""
    async with work.completing() as tx:
        await service.open_listing(
            tx,
            work.caller,
            invoice_reference=payload["invoice_reference"],
            token_reference=payload["token_reference"],
        )


HANDLERS: Final[dict[str, Handler]] = {"marketplace.open_listing": open_listing}
