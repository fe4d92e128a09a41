"""Sellers are told, codes are mailed, and nothing is kept that must not be (NO-01, NO-04, IN-09)."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product
from typing import Any

import asyncpg
import pytest
from jinja2 import UndefinedError

from fintokenx import audit
from fintokenx.kernel.machine import NOTHING, IllegalTransition
from fintokenx.lifecycle.invoice.service import examine
from fintokenx.observers.notification.jobs import NotificationJobs
from fintokenx.observers.notification.ports import Mail
from fintokenx.observers.notification.service import render
from fintokenx.observers.notification.transitions import EMAIL
from fintokenx.parties import compliance
from fintokenx.parties.auth.events import LoginCodeWanted
from tests.modules.paper import SYSTEM, until, working
from tests.modules.parties_house import HERE
from tests.modules.post_house import A_SCAN, CANARY, PUBLIC_URL, Post, link_in, post
from tests.support import World

pytestmark = pytest.mark.anyio
__all__ = ["post"]


def code_in(text: str) -> str:
    found = re.search(r"^(\d{8})$", text.replace("\r\n", "\n"), re.MULTILINE)
    assert found, text
    return found[1]


# ── the seller is told ──


SELLERS = "s@oak.example"


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
                move = audit.Changes(facts=(LoginCodeWanted(buyer.id, tx.at),))
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
            move = audit.Changes(facts=(LoginCodeWanted(post.paper.buyer.id, tx.at),))
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
    move = audit.Changes((audit.insert("email_sends", forged),))
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
                await audit.change(tx, SYSTEM, action=action, resource="r", move=audit.Changes((change,)))


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
