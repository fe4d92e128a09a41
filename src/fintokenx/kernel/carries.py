"""Which rows an entry may carry: each module says it of its actions beside them, the database holds every entry to it.

``CARRIES`` in a module's ``carries.py`` is what the entries of an action may add and change. A module also says there
what its commands carry under an action that a module below declares; the two are put together by ``app.catalogue``.

Rows of a module below come with the lines of its machine that they walk (:func:`walking`). So a machine knows none of
its callers: it says what may happen, and whoever makes it happen says so beside its own action. :func:`with_callers`
multiplies the two out into what the database holds every entry to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from fintokenx.kernel.machine import FROM_ABOVE, AnyMachine, Machine, Transition


@dataclass(frozen=True, slots=True)
class Walk:
    """An event of a lower machine that entries of an action of a module above may cause."""

    machine: str
    event: str
    known_as: str = ""
    """What the event is called in the machine's table; empty = after the action, where the machine has a line of its
    own for the event."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Rows of one table that entries of an action may add or change. ``always``: an entry without one is refused."""

    op: Literal["insert", "update"]
    table: str
    columns: frozenset[str] = frozenset()
    """Of an update, the columns that may change; an insert names all of a row."""
    always: bool = False
    walks: frozenset[Walk] = frozenset()


Carries = Mapping[str, tuple[Carried, ...]]
"""By action. An action that is not named, or names nothing, carries facts only."""


def adds(table: str) -> Carried:
    """New rows of a table."""
    return Carried("insert", table)


def changes(table: str, *columns: str) -> Carried:
    """Rows of a table that change in these columns and in no other."""
    return Carried("update", table, frozenset(columns))


def always(*carried: Carried) -> tuple[Carried, ...]:
    """Of each of these at least one row in every entry."""
    return tuple(replace(each, always=True) for each in carried)


def walking(carried: Carried, machine: AnyMachine, *events: str) -> Carried:
    """These rows, which walk these lines of their machine. A module offers them to those above.

    :raises ValueError: the machine has no such event
    """
    if unknown := set(events) - set(machine.events):
        raise ValueError(f"{machine.name} has no {sorted(unknown)}")
    return replace(carried, walks=frozenset(Walk(machine.name, event) for event in events))


def known_as(name: str, *carried: Carried) -> tuple[Carried, ...]:
    """The same, where the event that they walk has a name of its own in the table."""
    return tuple(
        replace(each, walks=frozenset(replace(walk, known_as=name) for walk in each.walks)) for each in carried
    )


def together(contributions: Iterable[Carries]) -> dict[str, tuple[Carried, ...]]:
    """What several modules say of the same actions: per action, table and operation one line."""
    found: dict[str, dict[tuple[str, str], Carried]] = {}
    for action, carried in ((action, each) for one in contributions for action, rows in one.items() for each in rows):
        lines = found.setdefault(action, {})
        known = lines.get((carried.table, carried.op), carried)
        lines[carried.table, carried.op] = replace(
            known,
            columns=known.columns | carried.columns,
            always=known.always or carried.always,
            walks=known.walks | carried.walks,
        )
    return {action: tuple(lines.values()) for action, lines in found.items()}


class NobodyWalks(ValueError):
    """A line is left to the modules above, and none of them says that it walks it."""


def with_callers(machines: Iterable[AnyMachine], carries: Carries) -> tuple[AnyMachine, ...]:
    """The machines as the database holds entries to them: each line for each action that may walk it.

    :raises NobodyWalks: a line that is left to the modules above is walked by none
    """
    walks: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for action, rows in carries.items():
        for walk in sorted((walk for row in rows for walk in row.walks), key=lambda walk: (walk.machine, walk.event)):
            walks.setdefault((walk.machine, walk.event), []).append((action, walk.known_as))
    return tuple(
        Machine(
            machine.name,
            tuple(
                called
                for line in machine.transitions
                for called in _called(machine.name, line, walks.get((machine.name, line.event), ()))
            ),
        )
        for machine in machines
    )


def _called(
    machine: str, line: Transition[Any, Any], callers: Iterable[tuple[str, str]]
) -> Iterable[Transition[Any, Any]]:
    has_own = line.action != FROM_ABOVE
    called = [
        replace(line, action=action, event=name or (f"{line.event}_on_{action.lower()}" if has_own else line.event))
        for action, name in callers
    ]
    if not has_own and not called:
        raise NobodyWalks(f"{machine}: {line.event} from {line.source or 'nothing'}")
    return [line, *called] if has_own else called
