"""How far the senders of all tenants have come; our senders sign for all of them."""

from __future__ import annotations

from fintokenx.kernel.db import Pool
from fintokenx.lifecycle.chainwork import store


async def following(pool: Pool) -> dict[str, int]:
    """The next nonce of every sender, as the database will give it out; ``pool`` logs in as fx_auditor."""
    return await store.senders(pool)


async def hashes(pool: Pool, sender: str, *, first: int, last: int) -> list[str]:
    """Of what was signed for these nonces, in whatever tenant; ``pool`` logs in as fx_auditor."""
    return await store.hashes_at(pool, sender, first=first, last=last)


async def mined(pool: Pool, sender: str, count: int) -> None:
    """Keep the chain's own count of a sender; ``pool`` logs in as fx_worker."""
    await store.sender_has_mined(pool, sender, count)
