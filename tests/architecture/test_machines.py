"""A machine knows none of its callers: what modules above do to it stands beside their own actions (issue 10 D1)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from fintokenx.app.modules import MODULES
from fintokenx.audit import Action, Carries, NobodyWalks, adds, changes, known_as, walking, with_callers
from fintokenx.kernel.machine import FROM_ABOVE, NOTHING, Machine, transitions

LAMP = Machine(
    "lamp",
    transitions(
        [(NOTHING, "hang", "OFF", "LAMP_HANG"), ("OFF", "light", "ON", FROM_ABOVE), ("ON", "dim", "OFF", "DIM")]
    ),
)


def looking_up(modules: Iterable[tuple[str, Iterable[Machine], Iterable[Action]]]) -> list[str]:
    """Lines recorded as an action that neither their module declares nor one below; modules from the lowest up."""
    known: set[str] = set()
    found = []
    for name, machines, actions in modules:
        known |= {action.name for action in actions}
        found += [
            f"{name}: {machine.name} {line.event} as {line.action}"
            for machine in machines
            for line in machine.transitions
            if line.action not in known | {FROM_ABOVE}
        ]
    return found


def test_no_machine_names_an_action_of_a_module_above() -> None:
    modules = [(module.name, module.machines, module.actions) for module in MODULES]
    assert looking_up(modules) == []


def test_an_upper_action_in_a_lower_table_is_seen() -> None:
    below, above = ("below", [LAMP], []), ("above", [], [Action("LAMP_HANG", ()), Action("DIM", ())])
    assert looking_up([below, above]) == ["below: lamp hang as LAMP_HANG", "below: lamp dim as DIM"]
    assert looking_up([above, below]) == []


def test_each_action_that_walks_a_line_has_a_row_of_its_own() -> None:
    lit, dimmed = walking(changes("lamps", "state"), LAMP, "light"), walking(changes("lamps", "state"), LAMP, "dim")
    carries: Carries = {
        "SWITCH": (lit,),
        "NIGHTFALL": (*known_as("light at night", lit), dimmed),
        "MORNING": known_as("dim by day", dimmed),
        "NOTE": (adds("notes"),),
    }
    [lamp] = with_callers([LAMP], carries)
    assert [(line.source, line.event, line.target, line.action) for line in lamp.transitions] == [
        (NOTHING, "hang", "OFF", "LAMP_HANG"),
        ("OFF", "light", "ON", "SWITCH"),
        ("OFF", "light at night", "ON", "NIGHTFALL"),
        ("ON", "dim", "OFF", "DIM"),
        ("ON", "dim_on_nightfall", "OFF", "NIGHTFALL"),
        ("ON", "dim by day", "OFF", "MORNING"),
    ]


def test_a_line_that_is_left_to_others_and_that_nobody_walks_is_refused() -> None:
    with pytest.raises(NobodyWalks, match="lamp: light from OFF"):
        with_callers([LAMP], {"DIM": (changes("lamps", "state"),)})


def test_rows_cannot_walk_what_their_machine_does_not_know() -> None:
    with pytest.raises(ValueError, match="lamp has no"):
        walking(changes("lamps", "state"), LAMP, "shatter")
