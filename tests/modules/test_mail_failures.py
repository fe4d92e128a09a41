"""Mail that cannot be sent is tried, given up and told of (NO-03, A12)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fintokenx.kernel.caller import Caller, Role
from fintokenx.lifecycle.invoice.service import examine
from fintokenx.parties import auth, compliance
from tests.modules.paper import SYSTEM, until, working
from tests.modules.parties_house import HERE
from tests.modules.post_house import A_SCAN, CANARY, Post, post, wanted

pytestmark = pytest.mark.anyio
__all__ = ["post"]

MLRO = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")


async def alerts(post: Post) -> list[tuple[str, str, str, int]]:
    async with post.world.database.transaction(HERE) as tx:
        found = await compliance.alerts(tx, MLRO, state=None, after="", limit=50)
    return sorted((alert.cause, alert.resource, alert.state, alert.occurrences) for alert in found)


async def jobs_run(post: Post) -> int:
    """How often notification's jobs were tried."""
    admin = await post.world.connect("postgres")
    tries = await admin.fetchval("select sum(attempts) from ops.jobs where name like 'notification.%'")
    await admin.close()
    return int(tries)


@pytest.mark.parametrize(
    ("mode", "failure"), [("smtp_refuse", "MAIL_RECIPIENT_REFUSED"), ("smtp_reject_data", "MAIL_CONTENT_REFUSED")]
)
async def test_a_refusal_for_good_alerts_at_once_and_is_never_tried_again(post: Post, mode: str, failure: str) -> None:
    await post.mode(mode)
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
        assert await alerts(post) == [("MAIL_UNDELIVERABLE", reference, "RAISED", 1)]
        await post.mode("up")
        async with post.world.database.transaction(HERE) as tx:
            payload = {"reference": reference, "obligor_id": post.paper.buyer.id}
            tx.enqueue("notification.ask_buyer", payload, dedupe_key="told again")
        post.world.clock.set(post.world.clock.now() + timedelta(days=1))
        await until(post.all_sent)
    assert await jobs_run(post) == 2
    [email] = await post.emails()
    assert (email["state"], email["failure"], email["provider_ref"]) == ("FAILED", failure, None)
    assert await alerts(post) == [("MAIL_UNDELIVERABLE", reference, "RAISED", 1)]
    assert await post.messages() == []
    assert (await post.trail(reference))[-2:] == ["MAIL_FAILED", "ALERT_RAISE"]


async def test_an_address_to_which_no_mail_can_be_sent_alerts_at_once(post: Post) -> None:
    """Such as were taken before addresses had one rule."""
    odd = await post.house.subject(Role.LENDER, "a,b@x.example")
    await wanted(post, odd)
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    assert [(email["state"], email["failure"]) for email in await post.emails()] == [("FAILED", "UNSAFE_MAIL")]
    assert await alerts(post) == [("MAIL_UNDELIVERABLE", odd.id, "RAISED", 1)]


async def test_a_buyer_without_an_address_alerts_at_once(post: Post) -> None:
    """No mail is queued, and no link exists."""
    async with post.world.database.transaction(HERE) as tx:
        post.paper.buyer = await auth.create_subject(
            tx,
            SYSTEM,
            subject_id=post.world.ids.new("sub"),
            role=Role.BUYER,
            legal_name="Silent Ltd",
            company_number="99999999",
            person=None,
        )
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    assert await alerts(post) == [("MAIL_UNDELIVERABLE", reference, "RAISED", 1)]
    assert await post.emails() == []
    assert "MAGIC_LINK_ISSUE" not in await post.trail(reference)


async def to_the_next_try(post: Post) -> None:
    """Set the clock to when the one job that is left is due, and let it fail again or end."""
    [job] = await post.jobs_left()
    post.world.clock.set(job["run_at"])

    async def tried() -> bool:
        left = await post.jobs_left()
        return not left or (left[0]["attempts"] > job["attempts"] and left[0]["leased_until"] is None)

    await until(tried)


async def test_mail_that_is_tried_in_vain_alerts_within_minutes_and_no_more_once_it_has_left(post: Post) -> None:
    await post.mode("smtp_defer")
    reference, _ = await post.paper.invoice("AWAITING_BUYER")
    asked_at = post.world.clock.now()
    async with working(post.world, post.jobs.jobs()):
        await until(post.tried)
        while post.world.clock.now() - asked_at < timedelta(minutes=3):
            assert await alerts(post) == []
            await to_the_next_try(post)
        assert post.world.clock.now() - asked_at < timedelta(minutes=4)
        assert await alerts(post) == [("MAIL_DELAYED", reference, "RAISED", 1)]
        await post.mode("up")
        await to_the_next_try(post)
    assert await alerts(post) == [("MAIL_DELAYED", reference, "AUTO_CLEARED", 1)]
    assert [email["state"] for email in await post.emails()] == ["SENT"]


async def test_a_code_is_not_mailed_once_it_would_be_dead_and_the_next_one_ends_the_alert(post: Post) -> None:
    """Nothing is tried beyond ten minutes after somebody asked; that it never left is told."""
    buyer = post.paper.buyer
    await post.mode("smtp_down")
    await wanted(post, buyer)
    asked_at = post.world.clock.now()
    async with working(post.world, post.jobs.jobs()):
        await until(post.tried)
        while await post.jobs_left():
            assert post.world.clock.now() - asked_at < auth.CODE_LIFE
            await to_the_next_try(post)
        assert [email["state"] for email in await post.emails()] == ["EXPIRED"]
        assert await alerts(post) == [
            ("MAIL_DELAYED", buyer.id, "AUTO_CLEARED", 1),
            ("MAIL_UNDELIVERABLE", buyer.id, "RAISED", 1),
        ]
        await post.mode("up")
        await wanted(post, buyer)
        await until(post.all_sent)
    assert len(await post.messages()) == 1
    assert [(cause, state) for cause, _, state, _ in await alerts(post)] == [
        ("MAIL_DELAYED", "AUTO_CLEARED"),
        ("MAIL_UNDELIVERABLE", "AUTO_CLEARED"),
    ]


async def test_a_code_that_was_asked_for_while_nobody_worked_is_not_mailed_an_hour_later(post: Post) -> None:
    await wanted(post, post.paper.buyer)
    post.world.clock.set(post.world.clock.now() + timedelta(hours=1))
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    assert [email["state"] for email in await post.emails()] == ["EXPIRED"]
    assert await post.messages() == []


async def test_a_mail_that_left_to_another_person_ends_no_alert(post: Post) -> None:
    """About one invoice its seller and its buyer are written to."""
    reference, _ = await post.paper.invoice("EXTRACTING")
    await post.mode("smtp_refuse", times=1)
    async with working(post.world, post.jobs.jobs()):
        async with post.world.database.transaction(HERE) as tx:
            await examine.finish_extraction(tx, SYSTEM, reference=reference, reading=A_SCAN, artefacts=())
        await until(post.all_sent)
        async with post.world.database.transaction(HERE) as tx:
            await examine.review_decided(
                tx, SYSTEM, reference=reference, reason="FIELD_MISMATCH", decision=compliance.Decision.APPROVE
            )
        await until(post.all_sent)
    assert len(await post.messages()) == 1
    assert await alerts(post) == [("MAIL_UNDELIVERABLE", reference, "RAISED", 1)]


async def test_of_two_companies_at_one_address_each_mail_says_in_its_subject_whose_code_it_has(post: Post) -> None:
    other = await post.house.subject(Role.LENDER, CANARY)
    await wanted(post, post.paper.buyer, other)
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    assert sorted(mail["subject"] for mail in await post.messages()) == [
        "Your code to sign in to FinToken X as buyer of Ada Byron Engines Ltd",
        "Your code to sign in to FinToken X as lender of Ada Byron Engines Ltd",
    ]
