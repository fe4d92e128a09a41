"""The circuit breaker, walked at random: it opens when it must, lets through what it may, and is never stuck (P-17)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from fintokenx.adapters.outbound import Attempt, CircuitBreaker, CircuitOpen, Circuits, CircuitState, ProviderNotListed
from fintokenx.kernel.clock import FixedClock

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FAILURES_MAX, REST_SECONDS = 2, 10


class Walk(RuleBasedStateMachine):
    """Calls begin, end, overlap and are cancelled while time passes. The model is what the circuit promises."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0
        self.clock = FixedClock(NOON)
        self.circuit = self.made()
        self.opened_at: int | None = None
        self.failures = 0
        self.trial: Attempt | None = None
        self.current: set[Attempt] = set()
        """Those whose verdict counts: they began since the circuit last changed."""
        self.in_vain = 0

    def made(self) -> CircuitBreaker:
        return CircuitBreaker(
            "vendor", clock=self.clock, machine_seconds=lambda: float(self.seconds), failures_max=FAILURES_MAX,
            rest_seconds=float(REST_SECONDS),
        )  # fmt: skip

    def expected(self) -> CircuitState:
        if self.opened_at is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self.seconds - self.opened_at >= REST_SECONDS else CircuitState.OPEN

    @rule(seconds=st.integers(1, 2 * REST_SECONDS))
    def time_passes(self, seconds: int) -> None:
        self.seconds += seconds
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    @rule(target=under_way)
    def ask(self) -> Any:
        may = self.expected() is CircuitState.CLOSED or (
            self.expected() is CircuitState.HALF_OPEN and self.trial is None
        )
        try:
            attempt = self.circuit.attempt()
        except CircuitOpen:
            assert not may
            return multiple()
        assert may
        self.current.add(attempt)
        if self.opened_at is not None:
            self.trial = attempt
        return attempt

    @rule(attempt=consumes(under_way), verdict=st.sampled_from(["answered", "refused", "failed", "cancelled"]))
    def end(self, attempt: Attempt, verdict: str) -> None:
        with attempt:
            if verdict != "cancelled":
                getattr(attempt, verdict)()
        if verdict == "answered":
            self.in_vain = 0
        elif verdict != "cancelled":
            self.in_vain += 1
        was_trial = attempt is self.trial
        self.trial = None if was_trial else self.trial
        if attempt not in self.current or verdict == "cancelled":
            return
        if verdict == "failed":
            self.failures += 1
            if was_trial or self.failures >= FAILURES_MAX:
                self.change(self.seconds)
        else:
            self.failures = 0
            if was_trial:
                self.change(None)

    def change(self, opened_at: int | None) -> None:
        self.opened_at, self.current, self.trial = opened_at, set(), None

    @invariant()
    def the_row_says_how_it_is(self) -> None:
        row = self.circuit.health()
        assert row.circuit is self.expected()
        assert row.consecutive_failures == self.in_vain

    def teardown(self) -> None:
        """Never stuck: whatever happened, once all have ended and it has rested, a call goes through and closes it."""
        if self.trial is not None:
            self.circuit.leave(self.trial)
        self.seconds += REST_SECONDS
        with self.circuit.attempt() as attempt:
            attempt.answered()
        assert self.circuit.state is CircuitState.CLOSED


Walk.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestWalk = Walk.TestCase


class _NeverResting(CircuitBreaker):
    """A circuit that forgets to open."""

    def _change(self, *, opened_at: float | None) -> None:
        super()._change(opened_at=None)


class _Stuck(CircuitBreaker):
    """A circuit that waits for ever for a trial that was cancelled."""

    def leave(self, attempt: Attempt) -> None:
        return


class _Latecomers(CircuitBreaker):
    """A circuit that believes calls from before it changed."""

    def settle(self, attempt: Attempt, *, works: bool, useful: bool) -> None:
        attempt.era = self._era
        super().settle(attempt, works=works, useful=useful)


Steps = Sequence[tuple[str, str]]
"""Names of calls that begin, and how calls end; a number is seconds that pass."""
OPENS: Steps = (("a", "begins"), ("b", "begins"), ("a", "failed"), ("b", "failed"))
CANCELLED: Steps = (*OPENS, ("10", "pass"), ("trial", "begins"), ("trial", "cancelled"))
LATE: Steps = (("late", "begins"), *OPENS, ("10", "pass"), ("late", "failed"))


def walked(kind: type[CircuitBreaker], steps: Steps) -> None:
    """A walk that is known: the model must agree after each step, and the circuit not be stuck at the end."""

    class Known(Walk):
        def made(self) -> CircuitBreaker:
            return kind(
                "vendor", clock=self.clock, machine_seconds=lambda: float(self.seconds), failures_max=FAILURES_MAX,
                rest_seconds=float(REST_SECONDS),
            )  # fmt: skip

    walk, calls = Known(), {}
    for name, step in steps:
        if step == "pass":
            walk.time_passes(int(name))
        elif step == "begins":
            calls[name] = walk.ask()
        else:
            walk.end(calls[name], step)
        walk.the_row_says_how_it_is()
    walk.teardown()


@pytest.mark.parametrize(("broken", "steps"), [(_NeverResting, OPENS), (_Stuck, CANCELLED), (_Latecomers, LATE)])
def test_the_walk_finds_a_broken_circuit(broken: type[CircuitBreaker], steps: Steps) -> None:
    """The twin. By a walk that is known, so that chance does not decide whether it is found."""
    walked(CircuitBreaker, steps)
    with pytest.raises((AssertionError, CircuitOpen)):
        walked(broken, steps)


def test_there_is_a_circuit_for_each_provider_that_is_listed_and_for_no_other() -> None:
    circuits = Circuits(["bank", "mail"], clock=FixedClock(NOON), machine_seconds=lambda: 0.0)
    assert circuits.of("bank") is circuits.of("bank")
    assert [row.name for row in circuits.health()] == ["bank", "mail"]
    with pytest.raises(ProviderNotListed, match="post_office is not in the list of providers"):
        circuits.of("post_office")
