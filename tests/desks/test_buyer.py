"""The buyer's page in a browser: read, printed and answered, at each width, in each scheme, with and without JavaScript
(IN-10 … IN-12, AU-06; issue 10 must-show 8)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
import pytest
from playwright.async_api import Page

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
from tests.modules.invoice_house import HARBOUR, House, OneAtATime, invoice_house
from tests.modules.parties_house import HERE

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 6, 16, 9, 0, tzinfo=UTC)
"""When the sample is new."""

WORDS = (
    "Is this invoice right?", "£12,480.00", "31 July 2026", "HS-2026-0117", "FinToken X Collections", "04-00-04",
    "12345678", "Notice of assignment", "Harbourlight Signage Ltd", "Northwater Retail Group plc",
)  # fmt: skip
"""What the buyer must be able to read, on paper too."""


@asynccontextmanager
async def asked(cluster: str, template: str, folder: Path) -> AsyncIterator[tuple[House, Looker, str]]:
    """An invoice that waits for its buyer, a browser, and the buyer's link."""
    async with invoice_house(cluster, template, folder, OneAtATime()) as house, looking_at(house.app) as looker:
        house.world.clock.set(NOW)
        reference = await house.awaiting(await house.parties(HARBOUR))
        yield house, looker, reference


async def test_the_page_fits_and_is_accessible_at_each_width_and_in_each_scheme(
    cluster: str, template: str, tmp_path: Path, pictures: Path | None
) -> None:
    async with asked(cluster, template, tmp_path) as (house, looker, reference):
        link = await house.link(reference)
        for width, scheme in combinations():
            async with looker.page(width, scheme, examined=True) as page:
                for path in (link, "/confirm/nothing"):
                    await page.goto(path)
                    assert await faults_of(page) == [], (path, width, scheme)
            async with looker.page(width, scheme) as page:
                await page.goto("/confirm/nothing")
                await seems_right(page, scheme)
                await page.goto(link)
                await seems_right(page, scheme)
                text = await page.inner_text("main")
                assert [word for word in (*WORDS, reference) if word not in text] == []
                await picture(page, f"buyer-{width}-{scheme}", pictures)
        assert looker.complaints == []


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without JavaScript"])
async def test_a_buyer_confirms_by_pressing_the_button_and_its_bytes_are_what_is_kept(
    cluster: str, template: str, tmp_path: Path, javascript: bool, pictures: Path | None
) -> None:
    async with asked(cluster, template, tmp_path) as (house, looker, reference):
        link = await house.link(reference)
        async with looker.page(360, javascript=javascript) as page:
            shown = await page.goto(link)
            assert shown is not None
            content = await shown.body()
            await page.get_by_role("button", name="Confirm this invoice").click()
            await page.get_by_role("heading", name="Confirmed").wait_for()
            assert f"quoting {reference}" in await page.inner_text("main")
            await seems_right(page, "light")
            await picture(page, "buyer-confirmed", pictures)
            await page.goto(link)
            await page.get_by_role("heading", name="This link is no longer valid").wait_for()
            await picture(page, "buyer-gone", pictures)
        [archived] = (await house.documents(reference))["confirmation_page"]
        assert archived.sha256 == hashlib.sha256(content).hexdigest()
        [row] = await house.rows("select page_hash from app.buyer_confirmations")
        assert row["page_hash"] == archived.sha256
        assert looker.complaints == []


async def test_what_is_kept_looks_the_same_where_nothing_can_be_fetched(
    cluster: str, template: str, tmp_path: Path
) -> None:
    """IN-12: the archived bytes alone, far from our origin, are the page that was seen, to the pixel."""
    async with asked(cluster, template, tmp_path) as (house, looker, reference):
        async with looker.page() as page:
            await page.goto(await house.link(reference))
            seen = await page.screenshot(animations="disabled")
        [archived] = (await house.documents(reference))["confirmation_page"]
        kept = tmp_path / "kept.html"
        kept.write_bytes(await house.blobs.get(HERE, archived.storage_ref))
        async with looker.page() as page:
            await page.context.set_offline(True)
            await page.goto(kept.as_uri())
            assert await page.screenshot(animations="disabled") == seen


async def test_the_page_prints_on_one_sheet_with_all_its_words_and_no_button(
    cluster: str, template: str, tmp_path: Path, pictures: Path | None
) -> None:
    async with asked(cluster, template, tmp_path) as (house, looker, reference):
        link = await house.link(reference)
        for scheme in ("light", "dark"):
            async with looker.page(scheme=scheme) as page:  # type: ignore[arg-type]
                await page.goto(link)
                await page.emulate_media(media="print")
                await page.set_viewport_size({"width": A4_WIDTH, "height": HEIGHT})
                assert await overflow_of(page) == 0
                assert await buttons_seen(page) == 0
                ink = await page.evaluate("getComputedStyle(document.querySelector('h1')).color")
                assert ink == "rgb(26, 34, 48)", "dark ink on white paper, whatever the screen has"
                await picture(page, "buyer-print", pictures)
                sheets = pypdfium2.PdfDocument(await page.pdf(format="A4"))
                text = " ".join(sheets[0].get_textpage().get_text_bounded().split())
                assert len(sheets) == 1
                assert [word for word in (*WORDS, reference) if word not in text] == []


async def buttons_seen(page: Page) -> int:
    """How many buttons are there to press."""
    return sum([await each.is_visible() for each in await page.get_by_role("button", include_hidden=True).all()])
