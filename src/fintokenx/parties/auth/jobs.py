"""Work of auth after the transaction: links that run out."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.jobs import Handler, Payload, Work
from fintokenx.parties.auth import service


async def expire_magic_link(work: Work, payload: Payload) -> None:
    """Due at the link's expiry; finishes quietly when the link was used or replaced."""
    async with work.completing() as tx:
        await service.expire_magic_link(tx, work.caller, link_id=payload["link_id"])


HANDLERS: Final[dict[str, Handler]] = {service.EXPIRE_JOB: expire_magic_link}
