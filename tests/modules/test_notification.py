"""People are told what happened, once, under their tenant's flag (NO-01, NO-03, NO-04, IN-09)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fintokenx.observers.notification.jobs import NotificationJobs
from fintokenx.observers.notification.ports import Mail
from tests.modules.paper import until, working
from tests.modules.parties_house import HERE
from tests.modules.post_house import CANARY, PUBLIC_URL, Post, post

pytestmark = pytest.mark.anyio
__all__ = ["post"]


class Crash(Exception):
    """The process dies here."""


# ── the buyer is asked ──


async def test_the_buyer_gets_a_link_under_the_flag_of_its_tenant(post: Post) -> None:
    """IN-09, NO-01: name, address and link are the tenant's; the link opens this invoice."""
    reference, _ = await post.paper.invoice("AWAITING_BUYER", face_pence=547_680)
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    [message] = await post.messages()
    assert message["from"] == "FinToken X <invoices@fintokenx.example>"
    assert message["to"] == [CANARY]
    assert message["subject"] == "Please confirm invoice INV-00001 of Ada Byron Engines Ltd"
    for expected in ("£5,476.80", "INV-00001", "01 August 2026", "16 June 2026, 09:00", reference):
        assert expected in message["text"], expected
    assert await post.opens(message["text"]) == reference
    [email] = await post.emails()
    assert (email["state"], email["template"], email["resource"]) == ("SENT", "confirm_invoice", reference)
    assert email["id"] in message["message_id"]
    assert message["message_id"].endswith("@fintokenx.example>")
    assert (await post.trail(reference))[-4:-1] == ["MAIL_QUEUE", "MAGIC_LINK_ISSUE", "MAIL_SENT"]


async def test_the_same_event_twice_is_one_mail(post: Post) -> None:
    """NO-03."""
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
        async with post.world.database.transaction(HERE) as tx:
            payload = {"reference": reference, "obligor_id": post.paper.buyer.id}
            tx.enqueue("notification.ask_buyer", payload, dedupe_key="told again")
        await until(post.all_sent)
    assert len(await post.emails()) == len(await post.messages()) == 1
    assert (await post.messages())[0]["deliveries"] == 1
    assert (await post.trail(reference)).count("MAGIC_LINK_ISSUE") == 1


async def test_nobody_is_asked_about_an_invoice_that_waits_no_more(post: Post) -> None:
    reference, _ = await post.paper.invoice("CONFIRMED")
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    assert await post.emails() == await post.messages() == []
    assert "MAGIC_LINK_ISSUE" not in await post.trail(reference)


@pytest.mark.parametrize("mode", ["smtp_down", "smtp_defer"])
async def test_a_mailer_that_was_down_delivers_one_mail_with_a_live_link(post: Post, mode: str) -> None:
    """NO-03: the delays grow, the row stays one, and the one message that arrives is good."""
    await post.mode(mode)
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        delays: list[timedelta] = []
        for attempt in (1, 2, 3):

            async def tried(attempt: int = attempt) -> bool:
                [job] = await post.jobs_left()
                return bool(job["attempts"] == attempt and job["leased_until"] is None)

            await until(tried)
            [job] = await post.jobs_left()
            delays.append(job["run_at"] - post.world.clock.now())
            if attempt == 3:
                await post.mode("up")
            post.world.clock.set(job["run_at"])
        await until(post.all_sent)
    assert delays == [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=5)]
    [message] = await post.messages()
    assert message["deliveries"] == 1
    assert await post.opens(message["text"]) == reference
    [email] = await post.emails()
    assert email["state"] == "SENT"
    assert (await post.trail(reference)).count("MAIL_QUEUE") == 1


async def test_when_the_relay_took_the_mail_and_fell_silent_the_newest_link_is_the_live_one(post: Post) -> None:
    """The repeat has a link of its own, so it must not look like the first to a receiver that drops repeats."""
    await post.mode("smtp_lost_response", times=1)
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        await until(post.tried)
        post.world.clock.set(post.world.clock.now() + timedelta(seconds=1))
        await until(post.all_sent)
    first, second = await post.messages()
    [email] = await post.emails()
    assert first["message_id"] != second["message_id"]
    assert email["id"] in first["message_id"]
    assert email["id"] in second["message_id"]
    assert await post.opens(first["text"]) is None
    assert await post.opens(second["text"]) == reference


async def test_a_crash_between_sending_and_noting_it_leaves_one_row_and_a_live_link(post: Post) -> None:
    """The job is claimed again by another process when the lease of the dead one runs out."""
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    mailer = post.jobs.mailer

    class DiesAfterSending:
        async def send(self, mail: Mail) -> str:
            await mailer.send(mail)
            raise Crash

    dying = NotificationJobs(DiesAfterSending(), post.house.sealer, PUBLIC_URL)
    async with working(post.world, dying.jobs()):
        await until(post.tried)
    assert [email["state"] for email in await post.emails()] == ["QUEUED"]
    post.world.clock.set(post.world.clock.now() + timedelta(seconds=1))
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    assert [email["state"] for email in await post.emails()] == ["SENT"]
    _, second = await post.messages()
    assert await post.opens(second["text"]) == reference
    assert (await post.trail(reference))[-5:-1] == ["MAIL_QUEUE", "MAGIC_LINK_ISSUE", "MAGIC_LINK_ISSUE", "MAIL_SENT"]
