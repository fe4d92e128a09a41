"""What guards a client's calls where a test is about the client: no chance, and a circuit that never opens."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from fintokenx.adapters.outbound import CallGuard, CircuitBreaker
from fintokenx.kernel.clock import FixedClock


def calm(name: str = "test") -> CallGuard:
    """The shortest pauses. The circuit has tests of its own (tests/adapters/test_outbound.py)."""
    clock = FixedClock(datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
    never = CircuitBreaker(name, clock=clock, machine_seconds=time.monotonic, failures_max=1_000_000)
    return CallGuard(never, lambda: 0.0)
