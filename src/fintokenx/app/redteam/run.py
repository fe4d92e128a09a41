"""Play the catalogue, one attack after the other, and say what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import httpx

from fintokenx.app.redteam.scene import CouldNotRun, scene
from fintokenx.app.redteam.types import Attack, Broken, Finding, Outcome, refused
from fintokenx.kernel.db import UnsafeRole
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.settings import Settings

ATTACKS_MIN: Final = 110
"""A run of fewer proves nothing."""

Progress = Callable[[Attack, "Result | None"], None]
"""Told before an attack (no result yet) and after it."""


@dataclass(frozen=True, slots=True)
class Result:
    """An attack and what became of it."""

    attack: Attack
    outcome: Outcome
    detail: str
    milliseconds: int

    @property
    def broken(self) -> bool:
        """Whether it got through."""
        return self.outcome is Outcome.BROKEN


async def play(
    settings: Settings,
    attacks: Sequence[Attack],
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: Progress = lambda _attack, _result: None,
) -> list[Result]:
    """Set the scene on a running system and play the attacks on it.

    :raises CouldNotRun: the scene could not be set, or the system went away
    """
    results: list[Result] = []
    try:
        async with scene(settings, transport=transport) as here:
            for attack in attacks:
                progress(attack, None)
                started = time.perf_counter()
                try:
                    said = await attack.play(here)
                    found = said if isinstance(said, Finding) else refused(said)
                except Broken as broken:
                    found = Finding(Outcome.BROKEN, str(broken))
                except (httpx.TransportError, ConnectionError):
                    raise
                except Exception as fault:  # an attack that ends otherwise than it foresaw has shown nothing
                    found = Finding(Outcome.BROKEN, f"ended unforeseen: {type(fault).__name__} {fault}"[:300])
                taken = int((time.perf_counter() - started) * 1000)
                results.append(Result(attack, found.outcome, found.detail, taken))
                progress(attack, results[-1])
    except UnsafeRole as fault:
        raise CouldNotRun(f"the platform refuses to start: {fault}") from fault
    except (Unavailable, Refused) as fault:
        raise CouldNotRun(str(fault)) from fault
    except (httpx.TransportError, ConnectionError, asyncpg.CannotConnectNowError) as fault:
        raise CouldNotRun(f"the system went away ({type(fault).__name__})") from fault
    return results
