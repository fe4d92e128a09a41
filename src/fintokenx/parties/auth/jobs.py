"""Work of auth after the transaction: links and admin sessions that run out."""

from __future__ import annotations

from typing import Final

from fintokenx.kernel.clock import from_wire
from fintokenx.kernel.jobs import Job, Lane, Payload, Work
from fintokenx.parties.auth import service


async def expire_magic_link(work: Work, payload: Payload) -> None:
    """Due at the link's expiry; finishes quietly when the link was used or replaced."""
    async with work.completing() as tx:
        await service.expire_magic_link(tx, work.caller, link_id=payload["link_id"])


async def expire_admin_session(work: Work, payload: Payload) -> None:
    """Due an hour after it was asked for, and a quarter of an hour after it was opened."""
    async with work.completing() as tx:
        await service.expire_admin_session(tx, work.caller, admin_session_id=payload["admin_session_id"])


async def tell_of_refused_sign_ins(work: Work, payload: Payload) -> None:
    """Due seconds after the fifth try for one address within a window."""
    async with work.completing() as tx:
        await service.tell_of_refusals(
            tx, work.caller, email_index=payload["email_index"], window_from=from_wire(payload["window_from"])
        )


JOBS: Final = (
    Job(service.EXPIRE_JOB, expire_magic_link, Lane.OUTBOUND, seconds_max=30),
    Job(service.REFUSED_JOB, tell_of_refused_sign_ins, Lane.OUTBOUND, seconds_max=30),
    Job(service.EXPIRE_ADMIN_SESSION_JOB, expire_admin_session, Lane.OUTBOUND, seconds_max=30),
)
