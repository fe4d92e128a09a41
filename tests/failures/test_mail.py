"""The buyer's mail while the relay fails: recorded as sent once, and only the newest link works, once (NO-03)."""

from __future__ import annotations

import pytest

from tests.failures.house import House, in_short
from tests.failures.matrix import MAIL, REFUSED_MAIL, Row

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("row", in_short(MAIL, {"smtp_down", "smtp_lost_response"}))
async def test_a_buyer_is_asked_once_in_effect(house: House, row: Row) -> None:
    await house.cast()
    await house.signed_in((await house.company("seller")).email)  # its code comes by mail, too
    await house.mlro()
    async with house.failing("mailbox", row.mode):
        paper = await house.upload()
        await house.sees_in_trail(paper.reference, "MAGIC_LINK_ISSUE", times=2)
        assert "MAIL_SENT" not in await house.trail(paper.reference)
        assert (await house.provider("mail"))["state"] == ("working" if row.mode == "smtp_defer" else "failing")
        assert await house.state(paper) in row.states
    await house.pass_time(minutes=1)
    await house.sees_in_trail(paper.reference, "MAIL_SENT")
    links = await house.links(paper)
    assert len(links) == 1 or row.mode == "smtp_lost_response"
    assert [await house.answer(link) for link in links[:-1]] == [410] * (len(links) - 1)
    assert await house.answer(links[-1]) == 200
    assert await house.answer(links[-1]) == 410
    await house.invoice_is(paper, "LISTED")
    trail = await house.trail(paper.reference)
    assert [trail.count(action) for action in ("MAIL_QUEUE", "MAIL_SENT", "CONFIRM_INVOICE", "TOKEN_MINT")] == [1] * 4
    house.stock.append(paper)


@pytest.mark.parametrize("row", in_short(REFUSED_MAIL, {"smtp_refuse"}))
async def test_a_mail_that_is_refused_for_good_is_told_of_and_tried_no_more(house: House, row: Row) -> None:
    """Issue 9 A12: no retries for a day, and no silence."""
    await house.cast()
    await house.signed_in((await house.company("seller")).email)
    await house.mlro()
    async with house.failing("mailbox", row.mode):
        paper = await house.upload()
        await house.sees_in_trail(paper.reference, "MAIL_FAILED")
        assert await house.alerts(paper.reference) == [row.alert]
    await house.pass_time(minutes=10)
    assert await house.state(paper) in row.states
    trail = await house.trail(paper.reference)
    assert [trail.count(action) for action in ("MAIL_QUEUE", "MAIL_FAILED", "MAIL_SENT")] == [1, 1, 0]
    assert await house.links(paper) == []
