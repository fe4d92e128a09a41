"""Attacks, what became of them, and how an attack is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from fintokenx.app.redteam.scene import Scene


class Outcome(StrEnum):
    """What became of an attack."""

    REFUSED = "refused"
    FINGERPRINTED = "fingerprinted"
    INFORMATION = "information"
    """Measured and told; nothing is decided by it (timing)."""
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome and one line about it. Holds nothing that the report's readers may not see."""

    outcome: Outcome
    detail: str


class Broken(Exception):
    """The attack got through; the message says how."""


Try = Callable[[Scene], Awaitable[Finding | str]]
"""Plays an attack. Returns one line on how it was refused, or a Finding. :raises Broken: it got through"""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack of the catalogue."""

    id: str
    family: str
    title: str
    """One sentence."""
    tries: str
    """What the attacker has, and does."""
    holds: str
    """What counts as refused or fingerprinted; anything else is BROKEN."""
    play: Try


def attack(number: int, family: str, title: str, *, tries: str, holds: str) -> Callable[[Try], Attack]:
    """Write the function below down as an attack of the catalogue."""
    return lambda play: Attack(f"RT-{number:02}", family, title, tries, holds, play)


def refused(detail: str) -> Finding:
    """It was refused."""
    return Finding(Outcome.REFUSED, detail)


def fingerprinted(detail: str) -> Finding:
    """It was allowed, and its entry was committed before anything was seen."""
    return Finding(Outcome.FINGERPRINTED, detail)


def information(detail: str) -> Finding:
    """It was measured."""
    return Finding(Outcome.INFORMATION, detail)
