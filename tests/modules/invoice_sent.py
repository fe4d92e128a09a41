"""What the tests of an invoice's routes share: a house, its isolated twin, and documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.modules.invoice_house import (
    House,
    OneAtATime,
    Parties,
    invoice_house,
)
from tests.support.pages import Page

NOW = datetime(2026, 6, 16, 9, 0, tzinfo=UTC)


@pytest.fixture
async def house(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as made:
        made.world.clock.set(NOW)
        yield made


async def seen(house: House, parties: Parties) -> tuple[str, str, httpx.Response]:
    """Reference, link and page of an invoice that its buyer has looked at."""
    reference = await house.awaiting(parties)
    link = await house.link(reference)
    return reference, link, await house.client.get(link)


async def pressed(house: House, link: str, decision: str, page: httpx.Response | None = None) -> httpx.Response:
    """Press a button of the page; without one, as a client that posts without having looked."""
    fields = Page(page.text).inputs if page is not None else {"seal": ""}
    return await house.client.post(link, data={**fields, "decision": decision})
