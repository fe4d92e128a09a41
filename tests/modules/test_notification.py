"""People are told what happened, once, under their tenant's flag (NO-01, NO-03, NO-04, IN-09)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from jinja2 import UndefinedError

from fintokenx import audit
from fintokenx.adapters.mail import SmtpMailer
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.machine import NOTHING, IllegalTransition
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, Reading
from fintokenx.lifecycle.invoice.service import examine
from fintokenx.observers.notification.jobs import NotificationJobs
from fintokenx.observers.notification.ports import Mail
from fintokenx.observers.notification.reactions import AFTERWARDS
from fintokenx.observers.notification.service import render
from fintokenx.observers.notification.transitions import EMAIL
from fintokenx.parties import auth, compliance
from fintokenx.parties.auth.events import LoginCodeWanted
from fintokenx.sandbox.providers.mailbox import create_app
from tests.adapters.bank_house import serving
from tests.modules.paper import SYSTEM, Paper, until, working
from tests.modules.parties_house import HERE, House, house
from tests.support import World, names, world_from
from tests.support.fakes.outbound import calm

pytestmark = pytest.mark.anyio
CANARY = "Bea.Canary-4711@elm.example"
MLRO = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
PUBLIC_URL = "https://app.fintokenx.example"


class Crash(Exception):
    """The process dies here."""


@dataclass
class Post:
    """An installation with a real mailbox at the other end of a real SMTP connection."""

    house: House
    paper: Paper
    mailbox: httpx.AsyncClient
    jobs: NotificationJobs

    @property
    def world(self) -> World:
        return self.house.world

    async def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.mailbox.get("/messages", params={"to": CANARY})).json()["messages"]
        return found

    async def mode(self, mode: str, times: int | None = None) -> None:
        assert (await self.mailbox.post("/control/mode", json={"mode": mode, "times": times})).is_success

    async def emails(self) -> list[dict[str, Any]]:
        async with self.world.database.transaction(HERE) as tx:
            return [dict(row) for row in await tx.rows("select * from app.email_sends order by id")]

    async def jobs_left(self) -> list[dict[str, Any]]:
        """Notification's jobs that are not done."""
        admin = await self.world.connect("postgres")
        rows = await admin.fetch("select * from ops.jobs where name like 'notification.%' and state <> 'DONE'")
        await admin.close()
        return [dict(row) for row in rows]

    async def all_sent(self) -> bool:
        return not await self.jobs_left()

    async def tried(self) -> bool:
        """Whether every job that is left has failed at least once."""
        left = await self.jobs_left()
        return bool(left) and all(job["last_error"] for job in left)

    async def trail(self, resource: str) -> list[str]:
        async with self.world.database.transaction(HERE) as tx:
            return names(await audit.entries_of(tx, SYSTEM, resources=[resource]))

    async def opens(self, text: str) -> str | None:
        """The invoice behind the link in a mail's text; None when the link is dead."""
        async with self.world.database.transaction(HERE) as tx:
            try:
                return (await auth.open_magic_link(tx, link_in(text))).scope
            except auth.MagicLinkRevoked:
                return None


def link_in(text: str) -> str:
    found = re.search(rf"^{re.escape(PUBLIC_URL)}/confirm/(\S+)$", text.replace("\r\n", "\n"), re.MULTILINE)
    assert found, text
    return found[1]


def code_in(text: str) -> str:
    found = re.search(r"^(\d{8})$", text.replace("\r\n", "\n"), re.MULTILINE)
    assert found, text
    return found[1]


@pytest.fixture
async def post(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Post]:
    async with world_from(cluster, template, reactions=Reactions(afterwards=AFTERWARDS)) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        seller = await made.subject(Role.SELLER, "s@oak.example")
        buyer = await made.subject(Role.BUYER, CANARY)
        app = create_app(clock=world.clock, smtp_port=0)
        async with (
            made.client,
            serving(app) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as mailbox,
        ):
            port = (await mailbox.get("/smtp")).json()["port"]
            mailer = SmtpMailer(
                host="127.0.0.1", port=port, clock=world.clock, guard=calm(), security="none", timeout_seconds=5
            )
            jobs = NotificationJobs(mailer, made.sealer, PUBLIC_URL + "/")
            yield Post(made, Paper(world, seller, buyer), mailbox, jobs)


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


# ── mail that cannot be sent (A12) ──


async def wanted(post: Post, *subjects: auth.Subject) -> None:
    """Somebody asks for a code to sign in as each of these."""
    async with post.world.database.transaction(HERE) as tx:
        for subject in subjects:
            move = audit.Move(facts=(LoginCodeWanted(subject.id, tx.at),))
            await audit.change(tx, SYSTEM, action="LOGIN_CODE_REQUEST", resource=subject.id, move=move)


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


# ── the seller is told ──


SELLERS = "s@oak.example"
OTHER_DATE = InvoiceOnPaper(issue_date=date(2020, 1, 1))
A_SCAN = Reading("pdf", "reader/1", 10_000, OTHER_DATE, ("NO_TEXT_LAYER", "HIDDEN_TEXT"), "")


async def told_seller(post: Post) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await post.mailbox.get("/messages", params={"to": SELLERS})).json()["messages"]
    return found


async def test_a_seller_is_told_once_that_its_invoice_is_in_review_and_once_that_it_was_declined(post: Post) -> None:
    """A18: why, as far as it may know; what we doubt is not among it."""
    reference, _ = await post.paper.invoice("EXTRACTING")
    async with working(post.world, post.jobs.jobs()):
        for _ in range(2):
            async with post.world.database.transaction(HERE) as tx:
                await examine.finish_extraction(tx, SYSTEM, reference=reference, reading=A_SCAN, artefacts=())
                payload = {"reference": reference, "originator_id": post.paper.seller.id}
                tx.enqueue("notification.invoice_in_review", payload, dedupe_key=tx.ids.new("x"))
        await until(post.all_sent)
        async with post.world.database.transaction(HERE) as tx:
            await examine.review_decided(
                tx, SYSTEM, reference=reference, reason="FIELD_MISMATCH", decision=compliance.Decision.DECLINE
            )
        await until(post.all_sent)
    review, rejected = await told_seller(post)
    assert review["subject"] == "We are looking at invoice INV-00001"
    assert rejected["subject"] == "Invoice INV-00001 was not accepted"
    for mail, why in ((review, "We are looking at this invoice"), (rejected, "A person has looked at this")):
        assert f"\n- {why}" in mail["text"].replace("\r\n", "\n"), mail["text"]
        for expected in (
            "The issue date in the document is not what you declared.",
            "a picture",
            "£1,000.00",
            reference,
        ):
            assert expected in mail["text"], expected
        assert "hidden" not in mail["text"].lower()
    assert await post.messages() == [], "the buyer is not told"
    assert sorted(email["template"] for email in await post.emails()) == ["invoice_in_review", "invoice_rejected"]


async def test_a_seller_is_told_why_its_document_was_refused(post: Post) -> None:
    reference, _ = await post.paper.invoice("EXTRACTING")
    async with working(post.world, post.jobs.jobs()):
        async with post.world.database.transaction(HERE) as tx:
            await examine.refuse_document(tx, SYSTEM, reference=reference, code="DOCUMENT_NOT_AN_INVOICE")
        await until(post.all_sent)
    [mail] = await told_seller(post)
    assert "- The document is not an invoice (a credit note, for example)." in mail["text"]


# ── codes ──


async def test_a_login_code_is_mailed_once_per_wish_and_signs_in(post: Post) -> None:
    buyer = post.paper.buyer
    async with working(post.world, post.jobs.jobs()):
        for _ in range(2):
            async with post.world.database.transaction(HERE) as tx:
                move = audit.Move(facts=(LoginCodeWanted(buyer.id, tx.at),))
                await audit.change(tx, SYSTEM, action="LOGIN_CODE_REQUEST", resource=buyer.id, move=move)
            await until(post.all_sent)
    first, second = await post.messages()
    assert second["subject"] == "Your code to sign in to FinToken X as buyer of Ada Byron Engines Ltd"
    assert first["message_id"] != second["message_id"]
    key = await post.house.api_key()
    answers = [
        await post.house.post("/v1/sessions", {"email": CANARY, "code": code_in(m["text"])}, fx_api_key=key)
        for m in (first, second)
    ]
    assert [answer.status_code for answer in answers] == [401, 201]
    assert (await post.trail(buyer.id)).count("MAIL_SENT") == 2


# ── what must not be kept ──


async def everything_stored(world: World) -> str:
    """Every row of every table, as text."""
    admin = await world.connect("postgres")
    tables = await admin.fetch("select schemaname, tablename from pg_tables where schemaname in ('app', 'ops', 'fx')")
    texts = [
        await admin.fetchval(f"select coalesce(string_agg(t::text, E'\\n'), '') from {schema}.{table} t")
        for schema, table in tables
    ]
    await admin.close()
    return "\n".join(texts)


async def test_no_address_link_or_code_stands_in_a_row_or_a_log(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    """Through failures too: a relay that refuses, one that repeats the recipient in its answer."""
    mailer = post.jobs.mailer

    class RepeatsTheRecipient:
        async def send(self, mail: Mail) -> str:
            return f"{await mailer.send(mail)} for <{mail.to_address}>"

    await post.mode("smtp_defer", times=1)
    jobs = NotificationJobs(RepeatsTheRecipient(), post.house.sealer, PUBLIC_URL)
    await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, jobs.jobs()):
        await until(post.tried)
        async with post.world.database.transaction(HERE) as tx:
            move = audit.Move(facts=(LoginCodeWanted(post.paper.buyer.id, tx.at),))
            await audit.change(tx, SYSTEM, action="LOGIN_CODE_REQUEST", resource=post.paper.buyer.id, move=move)
        post.world.clock.set(post.world.clock.now() + timedelta(seconds=1))
        await until(post.all_sent)
    texts = [message["text"] for message in await post.messages()]
    [link] = [link_in(text) for text in texts if "/confirm/" in text]
    [code] = [code_in(text) for text in texts if "/confirm/" not in text]
    stored, logged = await everything_stored(post.world), "".join(capsys.readouterr())
    assert "sealed:v1:" in stored
    assert "job_failed" in logged
    for secret in (CANARY, CANARY.casefold(), link, link.rpartition(".")[2]):
        assert secret not in stored, secret
        assert secret not in logged, secret
    standing_alone = re.compile(rf"(?<![0-9A-Za-z]){code}(?![0-9A-Za-z])")  # by chance, digits are part of a hash
    assert not standing_alone.search(stored + logged)


async def test_the_database_refuses_an_address_in_the_clear(post: Post) -> None:
    await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    [email] = await post.emails()
    forged = {**email, "id": post.world.ids.new("eml"), "business_key": "x", "state": "QUEUED", "to_sealed": CANARY}
    forged |= {"provider_ref": None, "sent_at": None}
    move = audit.Move((audit.insert("email_sends", forged),))
    with pytest.raises(asyncpg.CheckViolationError):
        async with post.world.database.transaction(HERE) as tx:
            await audit.change(tx, SYSTEM, action="MAIL_QUEUE", resource="r", move=move)


# ── the machine and the templates ──


@pytest.mark.parametrize(("state", "event"), [*product((NOTHING, *EMAIL.states), EMAIL.events)])
def test_every_state_and_event_that_the_table_does_not_list_is_illegal(state: str, event: str) -> None:
    listed = [line for line in EMAIL.transitions if (line.source, line.event) == (state, event)]
    if listed:
        assert EMAIL.next(state, event) == listed[0]
    else:
        with pytest.raises(IllegalTransition):
            EMAIL.next(state, event)


async def test_the_database_takes_no_mail_back(post: Post) -> None:
    await post.paper.invoice("AWAITING_BUYER")
    async with working(post.world, post.jobs.jobs()):
        await until(post.all_sent)
    [email] = await post.emails()
    for action in ("MAIL_QUEUE", "MAIL_SENT"):
        change = audit.update(
            "email_sends",
            key={"tenant_id": HERE, "id": email["id"]},
            before={"state": "SENT"},
            after={"state": "QUEUED"},
        )
        with pytest.raises(asyncpg.PostgresError, match="may not go from"):
            async with post.world.database.transaction(HERE) as tx:
                await audit.change(tx, SYSTEM, action=action, resource="r", move=audit.Move((change,)))


TO_SELLER = {"invoice_number", "amount", "buyer_name", "reasons", "tenant_name", "reference"}
VALUES = {
    "confirm_invoice": {
        "seller_name", "invoice_number", "amount", "due_date", "link", "link_expires", "tenant_name", "reference",
    },
    "invoice_in_review": TO_SELLER,
    "invoice_rejected": TO_SELLER,
    "login_code": {"code", "company", "role", "tenant_name"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "missing"), [(t, name) for t, wanted in VALUES.items() for name in sorted(wanted)]
)
def test_a_missing_variable_fails(template: str, missing: str) -> None:
    """NO-04: every one of them, alone."""
    values = {name: [f"‹{name}›"] if name == "reasons" else f"‹{name}›" for name in VALUES[template]}
    subject, body = render(template, values)
    assert all(f"‹{name}›" in subject + body for name in values)
    del values[missing]
    with pytest.raises(UndefinedError):
        render(template, values)


def test_no_value_adds_a_line_or_a_header() -> None:
    values = dict.fromkeys(VALUES["confirm_invoice"], "x") | {"seller_name": "Oak\r\nBcc: eve@example.org\n\nPay here"}
    subject, body = render("confirm_invoice", values)
    assert "\n" not in subject
    assert "\nBcc" not in body
    assert "Oak Bcc: eve@example.org Pay here" in body
    _, body = render("invoice_rejected", dict.fromkeys(TO_SELLER, "x") | {"reasons": ["One\n\nPay here", "Two"]})
    assert "- One Pay here\n- Two\n" in body
