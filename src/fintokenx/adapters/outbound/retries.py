"""How often a call is tried, and how long one waits in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long and how often one call is tried. Seconds of wall time."""

    attempts_max: int = 3
    first_pause_seconds: float = 0.3
    pause_seconds_max: float = 5.0
    """A ``Retry-After`` beyond this is not waited for: the caller's job comes back later."""
    rate_limited_pause_seconds: float | None = None
    """After a 429 that names no time; None: as after any failure."""
    attempt_seconds_max: float = 20.0
    """For one attempt as a whole; the read timeout alone does not stop an answer that trickles."""
    answer_bytes_max: int = ANSWER_BYTES_MAX
    """Of the body as we read it, that is, after decompression."""

    def pause_seconds(
        self, attempt: int, *, asked_for: float | None, is_rate_limited: bool, jitter: float
    ) -> float | None:
        """How long after ``attempt`` (from 1) until the next; None when there shall be none.

        ``asked_for``: the vendor's ``Retry-After``. ``jitter``: a number from 0 up to 1; half of every pause of our own
        choice is by chance, so that callers that failed together do not come back together.
        """
        if attempt >= self.attempts_max:
            return None
        if asked_for is not None:
            return asked_for if asked_for <= self.pause_seconds_max else None
        if is_rate_limited and self.rate_limited_pause_seconds is not None:
            return self.rate_limited_pause_seconds
        doubled: float = min(self.first_pause_seconds * 2.0 ** (attempt - 1), self.pause_seconds_max)
        return doubled * (0.5 + jitter / 2)


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """Whole seconds as vendors send them; the date form counts as absent (our clock may not be theirs)."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None
