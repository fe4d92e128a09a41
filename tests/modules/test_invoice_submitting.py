"""An invoice is submitted through the routes: what is taken, what is refused, by whom (IN-01 … IN-05)."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from reportlab.pdfgen.canvas import Canvas

from fintokenx.adapters.documents import IsolatedReader
from fintokenx.kernel.caller import Caller, Role
from fintokenx.parties import auth
from tests.modules.invoice_house import (
    HARBOUR,
    MILLRACE,
    TERN,
    THIRD_PARTY,
    House,
    Sample,
    invoice_house,
)
from tests.modules.invoice_sent import NOW, house
from tests.modules.parties_house import HERE, THERE

pytestmark = pytest.mark.anyio
__all__ = ["house"]


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
