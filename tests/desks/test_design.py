"""Every part of the design in a browser, and the faults that these tests must find: no label, pale text, and a part
that is wider than the screen (issue 10 D5, must-show 8)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from fintokenx.app import http as app_http
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.ids import Ids
from fintokenx.web.pages import Pages
from tests.desks.browser import Looker, chromium, combinations, faults_of, looking_at, overflow_of, picture, seems_right
from tests.support import START

pytestmark = pytest.mark.anyio

_PAGES = Pages("tests.desks")


def _app() -> FastAPI:
    router = APIRouter(include_in_schema=False)

    @router.get("/specimen")
    async def specimen() -> HTMLResponse:
        return _PAGES.answer(_PAGES.template("specimen.html").render(), enhanced=True)

    @router.get("/gone")
    async def gone() -> HTMLResponse:
        return _PAGES.message("This link is no longer valid", "It has been used.", 410)

    ids = Ids(FixedClock(START), os.urandom)
    return app_http.create(ids=ids, routers=[router], title="t", version="1", environment="local")


@pytest.fixture
async def looker() -> AsyncIterator[Looker]:
    async with looking_at(_app()) as made:
        yield made


async def test_every_part_fits_and_is_accessible_at_each_width_and_in_each_scheme(
    looker: Looker, pictures: Path | None
) -> None:
    for width, scheme in combinations():
        async with looker.page(width, scheme) as page:
            for path in ("/gone", "/specimen"):
                await page.goto(path)
                await seems_right(page, scheme)
            await picture(page, f"parts-{scheme}", pictures)
        async with looker.page(width, scheme, examined=True) as page:
            for path in ("/gone", "/specimen"):
                await page.goto(path)
                assert await faults_of(page) == [], (path, width, scheme)
    assert looker.complaints == []


async def test_a_missing_label_and_pale_text_are_found(looker: Looker) -> None:
    """Planted."""
    for scheme, pale in (("light", "#c9ced6"), ("dark", "#39424f")):
        async with looker.page(scheme=scheme, examined=True) as page:  # type: ignore[arg-type]
            await page.goto("/specimen")
            await page.evaluate("document.querySelector('label').remove()")
            assert "label" in {each.split(":")[0] for each in await faults_of(page)}
            await page.evaluate(f"document.querySelector('main > p.small').style.color = '{pale}'")
            assert "color-contrast: main > .small" in await faults_of(page)


async def test_a_part_that_is_wider_than_the_screen_is_found(looker: Looker) -> None:
    """Planted: without its own scrolling part the table makes the whole page wider."""
    async with looker.page(360) as page:
        await page.goto("/specimen")
        assert await overflow_of(page) == 0
        await page.evaluate("document.querySelector('.scrolls').classList.remove('scrolls')")
        assert await overflow_of(page) > 0


async def test_the_policy_stops_a_script_and_a_style_that_are_not_ours(looker: Looker) -> None:
    """Planted: what somebody managed to write into a page neither runs nor shows."""
    async with looker.page() as page:
        await page.goto("/specimen")
        assert await page.evaluate("typeof htmx") == "object"
        await page.evaluate(
            """() => {
                const script = document.createElement('script');
                script.textContent = 'window.ran = true';
                const style = document.createElement('style');
                style.textContent = 'main{display:none}';
                document.body.append(script, style);
            }"""
        )
        assert await page.evaluate("window.ran") is None
        assert await page.locator("main").is_visible()
    assert len(looker.complaints) >= 2


async def test_a_keyboard_reaches_what_scrolls_and_sees_where_it_is(looker: Looker) -> None:
    async with looker.page(360) as page:
        await page.goto("/specimen")
        reached = []
        for _ in range(7):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate("document.activeElement.className || document.activeElement.name"))
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached[1] == "scrolls"
        assert {"name", "number"} <= set(reached)


async def test_without_a_browser_these_tests_fail_and_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssertionError, match="apt-get install chromium"):
        chromium()
