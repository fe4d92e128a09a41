"""Which rows an entry may carry: each module says it of its actions beside them, the database holds every entry to it.

``CARRIES`` in a module's ``carries.py`` is what the entries of an action may add and change. A module also says there
what its commands carry under an action that a module below declares; the two are put together by ``app.catalogue``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Carried:
    """Rows of one table that entries of an action may add or change. ``always``: an entry without one is refused."""

    op: Literal["insert", "update"]
    table: str
    columns: frozenset[str] = frozenset()
    """Of an update, the columns that may change; an insert names all of a row."""
    always: bool = False


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


def together(contributions: Iterable[Carries]) -> dict[str, tuple[Carried, ...]]:
    """What several modules say of the same actions: per action, table and operation one line."""
    found: dict[str, dict[tuple[str, str], Carried]] = {}
    for action, carried in ((action, each) for one in contributions for action, rows in one.items() for each in rows):
        lines = found.setdefault(action, {})
        known = lines.get((carried.table, carried.op), carried)
        lines[carried.table, carried.op] = replace(
            known, columns=known.columns | carried.columns, always=known.always or carried.always
        )
    return {action: tuple(lines.values()) for action, lines in found.items()}


CARRIES: Carries = {"REDTEAM_RUN": always(adds("redteam_reports"))}
