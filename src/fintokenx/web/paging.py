"""Pages of lists: a route asks for one item more than it shows, and so knows whether there is another page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Cursor = TypeVar("Cursor")


def asked_for(limit: int) -> int:
    """How many items to ask for, to show ``limit``."""
    return limit + 1


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """What is shown, and whether more follows."""

    items: Sequence[Item]
    has_more: bool

    @classmethod
    def of(cls, found: Sequence[Item], limit: int) -> Page[Item]:
        """From what was found of :func:`asked_for` ``(limit)``."""
        return cls(found[:limit], len(found) > limit)

    def next(self, cursor: Callable[[Item], Cursor]) -> Cursor | None:
        """Where the following page begins after; None where this is the last."""
        return cursor(self.items[-1]) if self.has_more else None
