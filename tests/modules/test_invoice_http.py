"""Invoices from outside: what is taken, what is refused, what a buyer sees and answers (IN-01 … IN-13, AU-06)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pikepdf
import pytest
from reportlab.pdfgen.canvas import Canvas

from fintokenx.adapters.documents import IsolatedReader
from fintokenx.app.http import BODY_BYTES_MAX
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.errors import Refused
from fintokenx.lifecycle import invoice
from fintokenx.parties import auth, compliance
from tests.modules.invoice_house import (
    ADDRESS,
    HARBOUR,
    MILLRACE,
    TERN,
    THIRD_PARTY,
    House,
    OneAtATime,
    Parties,
    Sample,
    invoice_house,
)
from tests.modules.parties_house import HERE, THERE
from tests.support.pages import Page

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 6, 16, 9, 0, tzinfo=UTC)


@pytest.fixture
async def house(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as made:
        made.world.clock.set(NOW)
        yield made


@pytest.fixture
async def isolated(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    """The same with the reader of the product: a process per document."""
    async with invoice_house(cluster, template, tmp_path, IsolatedReader()) as made:
        made.world.clock.set(NOW)
        yield made


def changed(change: Callable[[pikepdf.Pdf], None], content: bytes = HARBOUR.content, **save: Any) -> bytes:
    """A PDF with something done to its structure."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        out = io.BytesIO()
        pdf.save(out, **save)
        return out.getvalue()


def locked_pdf() -> bytes:
    return changed(lambda _: None, encryption=pikepdf.Encryption(user="secret", owner="secret"))


def scripted_pdf() -> bytes:
    def script(pdf: pikepdf.Pdf) -> None:
        pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.alert(1)")

    return changed(script)


def long_pdf(pages: int = 51) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out)
    for number in range(pages):
        canvas.drawString(72, 720, str(number))
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def renumbered(number: str) -> bytes:
    """Millrace's invoice under another number: other bytes, same buyer, amount and date."""
    return MILLRACE.content.replace(b"<cbc:ID>MF-70093</cbc:ID>", f"<cbc:ID>{number}</cbc:ID>".encode(), 1)


# --- submitted and read


@pytest.mark.parametrize(
    ("sample", "stored_as", "name"),
    [(HARBOUR, "original_pdf", "scan.exe"), (TERN, "original_pdf", "a.pdf"), (MILLRACE, "original_xml", "a.pdf")],
    ids=["pdf", "factur-x", "ubl"],
)
async def test_a_submitted_invoice_is_read_and_its_buyer_is_asked(
    isolated: House, sample: Sample, stored_as: str, name: str
) -> None:
    """IN-01, IN-03, IN-05: the content decides what a file is, and every hash stands in the record."""
    parties = await isolated.parties(sample)
    answer = await isolated.submit(parties.seller.id, sample.content, parties.declared(sample), name=name)
    assert (answer.status_code, answer.json()["state"]) == (201, "SUBMITTED")
    reference = answer.json()["reference"]
    await isolated.work()
    assert (await isolated.invoice(reference)).state == "AWAITING_BUYER"
    assert await isolated.trail(reference) == ["SUBMIT_INVOICE", "INVOICE_EXTRACT_START", "INVOICE_EXTRACTED"]

    documents = await isolated.documents(reference)
    assert set(documents) == {stored_as, "ocr_extract", "vision_artefacts"}
    diffs = "".join(entry.diff for entry in await isolated.entries(reference))
    for [document] in documents.values():
        content = await isolated.blobs.get(HERE, document.storage_ref)
        assert hashlib.sha256(content).hexdigest() == document.sha256
        assert len(content) == document.size_bytes
        assert document.sha256 in diffs
    assert await isolated.blobs.get(HERE, documents[stored_as][0].storage_ref) == sample.content
    assert answer.json()["document_sha256"] == hashlib.sha256(sample.content).hexdigest()
    listed = (await isolated.get(parties.seller.id, f"/v1/invoices/{reference}/documents")).json()
    assert {each["type"] for each in listed} == set(documents)

    [run] = await isolated.rows("select model, confidence_bps, extracted_fields, findings from app.vision_runs")
    assert json.loads(run["extracted_fields"])["total_pence"] == sample.told["total_pence"]
    assert (json.loads(run["findings"]), run["confidence_bps"] >= 8_000) == ([], True)
    assert "InvoiceAwaitingBuyer" in (await isolated.entries(reference))[-1].diff


async def test_the_answer_says_what_the_row_says(house: House) -> None:
    parties = await house.parties()
    reference = await house.submitted(parties, asking_discount_bps=...)
    view = (await house.get(parties.seller.id, f"/v1/invoices/{reference}")).json()
    told = HARBOUR.told
    assert view | {"created_at": "", "document_sha256": ""} == {
        "reference": reference,
        "originator_id": parties.seller.id,
        "obligor_id": parties.buyer.id,
        "invoice_number": told["invoice_number"],
        "face_value_pence": told["total_pence"],
        "collected_pence": 0,
        "outstanding_pence": told["total_pence"],
        "currency": "GBP",
        "issue_date": "2026-06-01",
        "tenor_days": 60,
        "maturity_date": "2026-07-31",
        "asking_discount_bps": 180,  # the tenant's usual one
        "state": "SUBMITTED",
        "token_reference": None,
        "document_sha256": "",
        "created_at": "",
        "reasons": [],
    }


REFUSED_DOCUMENTS: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 422, "DOCUMENT_EMPTY"),
    ("a picture", b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "DOCUMENT_TYPE_UNSUPPORTED"),
    ("a program", b"MZ" + bytes(200), 415, "DOCUMENT_TYPE_UNSUPPORTED"),
    ("a web page", b"<!doctype html><html><body>Invoice</body></html>", 422, "DOCUMENT_DAMAGED"),
    ("encrypted", locked_pdf(), 422, "DOCUMENT_ENCRYPTED"),
    ("truncated", HARBOUR.content[: len(HARBOUR.content) * 55 // 100], 422, "DOCUMENT_DAMAGED"),
    ("active", scripted_pdf(), 422, "DOCUMENT_ACTIVE_CONTENT"),
    ("too many pages", long_pdf(), 422, "DOCUMENT_TOO_MANY_PAGES"),
    ("too large", HARBOUR.content + bytes(10 * 1024 * 1024), 413, "DOCUMENT_TOO_LARGE"),
]


async def test_a_file_that_is_no_invoice_is_refused_whatever_it_is_called(isolated: House) -> None:
    """IN-06."""
    parties = await isolated.parties()
    for case, content, status, code in REFUSED_DOCUMENTS:
        answer = await isolated.submit(parties.seller.id, content, parties.declared(HARBOUR))
        assert (answer.status_code, answer.json()["code"]) == (status, code), case
        assert answer.headers["content-type"] == "application/problem+json"
    assert await isolated.count("app.invoices") == 0


async def test_third_party_files_are_refused_or_taken_as_their_makers_say(isolated: House) -> None:
    isolated.world.clock.set(datetime(2026, 4, 20, 9, 0, tzinfo=UTC))
    plain = Sample.at(THIRD_PARTY / "01-plain-letterhead.pdf")
    parties = await isolated.parties(plain)
    for name, code in {
        "encrypted": "DOCUMENT_ENCRYPTED",
        "truncated": "DOCUMENT_DAMAGED",
        "png-renamed": "DOCUMENT_TYPE_UNSUPPORTED",
        "active-content": "DOCUMENT_ACTIVE_CONTENT",
        "zero-byte": "DOCUMENT_EMPTY",
    }.items():
        content = (THIRD_PARTY / "bad" / f"{name}.pdf").read_bytes()
        answer = await isolated.submit(parties.seller.id, content, parties.declared(plain))
        assert answer.json()["code"] == code, name
    reference = await isolated.submitted(parties, plain)
    again = (THIRD_PARTY / "bad" / "01-renumbered.pdf").read_bytes()
    for content, number, kind in ((plain.content, "X-9", "SAME_FILE"), (again, "INV00417", "SAME_NUMBER")):
        answer = await isolated.submit(parties.seller.id, content, parties.declared(plain, invoice_number=number))
        assert (answer.status_code, answer.json()["kind"]) == (409, kind)
        assert answer.json()["existing_reference"] == reference
    await isolated.work()
    assert (await isolated.invoice(reference)).state == "AWAITING_BUYER"


@pytest.mark.parametrize("field", ["face_value_pence"])
async def test_only_whole_positive_pence_are_an_amount(house: House, field: str) -> None:
    """P-08."""
    parties = await house.parties()
    honest = json.dumps(parties.declared(HARBOUR))
    amount = f'"{field}": {HARBOUR.told["total_pence"]}'
    assert amount in honest
    for wrong in ("12.5", '"12.50"', "1e3", "1248000.0", "true", "null", str(2**63), str(2**53), "0", "-1", "[]"):
        answer = await house.submit(parties.seller.id, HARBOUR.content, honest.replace(amount, f'"{field}": {wrong}'))
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST"), wrong
        assert field in answer.json()["detail"]
    assert await house.count("app.invoices") == 0


REFUSED_DECLARATIONS: list[tuple[dict[str, Any], str]] = [
    ({"currency": "EUR"}, "CURRENCY_UNSUPPORTED"),
    ({"currency": "USDC"}, "CURRENCY_UNSUPPORTED"),
    ({"issue_date": "2026-05-01", "maturity_date": "2026-06-15"}, "MATURITY_IN_PAST"),
    ({"issue_date": "2026-05-01", "maturity_date": "2026-06-16"}, "MATURITY_IN_PAST"),
    ({"maturity_date": "2026-05-31"}, "MATURITY_BEFORE_ISSUE"),
    ({"maturity_date": "2026-06-01"}, "MATURITY_BEFORE_ISSUE"),
    ({"issue_date": "2026-06-17"}, "ISSUED_IN_FUTURE"),
    ({"issue_date": "17/06/2026"}, "INVALID_REQUEST"),
    ({"maturity_date": 1822262400}, "INVALID_REQUEST"),
    ({"maturity_date": "2026-07-31T00:00:00"}, "INVALID_REQUEST"),
    ({"issue_date": "0001-01-01"}, "INVALID_REQUEST"),
    ({"invoice_number": "発票"}, "INVOICE_NUMBER_UNREADABLE"),
    ({"invoice_number": " "}, "INVALID_REQUEST"),
    ({"invoice_number": "A\n1"}, "INVALID_REQUEST"),
    ({"invoice_number": "A\u202e1"}, "INVALID_REQUEST"),
    ({"invoice_number": "9" * 65}, "INVALID_REQUEST"),
    ({"asking_discount_bps": 0}, "INVALID_REQUEST"),
    ({"asking_discount_bps": 5001}, "INVALID_REQUEST"),
    ({"asking_discount_bps": 1.5}, "INVALID_REQUEST"),
    ({"asking_discount_bps": True}, "INVALID_REQUEST"),
    ({"obligor_id": "sub_01jwrs8s50e9rbkszzv4yve5jt"}, "OBLIGOR_NOT_ACTIVE"),
    ({"obligor_id": "x' or 1=1"}, "INVALID_REQUEST"),
    ({"face_value_pence": ...}, "INVALID_REQUEST"),
    ({"state": "CONFIRMED"}, "INVALID_REQUEST"),
]


async def test_a_declaration_that_cannot_be_is_refused_by_name(house: House) -> None:
    """IN-02, P-07."""
    parties = await house.parties()
    for changes, code in REFUSED_DECLARATIONS:
        answer = await house.submit(parties.seller.id, HARBOUR.content, parties.declared(HARBOUR, **changes))
        assert (answer.status_code, answer.json()["code"]) == (422, code), changes
    for text in ("", "{", "[]", "null", "\x00", " " * 5000):
        answer = await house.submit(parties.seller.id, HARBOUR.content, text)
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST"), text
    twice = json.dumps(parties.declared(HARBOUR))[:-1] + ', "face_value_pence": 1}'
    answer = await house.submit(parties.seller.id, HARBOUR.content, twice)
    assert (answer.status_code, answer.json()["code"]) == (422, "GIVEN_TWICE"), "A15"
    for form in ({"declared": ["{}", "{}"]}, {"declared": "{}", "note": "x"}):
        answer = await house.client.post(
            "/v1/invoices", data=form, files={"file": ("a.pdf", HARBOUR.content)},
            headers={"Authorization": f"Bearer {parties.seller.id}", "FX-Idempotency-Key": "other-form"},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (422, "FORM_REFUSED"), form
    assert await house.count("app.invoices") == 0


async def test_only_an_active_seller_submits_to_an_active_buyer_that_is_another_company(house: House) -> None:
    """IN-02."""
    parties = await house.parties()
    own = await house.subject(Role.BUYER, "The same company", parties.seller.company_number)
    new = await house.subject(Role.BUYER, "Not yet", active=False)
    idle = await house.subject(Role.BUYER, "Not now")
    await house.moved(idle, auth.SubjectEvent.SUSPEND)
    other_tenants = await house.subject(Role.BUYER, "Elsewhere", tenant_id=THERE)
    for obligor, code in (
        (own, "ORIGINATOR_IS_OBLIGOR"),
        (new, "OBLIGOR_NOT_ACTIVE"),
        (idle, "OBLIGOR_NOT_ACTIVE"),
        (parties.seller, "OBLIGOR_NOT_A_BUYER"),
        (other_tenants, "OBLIGOR_NOT_ACTIVE"),
    ):
        answer = await house.submit(
            parties.seller.id, HARBOUR.content, parties.declared(HARBOUR, obligor_id=obligor.id)
        )
        assert (answer.status_code, answer.json()["code"]) == (422, code), obligor.legal_name
    for role in (Role.BUYER, Role.LENDER, Role.MLRO, Role.PARTNER_ADMIN):
        house.callers["other"] = Caller(HERE, role, "sub_other", subject_id="sub_other")
        answer = await house.submit("other", b"not even read", parties.declared(HARBOUR))
        assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_FORBIDDEN"), role
    await house.moved(parties.seller, auth.SubjectEvent.SUSPEND)
    answer = await house.submit(parties.seller.id, HARBOUR.content, parties.declared(HARBOUR))
    assert (answer.status_code, answer.json()["code"]) == (403, "SUBJECT_NOT_ACTIVE")
    assert (await house.submit("nobody", HARBOUR.content, "{}")).status_code == 401
    assert await house.count("app.invoices") == 0


async def test_an_administrator_submits_nothing_in_its_own_name(house: House) -> None:
    """AD-16; tests/modules/test_admin.py has it for a seller, in an admin session."""
    parties = await house.parties()
    house.callers["admin"] = Caller(HERE, Role.PLATFORM_ADMIN, "sub_admin", subject_id="sub_admin")
    answer = await house.submit("admin", HARBOUR.content, parties.declared(HARBOUR))
    assert (answer.status_code, answer.json()["code"]) == (422, "ON_BEHALF_OF_REQUIRED")


async def test_an_upload_needs_a_key_and_is_repeated_by_it(house: House) -> None:
    """P-10, P-11, P-12: the multipart boundary differs each time, the request does not."""
    parties = await house.parties()
    seller, body = parties.seller.id, parties.declared(HARBOUR)
    bare = {"Authorization": f"Bearer {seller}"}
    for answer in (
        await house.submit(seller, HARBOUR.content, body, key=None),
        await house.client.post("/v1/invoices", headers=bare),
        await house.client.post("/v1/invoices/FXI-0000000/withdraw", headers=bare),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    first = await house.submit(seller, HARBOUR.content, body, key="one", name="a.pdf")
    again = await house.submit(seller, HARBOUR.content, body, key="one", name="b.pdf")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["FX-Idempotent-Replay"] == "true"
    for content, declared in ((TERN.content, body), (HARBOUR.content, body | {"asking_discount_bps": 201})):
        reused = await house.submit(seller, content, declared, key="one")
        assert (reused.status_code, reused.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert await house.count("app.invoices") == 1
    assert await house.trail(first.json()["reference"]) == ["SUBMIT_INVOICE"]


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


async def seen(house: House, parties: Parties) -> tuple[str, str, httpx.Response]:
    """Reference, link and page of an invoice that its buyer has looked at."""
    reference = await house.awaiting(parties)
    link = await house.link(reference)
    return reference, link, await house.client.get(link)


async def pressed(house: House, link: str, decision: str, page: httpx.Response | None = None) -> httpx.Response:
    """Press a button of the page; without one, as a client that posts without having looked."""
    fields = Page(page.text).inputs if page is not None else {"seal": ""}
    return await house.client.post(link, data={**fields, "decision": decision})


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
