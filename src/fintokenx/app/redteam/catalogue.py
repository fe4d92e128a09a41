"""Every attack, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fintokenx.app.redteam.attacks import (
    api,
    bypass,
    catalogue,
    definers,
    edge,
    games,
    leaks,
    pins,
    record,
    roles,
    sessions,
    shared,
    writes,
)
from fintokenx.app.redteam.types import Attack

ATTACKS: Final[tuple[Attack, ...]] = tuple(
    sorted(
        (
            attack
            for family in (
                pins,
                roles,
                definers,
                edge,
                games,
                writes,
                leaks,
                api,
                bypass,
                sessions,
                catalogue,
                record,
                shared,
            )
            for attack in family.ATTACKS
        ),
        key=lambda attack: int(attack.id.removeprefix("RT-")),
    )
)

FAMILIES: Final[tuple[str, ...]] = tuple(dict.fromkeys(attack.family for attack in ATTACKS))


def chosen(only: Sequence[str]) -> tuple[Attack, ...]:
    """The attacks of these ids and families; all when none is named. :raises KeyError: there is no such one"""
    known = {attack.id for attack in ATTACKS} | set(FAMILIES)
    if unknown := set(only) - known:
        raise KeyError(", ".join(sorted(unknown)))
    return tuple(attack for attack in ATTACKS if not only or {attack.id, attack.family} & set(only))
