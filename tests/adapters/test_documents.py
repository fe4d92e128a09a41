"""Documents: what is taken, what is refused, and that the fields are right or absent (IN-03, IN-04, IN-06)."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import (
    ActiveContent,
    CurrencyUnsupported,
    DamagedDocument,
    DocumentRefused,
    EmptyFile,
    EncryptedDocument,
    InvoiceOnPaper,
    NotAnInvoice,
    UnsupportedContent,
)
from tests.adapters.papers import MILLRACE, ROOT, SAMPLES, altered, read

THIRD_PARTY = ROOT / "tests" / "data" / "invoices"


def stated(fields: InvoiceOnPaper) -> dict[str, Any]:
    """The fields in the shape of `declared`."""

    def pence(amount: Pence | None) -> int | None:
        return amount.value if amount is not None else None

    return {
        "invoice_number": fields.invoice_number,
        "issue_date": str(fields.issue_date),
        "due_date": str(fields.due_date),
        "payment_terms_days": fields.payment_terms_days,
        "currency": fields.currency,
        "net_pence": pence(fields.net),
        "vat_pence": pence(fields.vat),
        "total_pence": pence(fields.total),
        "amount_paid_pence": pence(fields.amount_paid),
        "seller": (fields.seller.name, fields.seller.company_number, fields.seller.vat_number),
        "buyer": (fields.buyer.name, fields.buyer.company_number),
        "account": (fields.sort_code, fields.account_number),
        "purchase_order": fields.purchase_order,
    }


def declared(truth: Path) -> dict[str, Any]:
    told = json.loads(truth.read_text())
    seller, buyer = told["seller"], told["buyer"]
    plain = ("invoice_number", "issue_date", "payment_terms_days", "currency", "net_pence", "vat_pence", "total_pence")
    return {name: told[name] for name in plain} | {
        "due_date": told["due_date"] or told["implied_due_date"],
        "amount_paid_pence": told.get("amount_paid_pence"),
        "seller": (seller["name"], seller["company_number"], seller["vat_number"]),
        "buyer": (buyer["name"], buyer["company_number"]),
        "account": (seller["sort_code"].replace("-", ""), seller["account_number"]),
        "purchase_order": told["purchase_order"],
    }


def page(*lines: tuple[float, float, str]) -> bytes:
    """A one-page PDF with text at (left, top)."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.setFont("Helvetica", 9)
    for left, top, text in lines:
        canvas.drawString(left, A4[1] - top, text)
    canvas.save()
    return buffer.getvalue()


HEADER = (
    (40, 50, "Kittiwake Ropes Ltd"),
    (40, 80, "Invoice number: 8/26"),
    (40, 92, "Invoice date: 1 May 2026"),
    (40, 104, "Due date: 31 May 2026"),
)

# --- the fields ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "doubts"),
    [
        ("harbour-signage.pdf", "pdf", ()),
        ("kelp-print-month-end.pdf", "pdf", ()),
        ("ferry-events-part-paid.pdf", "pdf", ("PART_PAID",)),
        ("tern-instruments.pdf", "factur_x", ()),
        ("millrace-foods.xml", "ubl", ()),
    ],
)
def test_a_sample_reads_as_its_seller_declares_it(name: str, kind: str, doubts: tuple[str, ...]) -> None:
    reading = read((SAMPLES / name).read_bytes())
    assert (reading.kind, reading.doubts) == (kind, doubts)
    assert stated(reading.fields) == declared((SAMPLES / name).with_suffix(".json"))


THIRD_PARTY_TABLE = {
    "01-plain-letterhead.pdf": (),
    "02-two-page.pdf": (),
    "03-multi-rate-vat.pdf": (),
    "04-net-30-end-of-month.pdf": (),
    "05-uk-date-order.pdf": (),
    "06-part-paid-totals.pdf": ("PART_PAID",),
    "09-facturx.pdf": (),
    "10-ubl-peppol.xml": (),
}


@pytest.mark.parametrize("name", THIRD_PARTY_TABLE)
def test_an_invoice_that_we_did_not_make_reads_as_its_truth(name: str) -> None:
    reading = read((THIRD_PARTY / name).read_bytes())
    assert reading.doubts == THIRD_PARTY_TABLE[name]
    assert stated(reading.fields) == declared((THIRD_PARTY / name).with_suffix(".json"))


@pytest.mark.parametrize("name", ["07-scan-service.pdf", "08-scan-stamped.pdf"])
def test_a_scan_is_not_guessed_at(name: str) -> None:
    reading = read((THIRD_PARTY / name).read_bytes())
    assert reading.doubts == ("NO_TEXT_LAYER",)
    assert (reading.fields, reading.confidence_bps) == (InvoiceOnPaper(), 0)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("encrypted.pdf", EncryptedDocument),
        ("truncated.pdf", DamagedDocument),
        ("png-renamed.pdf", UnsupportedContent),
        ("active-content.pdf", ActiveContent),
        ("zero-byte.pdf", EmptyFile),
        ("credit-note.pdf", NotAnInvoice),
        ("eur-invoice.pdf", CurrencyUnsupported),
    ],
)
def test_a_bad_file_is_refused_by_name(name: str, refusal: type[DocumentRefused]) -> None:
    with pytest.raises(refusal):
        read((THIRD_PARTY / "bad" / name).read_bytes())


def test_a_printed_total_that_the_xml_does_not_have_is_a_doubt() -> None:
    reading = read((THIRD_PARTY / "bad" / "facturx-total-mismatch.pdf").read_bytes())
    assert "XML_AND_PAGE_DISAGREE:total" in reading.doubts
    assert reading.fields.total == Pence(129_888)


def test_a_renumbered_invoice_in_another_layout_reads_the_same_but_for_its_number() -> None:
    one = read((THIRD_PARTY / "01-plain-letterhead.pdf").read_bytes()).fields
    other = read((THIRD_PARTY / "bad" / "01-renumbered.pdf").read_bytes()).fields
    assert (one.invoice_number, other.invoice_number) == ("INV-00417", "INV00417")
    assert (one.total, one.issue_date, one.due_date) == (other.total, other.issue_date, other.due_date)
    assert (one.seller, one.account_number) == (other.seller, other.account_number)


def test_xml_and_page_that_disagree_are_a_doubt_for_each_field() -> None:
    reading = read((SAMPLES / "review" / "tern-instruments-mismatch.pdf").read_bytes())
    assert [each for each in reading.doubts if each.startswith("XML_AND_PAGE_DISAGREE")] == [
        "XML_AND_PAGE_DISAGREE:net",
        "XML_AND_PAGE_DISAGREE:vat",
        "XML_AND_PAGE_DISAGREE:total",
    ]


def test_our_credit_note_is_not_an_invoice() -> None:
    with pytest.raises(NotAnInvoice):
        read((SAMPLES / "refused" / "credit-note.pdf").read_bytes())


@pytest.mark.parametrize("title", ["Quotation", "PRO FORMA INVOICE", "Statement of account", "Q U O T A T I O N"])
def test_other_papers_are_not_invoices(title: str) -> None:
    with pytest.raises(NotAnInvoice):
        read(page((40, 30, title), (40, 50, "Kittiwake Ropes Ltd"), (40, 80, "Total £12.00")))


@pytest.mark.parametrize("total", ["€12.00", "12.00 EUR", "$12.00", "USD 12.00"])
def test_a_foreign_total_is_refused_and_never_read_as_sterling(total: str) -> None:
    with pytest.raises(CurrencyUnsupported):
        read(page(*HEADER, (40, 300, "Total due"), (200, 300, total)))


def test_totals_that_do_not_add_up_are_a_doubt() -> None:
    reading = read(
        page(
            *HEADER,
            *((40, 300, "Net"), (200, 300, "£100.00"), (40, 312, "VAT"), (200, 312, "£20.00")),
            *((40, 324, "Invoice total"), (200, 324, "£130.00")),
        )
    )
    assert "TOTALS_DO_NOT_ADD_UP" in reading.doubts
    assert reading.fields.total == Pence(13_000)


def test_two_different_totals_are_no_total() -> None:
    reading = read(
        page(*HEADER, (40, 300, "Total due"), (200, 300, "£12.00"), (40, 312, "Total due"), (200, 312, "£13.00"))
    )
    assert reading.fields.total is None
    assert {"AMBIGUOUS:total", "NOT_FOUND:total"} <= set(reading.doubts)


def test_a_deduction_that_is_no_payment_is_a_doubt() -> None:
    """A CIS deduction or a retention makes the buyer pay less than the total."""
    reading = read(
        page(
            *HEADER,
            *((40, 300, "Sub-total"), (200, 300, "£1,500.00"), (40, 312, "VAT 20%"), (200, 312, "£300.00")),
            *((40, 324, "Total"), (200, 324, "£1,800.00"), (40, 336, "Amount payable"), (200, 336, "£1,600.00")),
        )
    )
    assert reading.fields.total == Pence(180_000)
    assert reading.doubts == ("PAYABLE_DIFFERS_FROM_TOTAL",)


def test_a_payee_other_than_the_seller_is_a_doubt() -> None:
    """An invoice that is already assigned asks for payment to the factor."""
    reading = read(
        page(
            *HEADER,
            (40, 300, "Total £12.00"),
            (40, 500, "Account name: Skua Factoring Ltd"),
            (40, 780, "Kittiwake Ropes Ltd, company number 19811111, registered in England"),
        )
    )
    assert reading.fields.seller.name == "Kittiwake Ropes Ltd"
    assert "PAYEE_IS_NOT_SELLER" in reading.doubts


def test_labels_above_values_and_several_pairs_on_one_line_are_read() -> None:
    reading = read(
        page(
            (40, 50, "Kittiwake Ropes Ltd"),
            *(
                (40, 80, "Invoice No: K55 Date: 03/02/2026 Due Date: 05/03/2026"),
                (40, 100, "Customer: Gannet Sails Ltd"),
            ),
            *((40, 300, "Net"), (160, 300, "VAT @ 20%"), (280, 300, "Total")),
            *((40, 313, "£10.00"), (160, 313, "£2.00"), (280, 313, "£12.00")),
        )
    )
    fields = reading.fields
    assert (fields.invoice_number, fields.issue_date, fields.due_date) == ("K55", date(2026, 2, 3), date(2026, 3, 5))
    assert (fields.net, fields.vat, fields.total) == (Pence(1_000), Pence(200), Pence(1_200))
    assert fields.buyer.name == "Gannet Sails Ltd"


def test_an_american_date_and_an_order_date_are_not_taken_for_the_issue_date() -> None:
    reading = read(
        page(
            *((40, 80, "Invoice No. 9"), (40, 92, "Date 04/14/2026"), (40, 104, "Order date: 1 May 2026")),
            (40, 300, "Total £5.00"),
        )
    )
    assert reading.fields.issue_date is None
    assert {"NOT_FOUND:issue_date", "NOT_FOUND:due_date"} <= set(reading.doubts)


def test_invisible_text_is_a_doubt() -> None:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1)
    text = canvas.beginText(40, 500)
    text.setTextRenderMode(3)
    text.textLine("Total £12.00")
    canvas.drawText(text)
    canvas.save()
    assert "HIDDEN_TEXT" in read(buffer.getvalue()).doubts


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_page_that_is_stored_turned_reads_as_people_see_it(rotation: int) -> None:
    """Drawn against the rotation, so that the reader of the page sees it upright."""
    turn = {90: (0, 1, -1, 0, 842, 0), 180: (-1, 0, 0, -1, 595.28, 841.89), 270: (0, -1, 1, 0, 0, 841.89)}[rotation]

    def change(pdf: pikepdf.Pdf) -> None:
        first = pdf.pages[0]
        matrix = " ".join(str(number) for number in turn)
        if rotation != 180:
            first.MediaBox = pikepdf.Array([0, 0, 842, 842])
        first.contents_add(f"q {matrix} cm".encode(), prepend=True)
        first.contents_add(b"Q")
        first.Rotate = rotation

    assert stated(read(altered(change)).fields) == declared(SAMPLES / "harbour-signage.json")


def test_ubl_amounts_in_fractions_of_a_penny_are_not_rounded() -> None:
    reading = read(MILLRACE.replace(b">7063.20<", b">7063.205<"))
    assert reading.fields.total is None
    assert {"UNREADABLE:total", "NOT_FOUND:total"} <= set(reading.doubts)


def test_ubl_lines_must_add_up() -> None:
    assert "LINES_DO_NOT_ADD_UP" in read(MILLRACE.replace(b">2970.00<", b">2971.00<")).doubts


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        (b"TypeCode>380<", b"TypeCode>381<", NotAnInvoice),
        (b"TypeCode>380<", b"TypeCode>325<", NotAnInvoice),
        (b"CurrencyCode>GBP<", b"CurrencyCode>EUR<", CurrencyUnsupported),
        (b"xsd:Invoice-2", b"xsd:Order-2", UnsupportedContent),
    ],
)
def test_ubl_that_is_no_sterling_invoice_is_refused(old: bytes, new: bytes, refusal: type[DocumentRefused]) -> None:
    with pytest.raises(refusal):
        read(MILLRACE.replace(old, new))


def test_a_ubl_credit_note_is_not_an_invoice() -> None:
    with pytest.raises(NotAnInvoice):
        read(b'<CreditNote xmlns="urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2"/>')
