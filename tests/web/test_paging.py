"""A page shows no more than was asked for, and names the next only where there is one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fintokenx.web.paging import Page, asked_for


@given(st.lists(st.integers(), unique=True, max_size=40), st.integers(1, 12))
def test_pages_in_turn_show_everything_once(things: list[int], limit: int) -> None:
    things.sort()
    shown: list[int] = []
    after: int | None = None
    while True:
        found = [thing for thing in things if after is None or thing > after][: asked_for(limit)]
        page = Page.of(found, limit)
        assert len(page.items) <= limit
        shown += page.items
        after = page.next(lambda thing: thing)
        if after is None:
            break
    assert shown == things


def test_a_full_page_that_is_the_last_has_no_next() -> None:
    assert Page.of([1, 2], 2).next(str) is None
    assert Page.of([1, 2, 3], 2).next(str) == "2"
