"""What a seller and a reviewer are told of an invoice, and the bytes of its documents (issue 9 A18, IN-05)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.invoice.ports import DocumentRefused, InvoiceOnPaper, PartyOnPaper
from fintokenx.lifecycle.invoice.service import compare, reasons
from fintokenx.lifecycle.invoice.types import VisionRun
from fintokenx.parties import auth, compliance
from tests.modules.invoice_house import HARBOUR, MILLRACE, SAMPLES, House, OneAtATime, Parties, Sample, invoice_house
from tests.modules.parties_house import HERE, THERE

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 6, 16, 9, 0, tzinfo=UTC)
STAFF = {
    "mlro": Caller(HERE, Role.MLRO, "sub_mlro", subject_id="sub_mlro"),
    "partner": Caller(HERE, Role.PARTNER_ADMIN, "key_x"),
    "elsewhere": Caller(THERE, Role.MLRO, "sub_there", subject_id="sub_there"),
}


@pytest.fixture
async def house(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as made:
        made.world.clock.set(NOW)
        made.callers.update(STAFF)
        yield made


async def codes(house: House, as_: str, reference: str) -> list[tuple[str, str | None]]:
    """The reasons that somebody is told, the same in the list of invoices."""
    view = (await house.get(as_, f"/v1/invoices/{reference}")).json()
    listed = (await house.get(as_, "/v1/invoices")).json()["items"]
    assert view in listed
    assert all(reason["text"].endswith(".") for reason in view["reasons"])
    return [(reason["code"], reason["field"]) for reason in view["reasons"]]


async def review(house: House, reference: str) -> dict[str, Any]:
    answer = await house.get("mlro", f"/v1/invoices/{reference}/review")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


UNDER_REVIEW = ("UNDER_REVIEW", None)


async def test_a_seller_is_told_the_field_and_a_reviewer_both_values_and_the_documents(house: House) -> None:
    parties = await house.parties()
    total = HARBOUR.told["total_pence"]
    reference = await house.submitted(parties, maturity_date="2026-08-01", face_value_pence=total + 1)
    assert await codes(house, parties.seller.id, reference) == []
    assert (await review(house, reference))["reader"] is None
    await house.work()
    told = [UNDER_REVIEW, ("FIELD_MISMATCH", "maturity_date"), ("FIELD_MISMATCH", "face_value_pence")]
    assert await codes(house, parties.seller.id, reference) == await codes(house, "partner", reference) == told
    assert await codes(house, parties.buyer.id, reference) == []

    seen = await review(house, reference)
    assert [(f["code"], f["field"], f["declared"], f["read"]) for f in seen["findings"]] == [
        ("FIELD_MISMATCH", "due_date", "2026-08-01", "2026-07-31"),
        ("FIELD_MISMATCH", "total", total + 1, total),
    ]
    assert seen["confidence_bps"] >= 8_000
    assert {d["type"] for d in seen["documents"]} == {"original_pdf", "ocr_extract", "vision_artefacts"}
    for who, status in ((parties.seller.id, 403), ("partner", 403), ("elsewhere", 404)):
        assert (await house.get(who, f"/v1/invoices/{reference}/review")).status_code == status

    [case] = await house.cases(reference)
    await house.decide(case, compliance.Decision.DECLINE)
    assert await codes(house, parties.seller.id, reference) == [("REVIEW_DECLINED", None), *told[1:]]
    assert "InvoiceRejected" in (await house.entries(reference))[-1].diff


async def test_a_seller_is_told_why_its_document_cannot_be_taken(house: House) -> None:
    note = Sample.at(SAMPLES / "refused" / "credit-note.pdf", SAMPLES / "harbour-signage.json")
    parties = await house.parties()
    reference = await house.submitted(parties, note)
    await house.work()
    assert await codes(house, parties.seller.id, reference) == [("DOCUMENT_NOT_AN_INVOICE", None)]
    [finding] = (await review(house, reference))["findings"]
    assert (finding["code"], finding["declared"], finding["read"]) == ("DOCUMENT_NOT_AN_INVOICE", None, None)


async def test_what_is_about_somebody_else_reads_as_under_review(house: House) -> None:
    """No tipping off: neither another seller's invoice nor the state of the buyer shows, but its reviewer sees both."""
    parties = await house.parties(MILLRACE)
    first = await house.awaiting(parties, MILLRACE)
    other = Parties(await house.subject(Role.SELLER, MILLRACE.told["seller"]["name"]), parties.buyer)
    content = MILLRACE.content.replace(
        MILLRACE.told["seller"]["company_number"].encode(), str(other.seller.company_number).encode()
    ).replace(b"<cbc:ID>MF-70093</cbc:ID>", b"<cbc:ID>MF-70094</cbc:ID>", 1)
    second = await house.submitted(other, Sample(content, MILLRACE.told), invoice_number="MF-70094")
    await house.moved(parties.buyer, auth.SubjectEvent.SUSPEND)
    await house.work()
    findings = {finding["code"]: finding for finding in (await review(house, second))["findings"]}
    assert findings.keys() == {"NEAR_DUPLICATE", "BUYER_NOT_ACTIVE"}
    assert findings["NEAR_DUPLICATE"]["other_invoice"] == first
    assert await codes(house, other.seller.id, second) == [UNDER_REVIEW]
    shown = (await house.get(other.seller.id, f"/v1/invoices/{second}")).text
    assert first not in shown
    assert "DUPLICATE" not in shown
    assert "ACTIVE" not in shown


INTERNAL = (
    "NEAR_DUPLICATE", "SELLER_NOT_ACTIVE", "BUYER_NOT_ACTIVE", "LOW_CONFIDENCE", "HIDDEN_TEXT", "PAYEE_IS_NOT_SELLER",
    "SPECIAL_INVOICE_TYPE:393", "FIELD_MISMATCH:something_new", "AMBIGUOUS:total", "SOMETHING_NEW",
)  # fmt: skip


def kept(state: str, *findings: str, model: str = "reader/1") -> tuple[reasons.Reason, ...]:
    """What the seller is told of an invoice in this state with these findings."""
    one = invoice.Invoice(
        HERE, "FXI-0000000", "sub_a", "sub_b", "1", Pence(1), Pence(0), "GBP", date(2026, 6, 1), 30, date(2026, 7, 1),
        1, state, None, "0" * 64, NOW,
    )  # fmt: skip
    return reasons.told_to_seller(one, VisionRun(model, 0, {}, list(findings), NOW))


@pytest.mark.parametrize(("state", "alone"), [("IN_REVIEW", "UNDER_REVIEW"), ("REJECTED", "REVIEW_DECLINED")])
def test_only_what_is_listed_as_the_sellers_own_is_told(state: str, alone: str) -> None:
    """A code that somebody adds tomorrow is told to nobody until it is listed."""
    assert [reason.code for reason in kept(state, *INTERNAL)] == [alone]
    with_its_own = [reason.code for reason in kept(state, *INTERNAL, "NOT_FOUND:total", "NO_TEXT_LAYER")]
    assert with_its_own == [alone, "NOT_FOUND", "NO_TEXT_LAYER"]
    assert kept("AWAITING_BUYER", "FIELD_MISMATCH:total") == ()


def test_every_refusal_of_a_document_is_told_in_its_own_words() -> None:
    for refusal in DocumentRefused.__subclasses__():
        assert kept("REJECTED", refusal.code, model=reasons.REFUSED)[0].text == refusal.title()


def test_what_was_read_comes_back_from_its_row() -> None:
    paper = InvoiceOnPaper(
        "1", date(2026, 6, 1), date(2026, 7, 1), 30, "GBP", Pence(1), Pence(2), Pence(3), Pence(0), Pence(3),
        PartyOnPaper("A", "12345678", None), PartyOnPaper(), "040004", "12345678", "PO-1",
    )  # fmt: skip
    for each in (paper, InvoiceOnPaper()):
        stated = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in compare.as_stated(each).items()
        }
        assert compare.on_paper(stated) == each
    assert compare.on_paper({}) == InvoiceOnPaper(), "of a reader that looked for less"


# ── The bytes


async def content(house: House, as_: str, reference: str, document_id: str) -> Any:
    return await house.get(as_, f"/v1/invoices/{reference}/documents/{document_id}/content")


@pytest.mark.parametrize(
    ("sample", "original", "media_type"),
    [(HARBOUR, "original_pdf", "application/pdf"), (MILLRACE, "original_xml", "application/xml")],
    ids=["pdf", "xml"],
)
async def test_an_outsider_recomputes_the_hash_of_every_document_that_is_its_own(
    house: House, sample: Sample, original: str, media_type: str
) -> None:
    parties = await house.parties(sample)
    reference = await house.awaiting(parties, sample)
    listed = (await house.get(parties.seller.id, f"/v1/invoices/{reference}/documents")).json()
    assert {document["type"] for document in listed} == {original, "ocr_extract", "vision_artefacts"}
    recorded = "".join(entry.diff for entry in await house.entries(reference))
    for document in listed:
        for who in (parties.seller.id, "partner", "mlro"):
            answer = await content(house, who, reference, document["id"])
            if document["type"] == "vision_artefacts" and who != "mlro":
                assert answer.status_code == 404, "what we doubt is ours"
                continue
            digest = hashlib.sha256(answer.content)
            assert (answer.status_code, digest.hexdigest()) == (200, document["sha256"])
            assert len(answer.content) == document["size_bytes"]
            assert document["sha256"] in recorded
            headers = answer.headers
            assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
            assert headers["content-disposition"].startswith(f'attachment; filename="{reference}-')
            if document["type"] == original:
                assert (answer.content, headers["content-type"]) == (sample.content, media_type)


async def test_a_document_of_others_and_one_that_is_not_there_answer_alike(house: House) -> None:
    parties = await house.parties()
    others = Parties(await house.subject(Role.SELLER), parties.buyer)
    reference, foreign = await house.submitted(parties), await house.submitted(others, MILLRACE)
    [own] = (await house.get("mlro", f"/v1/invoices/{reference}/documents")).json()
    [theirs] = (await house.get("mlro", f"/v1/invoices/{foreign}/documents")).json()
    seller = parties.seller.id
    answers = [
        await content(house, who, one, document)
        for who, one, document in (
            (seller, foreign, theirs["id"]),
            (seller, reference, theirs["id"]),
            (seller, foreign, own["id"]),
            (seller, reference, "doc_" + "0" * 26),
            (seller, "FXI-0000000", own["id"]),
            ("elsewhere", reference, own["id"]),
        )
    ]
    bodies = {str({**answer.json(), "request_id": ""}) for answer in answers}
    assert ({answer.status_code for answer in answers}, len(bodies)) == ({404}, 1)
    assert (await content(house, parties.buyer.id, reference, own["id"])).status_code == 403
    assert (await content(house, seller, reference, own["id"])).status_code == 200


async def test_bytes_that_are_not_those_on_record_are_shown_to_nobody(house: House) -> None:
    """Planted: the row of one document points to another blob, or to none."""
    parties = await house.parties()
    reference = await house.awaiting(parties)
    listed = {d["type"]: d["id"] for d in (await house.get("mlro", f"/v1/invoices/{reference}/documents")).json()}
    text = (await house.documents(reference))["ocr_extract"][0]
    for place in (text.storage_ref, text.storage_ref[:-3] + "xyz"):
        superuser = await house.world.connect("postgres")
        await superuser.execute("alter table app.invoice_documents disable trigger all")
        await superuser.execute(
            "update app.invoice_documents set storage_ref = $1 where id = $2", place, listed["original_pdf"]
        )
        await superuser.close()
        answer = await content(house, parties.seller.id, reference, listed["original_pdf"])
        assert (answer.status_code, answer.json()["code"]) == (500, "DOCUMENT_NOT_AS_RECORDED")
