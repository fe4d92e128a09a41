"""The explorer's page in a browser: the question, the holdings once, and the difference between them, with and without
JavaScript (CH-03; issue 10 must-show 8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from playwright.async_api import Page

from fintokenx.kernel.caller import Caller
from fintokenx.lifecycle.chainwork.ports import ChainHead
from tests.desks.browser import (
    A4_WIDTH,
    HEIGHT,
    Looker,
    combinations,
    faults_of,
    looking_at,
    overflow_of,
    picture,
    seems_right,
)
from tests.explorer.house import URL, Window, window_on
from tests.support import World

pytestmark = pytest.mark.anyio

BUTTON = "Show my holdings"


class Holder:
    """A lender with a browser, who has one token and asks for a new link each time."""

    def __init__(self, window: Window, looker: Looker, caller: Caller, reference: str) -> None:
        self.window, self.looker, self.caller, self.reference = window, looker, caller, reference
        self._links = 0

    async def link(self) -> str:
        """The path of a link that has not been used."""
        self._links += 1
        answer = await self.window.post(self.caller, "/v1/explorer/links", key=f"k{self._links}")
        return str(answer.json()["url"]).removeprefix(URL)


@asynccontextmanager
async def holder_in(world: World) -> AsyncIterator[Holder]:
    async with window_on(world) as window, looking_at(window.app) as looker:
        window.chain.one_at_a_time = False
        token = await window.held(0)
        await window.seal()
        caller = await window.session_of(window.lender(0))
        yield Holder(window, looker, caller, token.reference)


class Slow:
    """A chain that answers when the test says so."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def head(self) -> ChainHead:
        self.asked.set()
        await self.answers.wait()
        head: ChainHead = await self._real.head()
        return head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def shown(page: Page) -> str:
    """Press the button; the text of the holdings."""
    await page.get_by_role("button", name=BUTTON).click()
    await page.get_by_role("heading", name="Transfers").wait_for()
    return await page.inner_text("main")


async def test_the_question_and_the_holdings_fit_and_are_accessible_everywhere(
    world: World, pictures: Path | None
) -> None:
    async with holder_in(world) as holder:
        for width, scheme in combinations():
            async with holder.looker.page(width, scheme, examined=True) as page:
                await page.goto(await holder.link())
                assert await faults_of(page) == []
                await shown(page)
                assert await faults_of(page) == []
            async with holder.looker.page(width, scheme) as page:
                await page.goto(await holder.link())
                await seems_right(page, scheme)
                await picture(page, "explorer-question", pictures)
                text = await shown(page)
                await seems_right(page, scheme)
                assert await page.title() == "Your holdings · A"
                for word in (holder.reference, "equal", "transfer, in", "our minting wallet", "anchored: block 100"):
                    assert word in text
                await picture(page, f"explorer-{width}-{scheme}", pictures)
        assert holder.looker.complaints == []


async def test_without_javascript_the_button_is_a_form(world: World) -> None:
    async with holder_in(world) as holder, holder.looker.page(360, javascript=False) as page:
        await page.goto(await holder.link())
        assert holder.reference in await shown(page)
        await seems_right(page, "light")
        assert holder.looker.complaints == []


async def test_who_presses_twice_sees_the_holdings_and_asks_once(world: World) -> None:
    """While the chain is being read. As a plain form the second press would take the place of the first, and would be
    told that the link is used up."""
    async with holder_in(world) as holder, holder.looker.page() as page:
        chain = holder.window.chain.real = Slow(holder.window.chain.real)
        posted: list[str] = []
        page.on("request", lambda asked: posted.append(asked.url) if asked.method == "POST" else None)
        await page.goto(await holder.link())
        place = await page.get_by_role("button", name=BUTTON).bounding_box()
        assert place is not None
        for _ in range(2):
            await page.mouse.click(place["x"] + 5, place["y"] + 5)
            await chain.asked.wait()
        chain.answers.set()
        await page.get_by_role("heading", name="Transfers").wait_for()
        assert holder.reference in await page.inner_text("main")
        assert len(posted) == 1
        assert holder.looker.complaints == []


async def test_a_link_that_is_used_up_says_so_in_place(world: World) -> None:
    async with holder_in(world) as holder, holder.looker.page() as page:
        link = await holder.link()
        await page.goto(link)
        await holder.window.client.post(link)
        await page.get_by_role("button", name=BUTTON).click()
        await page.get_by_role("heading", name="This link is no longer valid").wait_for()
        assert await page.locator("main").count() == 1
        assert holder.looker.complaints == []


async def test_a_difference_between_chain_and_books_stands_out(world: World, pictures: Path | None) -> None:
    async with holder_in(world) as holder:
        other = await holder.window.town.house.wallet(holder.window.town.lenders[1])
        await holder.window.town.tamper(
            "tokens",
            f"update app.tokens set holder_subject_id = '{other.subject_id}', holder_wallet = '{other.address}'"
            f" where reference = '{holder.reference}'",
        )
        async with holder.looker.page(examined=True, scheme="dark") as page:
            await page.goto(await holder.link())
            await shown(page)
            assert f"Chain and books differ on {holder.reference}." in await page.get_by_role("alert").inner_text()
            assert await faults_of(page) == []
            await picture(page, "explorer-differs", pictures)


async def test_the_holdings_print_whole(world: World, pictures: Path | None) -> None:
    """A table that scrolls on a screen is not cut off on paper."""
    async with holder_in(world) as holder, holder.looker.page() as page:
        await page.goto(await holder.link())
        await shown(page)
        await page.emulate_media(media="print")
        await page.set_viewport_size({"width": A4_WIDTH, "height": HEIGHT})
        assert await overflow_of(page) == 0
        await picture(page, "explorer-print", pictures)
        sheets = pypdfium2.PdfDocument(await page.pdf(format="A4"))
        text = " ".join("".join(sheet.get_textpage().get_text_bounded() for sheet in sheets).split())
        for word in (holder.reference, "Entry behind it", "our minting wallet", "Anchors"):
            assert word in text
