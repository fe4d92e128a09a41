"""One clock, UTC, handed in (P-22). Nobody below the application asks the machine for the time of business."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

Instant = datetime
"""A moment in UTC; always time-zone aware."""


class Clock(Protocol):
    """Tells the business time."""

    def now(self) -> Instant:
        """The current instant, UTC, whole microseconds."""
        ...


class SystemClock:
    """The machine's clock: business time everywhere but in local and sandbox."""

    def now(self) -> Instant:
        return datetime.fromtimestamp(time.time(), UTC)


class FixedClock:
    """A clock that stands still until told otherwise; for tests."""

    def __init__(self, at: Instant) -> None:
        self._at = at

    def now(self) -> Instant:
        return self._at

    def set(self, at: Instant) -> None:
        self._at = at


def to_wire(at: Instant) -> str:
    """RFC 3339 in UTC with microseconds and ``Z``: the one spelling in records, hashes and answers."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")[:-6] + "Z"  # "+00:00"; three times as fast as strftime


def from_wire(text: str) -> Instant:
    """Read what :func:`to_wire` wrote (or any RFC 3339 text with an offset).

    :raises ValueError: not a timestamp, or one without an offset
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a timestamp needs an offset")
    return at.astimezone(UTC)
