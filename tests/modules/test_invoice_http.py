"""Invoices from outside: what is taken, what is refused, what a buyer sees and answers (IN-01 … IN-13, AU-06)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fintokenx.kernel.caller import Caller, Role
from fintokenx.parties import auth, compliance
from tests.modules.invoice_house import (
    HARBOUR,
    MILLRACE,
    TERN,
    House,
    Sample,
)
from tests.modules.invoice_sent import house, pressed, seen
from tests.modules.parties_house import HERE, THERE

pytestmark = pytest.mark.anyio
__all__ = ["house"]


def renumbered(number: str) -> bytes:
    """Millrace's invoice under another number: other bytes, same buyer, amount and date."""
    return MILLRACE.content.replace(b"<cbc:ID>MF-70093</cbc:ID>", f"<cbc:ID>{number}</cbc:ID>".encode(), 1)


# --- duplicates


async def test_a_duplicate_is_refused_and_kept_on_record(house: House) -> None:
    """IN-07."""
    parties = await house.parties(MILLRACE)
    seller, body = parties.seller.id, parties.declared(MILLRACE)
    reference = await house.submitted(parties, MILLRACE)
    tries = [
        (MILLRACE.content, body | {"invoice_number": "OTHER-1"}, "SAME_FILE"),
        (renumbered("A"), body, "SAME_NUMBER"),
        (renumbered("B"), body | {"invoice_number": "mf70093"}, "SAME_NUMBER"),
        (renumbered("C"), body | {"invoice_number": "MF 700-93"}, "SAME_NUMBER"),
        (renumbered("D"), body | {"invoice_number": "ＭＦ－７００９３"}, "SAME_NUMBER"),
    ]
    for content, declared, kind in (*tries, tries[0]):
        answer = await house.submit(seller, content, declared)
        assert (answer.status_code, answer.json()["code"], answer.json()["kind"]) == (409, "DUPLICATE_INVOICE", kind)
        assert answer.json()["existing_reference"] == reference
    kept = await house.rows("select kind from app.duplicates where invoice_reference = $1 order by 1", reference)
    assert [row["kind"] for row in kept] == sorted(kind for _, _, kind in tries), "a try repeated is on record already"
    assert await house.trail(reference) == ["SUBMIT_INVOICE", *["INVOICE_DUPLICATE"] * len(tries)]
    assert await house.count("app.invoices") == 1


async def test_another_sellers_copy_is_refused_without_saying_whose_it_is(house: House) -> None:
    parties = await house.parties()
    reference = await house.submitted(parties)
    rival = await house.subject(Role.SELLER, "Rival Ltd")
    answer = await house.submit(rival.id, HARBOUR.content, parties.declared(HARBOUR))
    assert (answer.status_code, answer.json()["kind"]) == (409, "SAME_FILE")
    assert reference not in answer.text
    [kept] = await house.rows("select invoice_reference, submitted_by from app.duplicates")
    assert kept == {"invoice_reference": reference, "submitted_by": rival.id}
    numbered = await house.submit(rival.id, TERN.content, parties.declared(HARBOUR))
    assert numbered.status_code == 201, "a number is a seller's own"


async def test_of_parallel_submissions_one_is_taken(house: House) -> None:
    """P-13: ten keys, one document."""
    parties = await house.parties()
    body = parties.declared(HARBOUR)
    answers = await asyncio.gather(*(house.submit(parties.seller.id, HARBOUR.content, body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 9]
    assert (await house.count("app.invoices"), await house.count("app.duplicates")) == (1, 1)


async def test_an_invoice_that_came_to_nothing_may_be_submitted_again(house: House) -> None:
    parties = await house.parties()
    first = await house.submitted(parties)
    assert (await house.post(parties.seller.id, f"/v1/invoices/{first}/withdraw")).json()["state"] == "WITHDRAWN"
    assert await house.submitted(parties) != first


# --- reading, in other people's words


async def test_an_invoice_like_another_one_goes_to_a_person(house: House) -> None:
    """IN-07: same buyer, amount and date under another number."""
    parties = await house.parties(MILLRACE)
    first = await house.awaiting(parties, MILLRACE)
    answer = await house.submit(
        parties.seller.id, renumbered("MF-70094"), parties.declared(MILLRACE, invoice_number="MF-70094")
    )
    await house.work()
    second = answer.json()["reference"]
    assert (await house.invoice(second)).state == "IN_REVIEW"
    assert [case.reason for case in await house.cases(second)] == ["NEAR_DUPLICATE"]
    [kept] = await house.rows("select invoice_reference, kind from app.duplicates")
    assert kept == {"invoice_reference": first, "kind": "SAME_OBLIGOR_AMOUNT_DATE"}
    assert (await house.invoice(first)).state == "AWAITING_BUYER"


async def test_a_field_that_differs_from_the_document_goes_to_a_person(house: House) -> None:
    """IN-04: whatever the seller declares otherwise, the buyer is not asked."""
    parties = await house.parties()
    impostor = await house.subject(Role.SELLER, HARBOUR.told["seller"]["name"])
    stranger = await house.subject(Role.BUYER, HARBOUR.told["buyer"]["name"])
    wrong: list[tuple[str, dict[str, Any], str]] = [
        (parties.seller.id, {"invoice_number": "HS-2026-0118"}, "invoice_number"),
        (parties.seller.id, {"issue_date": "2026-06-02"}, "issue_date"),
        (parties.seller.id, {"maturity_date": "2026-08-01"}, "due_date"),
        (parties.seller.id, {"face_value_pence": HARBOUR.told["total_pence"] + 1}, "total"),
        (impostor.id, {}, "seller_company_number"),
        (parties.seller.id, {"obligor_id": stranger.id}, "buyer_company_number"),
    ]
    for seller, changes, name in wrong:
        answer = await house.submit(seller, HARBOUR.content, parties.declared(HARBOUR, **changes))
        reference = answer.json()["reference"]
        await house.work()
        assert (await house.invoice(reference)).state == "IN_REVIEW", name
        [case] = await house.cases(reference)
        assert (case.reason, case.state, case.subject_id) == ("FIELD_MISMATCH", "OPEN", seller)
        [run] = await house.rows("select findings from app.vision_runs where invoice_reference = $1", reference)
        assert json.loads(run["findings"]) == [f"FIELD_MISMATCH:{name}"]
        assert await house.trail(reference) == ["SUBMIT_INVOICE", "INVOICE_EXTRACT_START", "INVOICE_REFER"]
        await house.post(seller, f"/v1/invoices/{reference}/withdraw")


async def test_a_buyer_that_was_suspended_meanwhile_is_not_asked(house: House) -> None:
    parties = await house.parties()
    reference = await house.submitted(parties)
    await house.moved(parties.buyer, auth.SubjectEvent.SUSPEND)
    await house.work()
    assert (await house.invoice(reference)).state == "IN_REVIEW"
    [run] = await house.rows("select findings from app.vision_runs")
    assert json.loads(run["findings"]) == ["BUYER_NOT_ACTIVE"]


@pytest.mark.parametrize(
    ("decision", "state"), [(compliance.Decision.APPROVE, "AWAITING_BUYER"), (compliance.Decision.DECLINE, "REJECTED")]
)
async def test_a_reviewers_decision_is_carried_out(house: House, decision: compliance.Decision, state: str) -> None:
    parties = await house.parties()
    reference = await house.submitted(parties, issue_date="2026-06-02")
    await house.work()
    [case] = await house.cases(reference)
    await house.decide(case, decision)
    assert (await house.invoice(reference)).state == state
    assert (await house.trail(reference))[-1] == "INVOICE_REVIEW_DECIDE"
    asked = "InvoiceAwaitingBuyer" in (await house.entries(reference))[-1].diff
    assert asked is (decision is compliance.Decision.APPROVE)


async def test_a_credit_note_is_rejected(house: House) -> None:
    note = Sample.at(Path(HARBOUR_NOTE), Path(HARBOUR_NOTE).parent.parent / "harbour-signage.json")
    parties = await house.parties()
    reference = await house.submitted(parties, note)
    await house.work()
    assert (await house.invoice(reference)).state == "REJECTED"
    assert (await house.trail(reference))[-1] == "INVOICE_REFUSE"
    [run] = await house.rows("select findings from app.vision_runs")
    assert json.loads(run["findings"]) == ["DOCUMENT_NOT_AN_INVOICE"]


HARBOUR_NOTE = str(Path(__file__).parents[2] / "samples" / "invoices" / "refused" / "credit-note.pdf")

# --- withdrawing and looking


async def test_a_withdrawn_invoice_takes_its_link_along(house: House) -> None:
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    rival = await house.subject(Role.SELLER, "Rival Ltd")
    for caller, status in ((rival.id, 404), (parties.buyer.id, 403)):
        assert (await house.post(caller, f"/v1/invoices/{reference}/withdraw")).status_code == status
    answer = await house.post(parties.seller.id, f"/v1/invoices/{reference}/withdraw")
    assert (answer.status_code, answer.json()["state"]) == (200, "WITHDRAWN")
    entry = (await house.entries(reference))[-1]
    changes = {row["table"]: row["after"]["state"] for row in json.loads(entry.diff)["rows"]}
    assert (entry.action, changes) == (
        "INVOICE_WITHDRAW", {"invoices": "WITHDRAWN", "magic_link_tokens": "REVOKED"},
    )  # fmt: skip
    assert (await house.client.get(link)).status_code == 410
    assert (await pressed(house, link, "confirm", page)).status_code == 410
    again = await house.post(parties.seller.id, f"/v1/invoices/{reference}/withdraw")
    assert (again.status_code, again.json()["code"]) == (409, "ILLEGAL_TRANSITION")


async def test_withdrawing_and_confirming_at_once_has_one_winner(house: House) -> None:
    """Both lock the link before the invoice: no deadlock, and never both."""
    parties = await house.parties()
    reference, link, page = await seen(house, parties)
    withdraw = f"/v1/invoices/{reference}/withdraw"
    pairs = [(pressed(house, link, "confirm", page), house.post(parties.seller.id, withdraw)) for _ in range(6)]
    answers = await asyncio.gather(*(each for pair in pairs for each in pair))
    assert sorted({answer.status_code for answer in answers}) in ([200, 409, 410], [200, 409])
    assert [answer.status_code for answer in answers].count(200) == 1
    assert not any("CONCURRENT_CHANGE" in answer.text for answer in answers)


async def test_a_withdrawal_while_the_document_is_read_is_final(house: House) -> None:
    parties = await house.parties()
    reference = await house.submitted(parties)
    await house.post(parties.seller.id, f"/v1/invoices/{reference}/withdraw")
    await house.work()
    assert await house.trail(reference) == ["SUBMIT_INVOICE", "INVOICE_WITHDRAW"]


async def test_another_tenants_invoice_looks_like_none(house: House) -> None:
    """P-24: byte for byte, but for the request's own number; nor does its link work here."""
    parties = await house.parties()
    reference = await house.submitted(parties)
    abroad = await house.subject(Role.SELLER, "Elsewhere Ltd", tenant_id=THERE)
    house.callers["abroad"] = Caller(THERE, Role.PLATFORM_ADMIN, "sub_admin", subject_id="sub_admin")
    missing = "FXI-0000000"
    assert missing != reference
    for caller in (abroad.id, "abroad"):
        for path in ("", "/documents"):
            headers = {"Authorization": f"Bearer {caller}", "FX-Request-Id": "req_fixed_0001"}
            foreign, none = [
                await house.client.get(f"/v1/invoices/{each}{path}", headers=headers) for each in (reference, missing)
            ]
            assert (foreign.status_code, foreign.content) == (404, none.content)
            assert sorted(foreign.headers.raw) == sorted(none.headers.raw)
    headers = {"Authorization": f"Bearer {abroad.id}", "FX-Request-Id": "req_fixed_0001"}
    foreign, none = [
        await house.client.post(f"/v1/invoices/{each}/withdraw", headers={**headers, "FX-Idempotency-Key": f"w-{each}"})
        for each in (reference, missing)
    ]
    assert (foreign.status_code, foreign.content) == (404, none.content)
    assert (await house.get("abroad", "/v1/invoices")).json() == {"items": [], "next": None}


async def test_everybody_sees_their_own_invoices(house: House) -> None:
    """Page by page; a lender sees what has become a token."""
    parties = await house.parties()
    other = await house.parties(TERN)
    mine, theirs = await house.submitted(parties), await house.submitted(other, TERN)
    house.callers["mlro"] = Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro")
    house.callers["lender"] = Caller(HERE, Role.LENDER, "sub_lender", subject_id="sub_lender")
    for caller, visible in (
        (parties.seller.id, [mine]), (parties.buyer.id, [mine]), (other.seller.id, [theirs]),
        ("mlro", sorted((mine, theirs))),
    ):  # fmt: skip
        listed = (await house.get(caller, "/v1/invoices")).json()["items"]
        assert [each["reference"] for each in listed] == visible
    first = (await house.get("mlro", "/v1/invoices?limit=1")).json()
    second = (await house.get("mlro", f"/v1/invoices?limit=1&after={first['next']}")).json()
    assert [first["items"][0]["reference"], second["items"][0]["reference"]] == sorted((mine, theirs))
    assert second["next"] is None
    assert (await house.get("mlro", "/v1/invoices?state=CONFIRMED")).json()["items"] == []
    assert (await house.get("mlro", "/v1/invoices?limit=201")).status_code == 422
    for caller, status in ((other.seller.id, 404), ("lender", 404), (parties.buyer.id, 200), ("mlro", 200)):
        assert (await house.get(caller, f"/v1/invoices/{mine}")).status_code == status
    assert (await house.get("lender", "/v1/invoices")).status_code == 403
