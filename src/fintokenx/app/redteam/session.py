"""What `fintokenx redteam` does on a system: play, sign, archive; the key that signs; past runs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from fintokenx import audit
from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.app import base, wiring
from fintokenx.app.redteam.catalogue import ATTACKS
from fintokenx.app.redteam.report import HOME, SIGNING_KEY, Report, archive, body_of, signed
from fintokenx.app.redteam.run import Progress, Result, play
from fintokenx.app.redteam.types import Attack
from fintokenx.kernel.caller import system
from fintokenx.kernel.settings import Settings


@dataclass(frozen=True, slots=True)
class Done:
    """A run that was done. ``archived_as`` is its id in the record; empty for a part of the catalogue."""

    results: Sequence[Result]
    report: Report
    archived_as: str
    whole: bool
    seconds: float


async def bypass(
    settings: Settings,
    attacks: Sequence[Attack],
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: Progress = lambda _attack, _result: None,
) -> Done:
    """Play the attacks; sign the report; archive it when it is of the whole catalogue. :raises CouldNotRun"""
    started = time.monotonic()
    results = await play(settings, attacks, transport=transport, progress=progress)
    seconds = time.monotonic() - started
    whole = {result.attack.id for result in results} == {attack.id for attack in ATTACKS}
    async with wiring.base(settings, pool_size=2) as on:
        run_at = on.clock.now()
        body = body_of(
            results,
            run_at=run_at,
            run_id=on.ids.new("rtr"),
            system_name=settings.public_url,
            environment=settings.environment.value,
        )
        report = await signed(on.vault, body)
        kept = ""
        if whole:
            blobs = EncryptedBlobs(
                settings.blobs_url, on.vault, DataKeys(on.database, on.vault, os.urandom), os.urandom
            )
            kept = (await archive(on.database, blobs, report, run_at=run_at)).id
    return Done(results, report, kept, whole, seconds)


async def signing_key(settings: Settings) -> bytes:
    """The public key that reports are checked against."""
    return await base.open_vault(settings).ensure_ed25519(SIGNING_KEY)


async def history(settings: Settings) -> tuple[Sequence[audit.RedteamRun], bool]:
    """Past runs, newest first, and whether one is overdue."""
    async with wiring.base(settings, pool_size=2) as on, on.database.transaction(HOME, request_id="cli") as tx:
        caller = system(HOME, "cli")
        return await audit.redteam_runs(tx, caller), await audit.redteam_overdue(tx, caller)
