"""A state machine is a table that code, database, docs and tests all read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fintokenx.kernel.errors import Refused

NOTHING: Final = ""
"""The state before the first: the row does not exist yet."""


class IllegalTransition(Refused):
    """That cannot happen in the present state."""

    code = "ILLEGAL_TRANSITION"
    status = 409


FROM_ABOVE: Final = ""
"""In place of a line's action: only entries of modules above walk it, and those say so in their ``carries``."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of a machine: in ``source`` the ``event`` leads to ``target`` and is recorded as ``action``, or as
    what a module above records (:data:`FROM_ABOVE`)."""

    source: str
    event: str
    target: str
    action: str


@dataclass(frozen=True)
class Machine:
    """A named machine. An event may lead to several targets from one source only if ``to`` is given then."""

    name: str
    transitions: tuple[Transition, ...]
    _table: dict[tuple[str, str], tuple[Transition, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table: dict[tuple[str, str], tuple[Transition, ...]] = {}
        for transition in self.transitions:
            key = (transition.source, transition.event)
            if any(known.target == transition.target for known in table.get(key, ())):
                raise ValueError(f"{self.name}: {key} → {transition.target} is listed twice")
            table[key] = (*table.get(key, ()), transition)
        object.__setattr__(self, "_table", table)

    @property
    def states(self) -> tuple[str, ...]:
        """Every state, in the order in which the table names them first."""
        names = [name for t in self.transitions for name in (t.source, t.target) if name != NOTHING]
        return tuple(dict.fromkeys(names))

    @property
    def events(self) -> tuple[str, ...]:
        """Every event, in the order of the table."""
        return tuple(dict.fromkeys(t.event for t in self.transitions))

    @property
    def terminal_states(self) -> tuple[str, ...]:
        """States that nothing leaves."""
        left = {t.source for t in self.transitions}
        return tuple(state for state in self.states if state not in left)

    def next(self, state: str, event: str, *, to: str | None = None) -> Transition:
        """What ``event`` does in ``state``.

        :raises IllegalTransition: nothing, according to the table
        """
        lines = self._table.get((state, event), ())
        fitting = [line for line in lines if to is None or line.target == to]
        if len(fitting) != 1:
            raise IllegalTransition(f"{self.name}: {event} is not possible in {state or 'nothing'}")
        return fitting[0]


def transitions(lines: Iterable[tuple[str, str, str, str]]) -> tuple[Transition, ...]:
    """Read ``(sources separated by |, event, target, action)`` lines, one transition per source."""
    return tuple(
        Transition(source.strip(), event, target, action)
        for sources, event, target, action in lines
        for source in sources.split("|")
    )
