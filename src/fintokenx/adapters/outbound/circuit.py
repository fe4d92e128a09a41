"""Circuit breaker and health row of one outside system, one for all who call it in this process.

After ``failures_max`` failures in a row the circuit opens: calls are refused before anything is sent. After
``rest_seconds`` it is half open: one call is let through on trial, and its end closes the circuit or opens it again.
Who comes meanwhile waits for that: of the jobs that are due at once after an outage, one would get through otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

from fintokenx.kernel.clock import Clock, Instant
from fintokenx.kernel.errors import Unavailable

FAILURES_MAX: Final = 5
REST_SECONDS: Final = 5.0
"""Wall time. Short, because a payment may wait for it: all it must do is turn many calls into one."""


class CircuitState(StrEnum):
    """Whether calls are let through: all, none, or one on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpen(Unavailable):
    """Nothing was sent: the system has failed too often in a row, and is left alone for some seconds.

    ``outcome_unknown`` is True only where an earlier attempt of the same call may have taken effect.
    """


class ProviderNotListed(Exception):
    """A client of a system that is not in the list of providers; the platform does not start with it."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one provider since this process began. Times are business time."""

    name: str
    circuit: CircuitState
    last_success_at: Instant | None
    last_failure_at: Instant | None
    consecutive_failures: int
    """Calls without a useful answer since the last one that had one."""


class Attempt:
    """One call that was let through: a context whose end without a verdict says nothing about the system (the caller
    was cancelled, or failed before anything was sent)."""

    __slots__ = ("_circuit", "era", "is_settled")

    def __init__(self, circuit: CircuitBreaker, era: int) -> None:
        self._circuit = circuit
        self.era = era
        self.is_settled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._circuit.leave(self)

    def answered(self) -> None:
        """A useful answer."""
        self._circuit.settle(self, works=True, useful=True)

    def refused(self) -> None:
        """It answers well, and the answer is no (credentials, a limit on requests): not useful, and no outage."""
        self._circuit.settle(self, works=True, useful=False)

    def failed(self) -> None:
        """No answer, or one that nobody can use."""
        self._circuit.settle(self, works=False, useful=False)


class CircuitBreaker:
    """The breaker of one provider. ``machine_seconds`` is a clock that only goes forward."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        machine_seconds: Callable[[], float],
        failures_max: int = FAILURES_MAX,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self.name = name
        self._clock = clock
        self._machine_seconds = machine_seconds
        self._failures_max = failures_max
        self._rest_seconds = rest_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._trial: Attempt | None = None
        self._trial_over = asyncio.Event()
        self._era = 0
        """Counts the circuit's changes. An attempt that began before the last one has no say in the next."""
        self._last_success_at: Instant | None = None
        self._last_failure_at: Instant | None = None
        self._without_use = 0

    @property
    def state(self) -> CircuitState:
        """As it is now."""
        if self._opened_at is None:
            return CircuitState.CLOSED
        rested = self._machine_seconds() - self._opened_at >= self._rest_seconds
        return CircuitState.HALF_OPEN if rested else CircuitState.OPEN

    async def admit(self) -> Attempt:
        """Ask to call; while another call is on trial, wait for its end, which its own limit bounds.

        :raises CircuitOpen: not now; nothing may be sent
        """
        while self.state is CircuitState.HALF_OPEN and self._trial is not None:
            await self._trial_over.wait()
        return self.attempt()

    def attempt(self) -> Attempt:
        """As :meth:`admit`, without waiting."""
        state = self.state
        if state is CircuitState.OPEN or (state is CircuitState.HALF_OPEN and self._trial is not None):
            raise CircuitOpen(self.name, f"not asked: {self._failures} failures in a row", outcome_unknown=False)
        attempt = Attempt(self, self._era)
        if state is CircuitState.HALF_OPEN:
            self._trial, self._trial_over = attempt, asyncio.Event()
        return attempt

    def settle(self, attempt: Attempt, *, works: bool, useful: bool) -> None:
        """Take an attempt's verdict; the first one counts."""
        if attempt.is_settled:
            return
        attempt.is_settled = True
        self._note(useful=useful)
        if attempt.era != self._era:
            return
        if not works:
            self._failures += 1
            if attempt is self._trial or self._failures >= self._failures_max:
                self._change(opened_at=self._machine_seconds())
            return
        self._failures = 0
        if attempt is self._trial:
            self._change(opened_at=None)

    def leave(self, attempt: Attempt) -> None:
        """An attempt is over. A trial without a verdict makes room for another."""
        if attempt is self._trial:
            self._end_trial()

    def health(self) -> Health:
        """The row."""
        return Health(self.name, self.state, self._last_success_at, self._last_failure_at, self._without_use)

    def _note(self, *, useful: bool) -> None:
        if useful:
            self._last_success_at, self._without_use = self._clock.now(), 0
        else:
            self._last_failure_at = self._clock.now()
            self._without_use += 1

    def _change(self, *, opened_at: float | None) -> None:
        self._opened_at = opened_at
        self._era += 1
        self._end_trial()

    def _end_trial(self) -> None:
        self._trial = None
        self._trial_over.set()


class Circuits:
    """The circuits of all providers that there are; a client can be made for no other."""

    def __init__(self, names: Iterable[str], *, clock: Clock, machine_seconds: Callable[[], float]) -> None:
        self._by_name = {name: CircuitBreaker(name, clock=clock, machine_seconds=machine_seconds) for name in names}

    def of(self, name: str) -> CircuitBreaker:
        """:raises ProviderNotListed: there is no such provider"""
        if name not in self._by_name:
            raise ProviderNotListed(f"{name} is not in the list of providers (app/providers.py)")
        return self._by_name[name]

    def health(self) -> tuple[Health, ...]:
        """One row per provider, in their order."""
        return tuple(circuit.health() for circuit in self._by_name.values())
