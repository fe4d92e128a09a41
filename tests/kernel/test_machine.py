"""A machine is its table: what is not listed is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine, Transition, transitions

DOOR = Machine(
    "door",
    transitions(
        [
            (NOTHING, "build", "SHUT", "DOOR_BUILD"),
            ("SHUT", "open", "OPEN", "DOOR_OPEN"),
            ("OPEN", "shut", "SHUT", "DOOR_SHUT"),
            ("SHUT|OPEN", "break", "BROKEN", "DOOR_BREAK"),
            ("SHUT", "inspect", "SHUT", "DOOR_PASS"),
            ("SHUT", "inspect", "BROKEN", "DOOR_FAIL"),
        ]
    ),
)


@given(st.sampled_from((NOTHING, *DOOR.states, "NOWHERE")), st.sampled_from((*DOOR.events, "paint")))
def test_every_pair_of_state_and_event_does_what_the_table_says_or_is_refused(state: str, event: str) -> None:
    listed = [t for t in DOOR.transitions if (t.source, t.event) == (state, event)]
    if len(listed) == 1:
        assert DOOR.next(state, event) == listed[0]
        return
    with pytest.raises(IllegalTransition, match="is not possible"):
        DOOR.next(state, event)


def test_an_event_with_two_outcomes_needs_to_be_told_which() -> None:
    assert DOOR.next("SHUT", "inspect", to="BROKEN").action == "DOOR_FAIL"
    with pytest.raises(IllegalTransition):
        DOOR.next("SHUT", "inspect", to="OPEN")


def test_a_line_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="listed twice"):
        Machine("m", (Transition("A", "go", "B", "X"), Transition("A", "go", "B", "Y")))


def test_states_events_and_terminal_states_are_read_off_the_table() -> None:
    assert DOOR.states == ("SHUT", "OPEN", "BROKEN")
    assert DOOR.events == ("build", "open", "shut", "break", "inspect")
    assert DOOR.terminal_states == ("BROKEN",)
