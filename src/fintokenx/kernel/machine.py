"""A state machine is a table that code, database, docs and tests all read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeVar

from fintokenx.kernel.errors import Refused

State = TypeVar("State", bound=str)
Event = TypeVar("Event", bound=str)

NOTHING: Final = ""
"""The state before the first: the row does not exist yet."""


class IllegalTransition(Refused):
    """That cannot happen in the present state."""

    code = "ILLEGAL_TRANSITION"
    status = 409


FROM_ABOVE: Final = ""
"""In place of a line's action: only entries of modules above walk it, and those say so in their ``carries``."""


@dataclass(frozen=True, slots=True)
class Transition(Generic[State, Event]):
    """One line of a machine: in ``source`` the ``event`` leads to ``target`` and is recorded as ``action``, or as
    what a module above records (:data:`FROM_ABOVE`)."""

    source: State | Literal[""]
    event: Event
    target: State
    action: str


@dataclass(frozen=True)
class Machine(Generic[State, Event]):
    """A named machine. An event may lead to several targets from one source only if ``to`` is given then.

    Its states and events are enums of its own (:class:`~enum.StrEnum`), so that a mistyped one is a type error and one
    of another machine, too.
    """

    name: str
    transitions: tuple[Transition[State, Event], ...]
    _table: dict[tuple[str, str], tuple[Transition[State, Event], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table: dict[tuple[str, str], tuple[Transition[State, Event], ...]] = {}
        for transition in self.transitions:
            key = (transition.source, transition.event)
            if any(known.target == transition.target for known in table.get(key, ())):
                raise ValueError(f"{self.name}: {key} → {transition.target} is listed twice")
            table[key] = (*table.get(key, ()), transition)
        object.__setattr__(self, "_table", table)

    @property
    def states(self) -> tuple[State, ...]:
        """Every state, in the order in which the table names them first."""
        names = [name for t in self.transitions for name in (t.source, t.target) if name != ""]
        return tuple(dict.fromkeys(names))

    @property
    def events(self) -> tuple[Event, ...]:
        """Every event, in the order of the table."""
        return tuple(dict.fromkeys(t.event for t in self.transitions))

    @property
    def terminal_states(self) -> tuple[State, ...]:
        """States that nothing leaves."""
        left = {t.source for t in self.transitions}
        return tuple(state for state in self.states if state not in left)

    def next(self, state: State | Literal[""], event: Event, *, to: State | None = None) -> Transition[State, Event]:
        """What ``event`` does in ``state``.

        :raises IllegalTransition: nothing, according to the table
        """
        lines = self._table.get((state, event), ())
        fitting = [line for line in lines if to is None or line.target == to]
        if len(fitting) != 1:
            raise IllegalTransition(f"{self.name}: {event} is not possible in {state or 'nothing'}")
        return fitting[0]


AnyMachine = Machine[Any, Any]
"""A machine of whatever states, for what treats all alike."""


def transitions(lines: Iterable[tuple[str, str, str, str]]) -> tuple[Transition[str, str], ...]:
    """Read ``(sources separated by |, event, target, action)`` lines, one transition per source."""
    return tuple(
        Transition(source.strip(), event, target, action)
        for sources, event, target, action in lines
        for source in sources.split("|")
    )


StateEnum = TypeVar("StateEnum", bound=StrEnum)
EventEnum = TypeVar("EventEnum", bound=StrEnum)


def machine(
    name: str,
    states: type[StateEnum],
    events: type[EventEnum],
    lines: Iterable[tuple[str, str, str, str]],
    *,
    to_come: Collection[StateEnum] = (),
) -> Machine[StateEnum, EventEnum]:
    """A machine of these states and events, from ``(sources separated by |, event, target, action)`` lines. Here alone
    they are written as text: everywhere else as members of the enums, so that a mistyped one is a type error.
    ``to_come`` are states that the database knows already and that nothing leads to yet.

    :raises ValueError: the lines name a state or an event that is none, or not all that there are
    """
    read = tuple(
        Transition(states(line.source) if line.source else "", events(line.event), states(line.target), line.action)
        for line in transitions(lines)
    )
    made = Machine(name, read)
    if odd := sorted({*states} ^ {*made.states, *to_come}) + sorted({*events} ^ {*made.events}):
        raise ValueError(f"{name}: no line has {', '.join(odd)}")
    return made
