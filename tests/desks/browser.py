"""Debian's Chromium, driven by Playwright, looking at an application that really listens."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import uvicorn
from fastapi import FastAPI
from PIL import Image
from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, Response, async_playwright

from tests.support import ROOT

AXE: Final = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS: Final = ROOT / "docs" / "screenshots"
SCREENSHOT_BYTES_MAX: Final = 100_000
WIDTHS: Final = (360, 1280)
HEIGHT: Final = 800
Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
A4_WIDTH: Final = 680
"""The width in CSS pixels of an A4 page within our margins of 15 mm."""
SERIOUS: Final = {"serious", "critical"}


class BrowserMissing(AssertionError):
    """These tests are not skipped: without a browser nobody has looked."""


def chromium() -> str:
    """Where the browser is. :raises BrowserMissing: nowhere"""
    found = shutil.which("chromium")
    if found is None:
        raise BrowserMissing("Chromium is not installed; Debian: make chromium, or sudo apt-get install chromium")
    return found


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """The application behind uvicorn on a free port; its address. It runs in this process, beside the test."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            async with asyncio.timeout(60):
                while not server.started:
                    await asyncio.sleep(0.02)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@dataclass
class Looker:
    """Somebody with a browser. ``complaints`` are what it wrote on its console: blocked by a policy, or not found."""

    browser: Browser
    base_url: str
    complaints: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def page(
        self, width: int = WIDTHS[1], scheme: Scheme = "light", *, javascript: bool = True, examined: bool = False
    ) -> AsyncIterator[Page]:
        """A tab of its own. Where it is ``examined``, axe stands in it, and for its sake alone the policy does not."""
        context = await self.browser.new_context(
            base_url=self.base_url, viewport={"width": width, "height": HEIGHT}, color_scheme=scheme,
            java_script_enabled=javascript, bypass_csp=examined, locale="en-GB", reduced_motion="reduce",
        )  # fmt: skip
        if examined:
            await context.add_init_script(path=AXE)
        page = await context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda fault: self.complaints.append(str(fault)))
        page.on("response", self._see)
        try:
            yield page
        finally:
            await context.close()

    def _hear(self, said: ConsoleMessage) -> None:
        if not said.text.startswith("Failed to load resource"):  # those are judged by their answers
            self.complaints.append(f"{said.type}: {said.text}")

    def _see(self, answer: Response) -> None:
        asked = answer.request
        is_page = asked.resource_type in ("document", "fetch")  # which may say no
        if answer.status >= 400 and not is_page and not asked.url.endswith("/favicon.ico"):
            self.complaints.append(f"{answer.status} {asked.url}")


@asynccontextmanager
async def looking_at(app: FastAPI) -> AsyncIterator[Looker]:
    """A browser before the running application."""
    playwright: Playwright
    async with listening(app) as base_url, async_playwright() as playwright:
        # Root has no sandbox of the kernel's to put the browser in; it sees our own pages alone.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield Looker(browser, base_url)
        finally:
            await browser.close()


def combinations() -> Iterator[tuple[int, Scheme]]:
    """Narrow and wide, light and dark."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            yield width, scheme


async def faults_of(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical: the rule and the places."""
    found: Mapping[str, Any] = await page.evaluate("() => axe.run()")
    assert found["passes"], "axe looked at nothing"
    return [
        f"{each['id']}: {', '.join(str(node['target'][0]) for node in each['nodes'])}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


async def overflow_of(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    width: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


async def brightness_of(page: Page) -> float:
    """The mean of red, green and blue of the paper that the page is written on, 0 to 255."""
    colour: str = await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
    parts = [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(parts) / len(parts)


async def seems_right(page: Page, scheme: Scheme) -> None:
    """No part hangs over, and it is as bright as its reader asked."""
    assert await overflow_of(page) == 0
    assert (await brightness_of(page) > 200) == (scheme == "light")


STEADY: Final = """() => {
    for (const hash of document.querySelectorAll('.hash'))
        hash.textContent = hash.textContent.replace(/(?<=^(0x|[a-z]{3}_)?)[0-9a-z]+$/i,
            (text) => '0123456789abcdef'.repeat(5).slice(0, text.length));
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replace(/block [0-9]+/g, 'block 1204');
}"""
"""Hashes, ids and blocks are others in each run; in a picture they are not."""


async def picture(page: Page, name: str, folder: Path | None) -> None:
    """A picture for docs/pages.md, where the run was asked for them (`make screenshots`)."""
    if folder is None:
        return
    await page.evaluate(STEADY)
    taken = Image.open(io.BytesIO(await page.screenshot(full_page=True, animations="disabled")))
    folder.mkdir(exist_ok=True)
    kept = folder / f"{name}.png"
    taken.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(kept, optimize=True)
    assert kept.stat().st_size < SCREENSHOT_BYTES_MAX, name
