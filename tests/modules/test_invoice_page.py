"""The buyer's page: looked at often, answered once, and what it saw is proved (IN-08 … IN-11, AU-06, AU-07)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from datetime import timedelta

import pytest

from fintokenx.app.http import BODY_BYTES_MAX
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.errors import Refused
from fintokenx.lifecycle import invoice
from fintokenx.parties import auth, compliance
from tests.modules.invoice_house import (
    ADDRESS,
    HARBOUR,
    House,
    Sample,
)
from tests.modules.invoice_sent import NOW, house, pressed, seen
from tests.modules.parties_house import HERE, THERE
from tests.support.pages import Page

pytestmark = pytest.mark.anyio
__all__ = ["house"]

# --- the buyer's page


async def test_a_page_is_looked_at_often_and_archived_once(house: House) -> None:
    """AU-07, IN-12: a mail scanner's GET uses nothing up; the page says what the buyer must know."""
    parties = await house.parties()
    reference = await house.awaiting(parties)
    link = await house.link(reference)
    pages = [await house.client.get(link) for _ in range(4)]
    assert {(page.status_code, page.content) for page in pages} == {(200, pages[0].content)}
    [archived] = (await house.documents(reference))["confirmation_page"]
    assert archived.sha256 == hashlib.sha256(pages[0].content).hexdigest() == pages[0].headers["FX-Page-Hash"]
    assert await house.blobs.get(HERE, archived.storage_ref) == pages[0].content
    assert (await house.trail(reference))[3:] == ["MAGIC_LINK_ISSUE", "MAGIC_LINK_OPEN", "BUYER_PAGE_VIEW"]
    page = Page(pages[0].text)
    for word in (
        "£12,480.00", "31 July 2026", "HS-2026-0117", reference, "FinToken X Collections", "04-00-04", "12345678",
        "Notice of assignment", "Harbourlight Signage Ltd", "Northwater Retail Group plc",
    ):  # fmt: skip
        assert word in page.text, word
    assert page.buttons == {"confirm": "decision", "decline": "decision"}


async def test_the_page_runs_nothing_and_its_policy_allows_its_own_style_only(house: House) -> None:
    """SB-04; company names and numbers are text, whatever they contain."""
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}'
    told = dict(HARBOUR.told) | {"seller": dict(HARBOUR.told["seller"]) | {"name": evil}}
    parties = await house.parties(Sample(HARBOUR.content, told))
    reference = await house.submitted(parties, invoice_number="<b>HS-2026-0117</b>")
    await house.work()
    [case] = await house.cases(reference)
    await house.decide(case, compliance.Decision.APPROVE)
    answer = await house.client.get(await house.link(reference))
    page = Page(answer.text)
    assert page.tags.isdisjoint({"script", "img", "b", "link", "iframe"})
    assert evil in page.text
    assert "<b>HS-2026-0117</b>" in page.text
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_buyer_confirms_once_and_what_it_saw_is_proved(house: House) -> None:
    """IN-10, IN-11, IN-12."""
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    answer = await pressed(house, link, "confirm", page)
    assert answer.status_code == 200
    assert "£12,480.00 by 31 July 2026" in Page(answer.text).text
    assert (await house.invoice(reference)).state == "CONFIRMED"
    [row] = await house.rows("select * from app.buyer_confirmations")
    [archived] = (await house.documents(reference))["confirmation_page"]
    stored = await house.blobs.get(HERE, archived.storage_ref)
    assert hashlib.sha256(stored).hexdigest() == row["page_hash"]
    assert stored == page.content
    assert (row["confirmed_by"], row["confirmed_at"]) == (parties.buyer.id, NOW)
    assert row["session_id"].startswith("ml_")
    assert ADDRESS not in row["ip_sealed"]
    assert await house.sealer.open(HERE, parties.buyer.id, "ip", row["ip_sealed"]) == ADDRESS
    entry = (await house.entries(reference))[-1]
    assert (entry.action, entry.actor, entry.actor_role) == ("CONFIRM_INVOICE", parties.buyer.id, "buyer")
    assert "InvoiceConfirmed" in entry.diff

    for again in (await pressed(house, link, "confirm", page), await pressed(house, link, "decline", page)):
        assert again.status_code == 410
        Page(again.text)
    assert (await house.client.get(link)).status_code == 410
    assert await house.count("app.buyer_confirmations") == 1
    later = await house.link(reference)
    for late in (await house.client.get(later), await pressed(house, later, "confirm")):
        assert (late.status_code, "confirmed before" in late.text) == (409, True)
    assert (await house.trail(reference)).count("CONFIRM_INVOICE") == 1


async def test_of_twenty_parallel_answers_one_counts(house: House) -> None:
    """IN-11; declining at the same moment waits for no lock in the wrong order."""
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    decisions = ["confirm"] * 15 + ["decline"] * 5
    answers = await asyncio.gather(*(pressed(house, link, decision, page) for decision in decisions))
    assert sorted(answer.status_code for answer in answers) == [200, *[410] * 19]
    counted = next(decision for decision, each in zip(decisions, answers, strict=True) if each.status_code == 200)
    state = {"confirm": "CONFIRMED", "decline": "DECLINED_BY_BUYER"}[counted]
    assert (await house.invoice(reference)).state == state
    assert await house.count("app.buyer_confirmations") == (1 if counted == "confirm" else 0)


async def test_twenty_parallel_confirmations_leave_one_row(house: House) -> None:
    """IN-11."""
    reference, link, page = await seen(house, await house.parties())
    answers = await asyncio.gather(*(pressed(house, link, "confirm", page) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200, *[410] * 19]
    assert await house.count("app.buyer_confirmations") == 1
    assert (await house.trail(reference)).count("CONFIRM_INVOICE") == 1


async def test_a_buyer_declines_and_a_person_asks_why(house: House) -> None:
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    assert (await pressed(house, link, "decline", page)).status_code == 200
    await house.work()
    assert (await house.invoice(reference)).state == "DECLINED_BY_BUYER"
    assert (await house.trail(reference))[-1] == "INVOICE_BUYER_DECLINE"
    [case] = await house.cases(reference)
    assert (case.reason, case.subject_id) == ("BUYER_DECLINED", parties.seller.id)
    assert await house.trail(case.id) == ["CASE_OPEN"]
    assert (await pressed(house, link, "confirm", page)).status_code == 410
    await house.decide(case, compliance.Decision.APPROVE)
    assert (await house.invoice(reference)).state == "DECLINED_BY_BUYER"
    assert await house.count("app.buyer_confirmations") == 0


async def test_a_page_that_was_never_shown_or_has_changed_cannot_be_confirmed(house: House) -> None:
    """IN-12: nothing is used up by the attempt."""
    parties = await house.parties()
    reference = await house.awaiting(parties)
    link = await house.link(reference)
    unseen = await pressed(house, link, "confirm")
    assert (unseen.status_code, "read it again" in unseen.text) == (409, True)
    page = await house.client.get(link)
    for seal in ("0" * 64, ""):
        stale = await house.client.post(link, data={"decision": "confirm", "seal": seal})
        assert (stale.status_code, "read it again" in stale.text) == (409, True), seal
    assert await house.count("app.buyer_confirmations") == 0
    assert (await pressed(house, link, "confirm", page)).status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        "", "decision=confirm", "seal=SEAL", "decision=confirm&decision=decline&seal=SEAL",
        "decision=decline&decision=confirm&seal=SEAL", "decision=confirm&seal=SEAL&seal=SEAL",
        "decision=confirm&seal=SEAL&amount=1", "decision=perhaps&seal=SEAL", "decision=&seal=SEAL",
        "decision=confirm&seal=SEAL&x=" + "x" * 20_000, "decision=confirm&seal=SEAL&x=" + "x" * 9_000_000,
        "decision&seal=SEAL", "decision=%ff&seal=SEAL", "%00", "decision=confirm&seal=SEAL" + "&a=1" * 3000, "\u00e9",
    ],
    ids=lambda form: form[:40],
)  # fmt: skip
async def test_another_form_than_the_page_s_is_422_with_a_page_and_changes_nothing(house: House, form: str) -> None:
    """A15: `decision=confirm&decision=decline` was executed as a decline."""
    reference, link, page = await seen(house, await house.parties())
    content = form.replace("SEAL", Page(page.text).inputs["seal"]).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await house.client.post(link, content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "press one of the two buttons" in Page(answer.text).text
    assert (await house.invoice(reference)).state == "AWAITING_BUYER"
    assert (await pressed(house, link, "confirm", page)).status_code == 200


async def test_a_form_of_another_kind_is_422_with_a_page(house: House) -> None:
    """A15: multipart and JSON are not what the page sends; too large a one that announces it is not read."""
    _, link, page = await seen(house, await house.parties())
    fields = {"decision": "confirm", "seal": Page(page.text).inputs["seal"]}
    for answer in (
        await house.client.post(link, json=fields),
        await house.client.post(link, data=fields, files={"x": b"x"}),
        await house.client.post(link, content=b"", headers={"Content-Length": str(BODY_BYTES_MAX + 1)}),
    ):
        assert answer.status_code == 422
        Page(answer.text)


async def test_a_dead_or_foreign_link_opens_nothing(house: House) -> None:
    """AU-07."""
    reference = await house.awaiting(await house.parties())
    first = await house.link(reference)
    second = await house.link(reference)
    raw = second.removeprefix("/confirm/")
    moved = second.replace(HERE, THERE)
    table = [
        (first, 410),
        (f"/confirm/{HERE}.{'0' * 64}", 404),
        (f"/confirm/{raw[:-1]}{'0' if raw[-1] != '0' else '1'}", 404),
        (moved, 404),
        ("/confirm/tnt_nobody." + "1" * 64, 404),
        ("/confirm/x", 404),
        ("/confirm/%00", 404),
    ]
    for link, status in table:
        for answer in (await house.client.get(link), await pressed(house, link, "confirm")):
            assert answer.status_code == status, link
            assert reference not in answer.text
            assert "FinToken" not in answer.text
            Page(answer.text)
    house.world.clock.set(NOW + timedelta(days=7))
    for answer in (await house.client.get(second), await pressed(house, second, "confirm")):
        assert answer.status_code == 410
    assert (await house.invoice(reference)).state == "AWAITING_BUYER"


async def test_a_link_is_for_one_invoice_and_for_its_buyer(house: House) -> None:
    """IN-13: the seller cannot confirm, with whatever it has."""
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    raw = link.removeprefix("/confirm/")
    page_hash = page.headers["FX-Page-Hash"]
    signed_in = Caller(HERE, Role.SELLER, parties.seller.id, subject_id=parties.seller.id)
    as_buyer = Caller(HERE, Role.BUYER, parties.seller.id, subject_id=parties.seller.id, scope=reference)
    other = Caller(HERE, Role.BUYER, parties.buyer.id, subject_id=parties.buyer.id, scope="FXI-0000000")
    unscoped = Caller(HERE, Role.BUYER, parties.buyer.id, subject_id=parties.buyer.id)
    for caller, code in (
        (signed_in, "ROLE_FORBIDDEN"), (as_buyer, "NOT_FOUND"), (other, "MAGIC_LINK_SCOPE"),
        (unscoped, "MAGIC_LINK_SCOPE"),
    ):  # fmt: skip
        for confirming in (True, False):
            with pytest.raises(Refused) as refusal:
                async with house.world.database.transaction(HERE) as tx:
                    if confirming:
                        await invoice.confirm(
                            tx, caller, reference=reference, page_hash=page_hash, ip_sealed="x", link=raw
                        )
                    await invoice.decline(tx, caller, reference=reference, link=raw)
            assert refusal.value.code == code, caller
    headers = {"Authorization": f"Bearer {raw}"}
    assert (await house.client.get(f"/v1/invoices/{reference}", headers=headers)).status_code == 401
    assert await house.count("app.buyer_confirmations") == 0


async def test_a_suspended_buyer_cannot_confirm(house: House) -> None:
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    await house.moved(parties.buyer, auth.SubjectEvent.SUSPEND)
    assert (await pressed(house, link, "confirm", page)).status_code == 403
    assert (await house.invoice(reference)).state == "AWAITING_BUYER"


async def test_the_raw_link_and_the_buyers_address_are_kept_nowhere(
    house: House, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """AU-07, SB-05: not in a row, an entry, a job, a blob or a log line."""
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    await pressed(house, link, "confirm", page)
    secret = link[-64:]
    tables = await house.rows(
        "select schemaname || '.' || tablename as name from pg_tables where schemaname in ('app', 'ops', 'fx')"
    )
    for table in tables:
        for canary in (secret, ADDRESS):
            [found] = await house.rows(
                f"select count(*) as n from {table['name']} t where t::text like $1", f"%{canary}%"
            )
            assert found["n"] == 0, table["name"]
    for [document] in (await house.documents(reference)).values():
        content = await house.blobs.get(HERE, document.storage_ref)
        assert secret.encode() not in content
        assert secret not in document.storage_ref
    assert secret not in capsys.readouterr().out + caplog.text
    assert secret not in page.text + "".join(f"{k}{v}" for k, v in page.headers.items())
