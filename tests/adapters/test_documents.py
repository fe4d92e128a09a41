"""Documents: what is taken, what is refused, and that the fields are right or absent (IN-03, IN-04, IN-06)."""

from __future__ import annotations

import io
import json
import threading
import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from fintokenx.adapters.documents import IsolatedReader, Limits, TextReader
from fintokenx.adapters.documents.amounts import find_amounts
from fintokenx.adapters.documents.terms import Terms, parse_terms
from fintokenx.adapters.documents.values import (
    bank_details_of_iban,
    normalise_company_number,
    normalise_vat,
    parse_date,
)
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import (
    ActiveContent,
    CurrencyUnsupported,
    DamagedDocument,
    DocumentReader,
    DocumentRefused,
    EmptyFile,
    EncryptedDocument,
    FileTooLarge,
    InvoiceOnPaper,
    NotAnInvoice,
    Reading,
    TooManyPages,
    UnsupportedContent,
)

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples" / "invoices"
THIRD_PARTY = ROOT / "tests" / "data" / "invoices"

HARBOUR = (SAMPLES / "harbour-signage.pdf").read_bytes()
MILLRACE = (SAMPLES / "millrace-foods.xml").read_bytes()
TERN = (SAMPLES / "tern-instruments.pdf").read_bytes()


def read(content: bytes) -> Reading:
    return TextReader().read(content)


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


def altered(change: Callable[[pikepdf.Pdf], None], content: bytes = HARBOUR, **save: Any) -> bytes:
    """A sample PDF with something done to its structure."""
    with pikepdf.open(io.BytesIO(content)) as pdf:
        change(pdf)
        out = io.BytesIO()
        pdf.save(out, **save)
        return out.getvalue()


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


# --- the values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14 April 2026", date(2026, 4, 14)),
        ("14th of April, 2026", date(2026, 4, 14)),
        ("Tuesday 14 April 2026", date(2026, 4, 14)),
        ("14-Apr-26", date(2026, 4, 14)),
        ("1st Sept 2026", date(2026, 9, 1)),
        ("03/04/2026", date(2026, 4, 3)),
        ("3.4.26", date(2026, 4, 3)),
        ("2026-04-03", date(2026, 4, 3)),
        ("April 3, 2026", date(2026, 4, 3)),
        ("04/14/2026", None),
        ("31/02/2026", None),
        ("soon", None),
    ],
)
def test_dates_are_read_day_first(text: str, expected: date | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    ("text", "pence"),
    [
        ("£1,234.56", [123_456]),
        ("GBP 1,234.56", [123_456]),
        ("1234.56", [123_456]),
        ("£650", [65_000]),
        ("-£10.00", [-1_000]),
        ("(£10.00)", [-1_000]),
        ("£10.00 CR", [-1_000]),
        ("Total – £10.00", [1_000]),
        ("20.00%", []),
        ("1,23.00", []),
        ("12.345", []),
        *((f"Total £1{gap}234.56 now", [123_456]) for gap in " \u00a0\u202f\u2009\u2007\n'’\u200b"),
        *((f"£1{gap}200{gap}034.56", [120_003_456]) for gap in ", \u00a0\u202f'"),
        ("1 234.56", [123_456]),
        ("GBP 1 234.56", [123_456]),
        ("£1.234,56", [123_456]),
        ("£1 234,56", [123_456]),
        ("£1,234·56", [123_456]),
        ("-£1 234.56", [-123_456]),
        ("£1 234.56 £2 000.00", [123_456, 200_000]),
        ("£1,234.56, payable by bank transfer", [123_456]),
        ("2 x £3.50", [350]),
        *(
            (text, [])
            for text in (
                *(
                    "£1,\n234.56",
                    "£1, 234.56",
                    "£1-234.56",
                    "£1/234.56",
                    "£1:234.56",
                    "£1_234.56",
                    "£1 23.45",
                    "£12 34.56",
                ),
                *("£1 2345.67", "£1,200 034.56", "£1 200,034.56", "£034.56", "£1 234 .56", "£1 234. 56", "£1 234.567"),
                *("Qty 2 150.00 each", "VAT at 20 205.76", "£12k", "£1.2m", "£1 million", "£12,34,567.00", "£1,00"),
            )
        ),
        ("99-31-07", []),
        ("12.03.26", []),
        ("14 boxes", []),
    ],
)
def test_amounts_are_exact_or_absent(text: str, pence: list[int]) -> None:
    assert [amount.pence for amount in find_amounts(text)] == pence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 days", Terms(30, False)),
        ("Net 30 days from end of month", Terms(30, True)),
        ("30 days EOM", Terms(30, True)),
        ("strictly net 14", Terms(14, False)),
        ("thirty (30) days from invoice", Terms(30, False)),
        ("60 days. Interest accrues after 90 days", Terms(60, False)),
        ("2% discount in 10 days, else 30 days", Terms(30, False)),
        ("10 working days", None),
        ("on receipt", None),
        ("30days net", Terms(30, False)),
    ],
)
def test_terms_are_understood_or_absent(text: str, expected: Terms | None) -> None:
    assert parse_terms(text) == expected


def test_end_of_month_terms_count_from_the_last_day_of_the_issue_month() -> None:
    assert Terms(30, True).due(date(2026, 4, 9)) == date(2026, 5, 30)
    assert Terms(30, True).due(date(2028, 2, 1)) == date(2028, 3, 30)


def test_identifiers_must_pass_their_checks() -> None:
    assert normalise_vat("GB 917 4402 33") == "GB917440233"
    assert normalise_vat("GB 917 4402 34") is None
    assert normalise_company_number("sc 917265") == "SC917265"
    assert normalise_company_number("1234567") == "01234567"
    assert normalise_company_number("123456") is None
    assert bank_details_of_iban("GB15 ZFTK 9970 0431 2669 08") == ("997004", "31266908")
    assert bank_details_of_iban("GB16 ZFTK 9970 0431 2669 08") is None


# --- safety -------------------------------------------------------------------------------------------------------


def javascript(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert(1)"))


def launch_link(pdf: pikepdf.Pdf) -> None:
    action = pikepdf.Dictionary(S=pikepdf.Name.Launch, F=pikepdf.String("cmd.exe"))
    pdf.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=action)])


def additional_actions(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].AA = pikepdf.Dictionary(O=pikepdf.Dictionary(S=pikepdf.Name.Named, N=pikepdf.Name.NextPage))


def open_a_web_page(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.test/"))


def chained_action(pdf: pikepdf.Pdf) -> None:
    following = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.test/"))
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.GoTo, D=pikepdf.String("x"), Next=following)


def submit_form(pdf: pikepdf.Pdf) -> None:
    pdf.Root.X = pdf.make_indirect(pikepdf.Dictionary(S=pikepdf.Name.SubmitForm))


def xfa_form(pdf: pikepdf.Pdf) -> None:
    pdf.Root.AcroForm = pikepdf.Dictionary(XFA=pdf.make_stream(b"<xdp/>"))


def rich_media(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.RichMedia)])


def attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["run-me.exe"] = b"MZ"


def second_attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["factur-x.xml"] = b"<a/>"
    pdf.attachments["zugferd-invoice.xml"] = b"<a/>"


@pytest.mark.parametrize(
    "change",
    [
        javascript,
        launch_link,
        additional_actions,
        open_a_web_page,
        chained_action,
        submit_form,
        xfa_form,
        rich_media,
        attachment,
        second_attachment,
    ],
)
def test_active_content_is_refused(change: Callable[[pikepdf.Pdf], None]) -> None:
    with pytest.raises(ActiveContent):
        TextReader().inspect(altered(change))


@pytest.mark.parametrize("object_streams", [pikepdf.ObjectStreamMode.disable, pikepdf.ObjectStreamMode.generate])
def test_a_script_is_found_in_object_streams_too(object_streams: pikepdf.ObjectStreamMode) -> None:
    with pytest.raises(ActiveContent):
        TextReader().inspect(altered(javascript, object_stream_mode=object_streams))


def test_an_opening_position_and_a_web_link_are_no_active_content() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.Root.OpenAction = pikepdf.Array([pdf.pages[0].obj, pikepdf.Name.Fit])
        action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.test/"))
        pdf.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=action)])

    assert TextReader().inspect(altered(change)) == "pdf"


@pytest.mark.parametrize("password", ["", "secret"])
def test_every_encrypted_pdf_is_refused_even_one_that_opens_without_a_password(password: str) -> None:
    locked = altered(lambda pdf: None, encryption=pikepdf.Encryption(owner="owner", user=password))
    with pytest.raises(EncryptedDocument):
        TextReader().inspect(locked)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_pdf_is_refused_even_where_a_page_could_be_recovered(share: float) -> None:
    with pytest.raises(DamagedDocument):
        TextReader().inspect(HARBOUR[: int(len(HARBOUR) * share)])


def test_a_second_file_behind_the_pdf_is_refused() -> None:
    with pytest.raises(DamagedDocument):
        TextReader().inspect(HARBOUR + b"PK\x03\x04")


def test_a_pdf_that_unpacks_to_too_much_is_refused() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        bomb = pdf.make_stream(b"")
        bomb.write(zlib.compress(bytes(200 * 1024 * 1024), 9), filter=pikepdf.Name.FlateDecode)
        pdf.pages[0].Contents = bomb

    with pytest.raises(FileTooLarge):
        TextReader().inspect(altered(change))


def test_many_streams_that_unpack_to_too_much_together_are_refused() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        packed = zlib.compress(bytes(31 * 1024 * 1024), 9)
        for index in range(6):
            part = pdf.make_stream(b"")
            part.write(packed, filter=pikepdf.Name.FlateDecode)
            pdf.Root[f"/Part{index}"] = part

    with pytest.raises(FileTooLarge):
        TextReader().inspect(altered(change))


def test_limits_are_kept() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.add_blank_page()
        pdf.add_blank_page()

    three_pages = altered(change)
    assert TextReader(Limits(pages_max=3)).inspect(three_pages) == "pdf"
    with pytest.raises(TooManyPages):
        TextReader(Limits(pages_max=2)).inspect(three_pages)
    with pytest.raises(FileTooLarge):
        TextReader(Limits(bytes_max=len(HARBOUR) - 1)).inspect(HARBOUR)
    with pytest.raises(FileTooLarge):
        TextReader(Limits(xml_bytes_max=len(MILLRACE) - 1)).inspect(MILLRACE)
    with pytest.raises(FileTooLarge):
        TextReader(Limits(xml_bytes_max=1_000)).inspect(TERN)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", EmptyFile),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), UnsupportedContent),
        (b"MZ" + bytes(100), UnsupportedContent),
        (b"PK\x03\x04" + HARBOUR, UnsupportedContent),
        (b"<html><body>Invoice</body></html>", UnsupportedContent),
        (b"<Invoice", DamagedDocument),
        (MILLRACE.decode().encode("utf-32"), UnsupportedContent),
        (MILLRACE.decode().encode("utf-16")[:-1], UnsupportedContent),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"), ActiveContent),
        ("<a>\u202e</b>".encode("utf-16"), DamagedDocument),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', ActiveContent),
        (
            b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
            ActiveContent,
        ),
        (b'<?xml version="1.0" encoding="UTF-7"?><a>+ADwAIQ-DOCTYPE</a>', UnsupportedContent),
    ],
)
def test_content_decides_and_not_the_name(content: bytes, refusal: type[DocumentRefused]) -> None:
    with pytest.raises(refusal):
        TextReader().inspect(content)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def refuses_or_reads(content: bytes) -> None:
    """Anything else than a refusal by name fails the test by itself."""
    try:
        reading = read(content)
    except DocumentRefused:
        return
    assert 0 <= reading.confidence_bps <= 10_000


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([b"", b"%PDF-1.7\n", b"<?xml version='1.0'?>", b"<"]))
def test_random_bytes_are_refused_by_name(tail: bytes, head: bytes) -> None:
    with pytest.raises(DocumentRefused):
        read(head + tail)


@FUZZ
@given(st.sampled_from([HARBOUR, MILLRACE, TERN]), st.data())
def test_flipped_bytes_never_raise_anything_but_a_refusal(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    refuses_or_reads(bytes(damaged))


@FUZZ
@given(st.sampled_from([HARBOUR, MILLRACE, TERN]), st.floats(0, 1), st.floats(0, 1))
def test_removed_stretches_never_raise_anything_but_a_refusal(content: bytes, one: float, other: float) -> None:
    start, end = sorted((int(one * len(content)), int(other * len(content))))
    refuses_or_reads(content[:start] + content[end:])


# --- isolation ----------------------------------------------------------------------------------------------------


def test_the_isolated_reader_reads_what_the_reader_reads() -> None:
    reader: DocumentReader = IsolatedReader()
    assert reader.inspect(TERN) == "factur_x"
    assert reader.read(TERN) == read(TERN)


def test_refusals_cross_the_process_boundary_by_name() -> None:
    with pytest.raises(ActiveContent) as refused:
        IsolatedReader().inspect(altered(javascript))
    assert refused.value.detail
    with pytest.raises(FileTooLarge):
        IsolatedReader(Limits(bytes_max=10)).read(HARBOUR)


def test_a_worker_that_takes_too_long_is_ended_and_the_next_document_is_read() -> None:
    with pytest.raises(DamagedDocument):
        IsolatedReader(timeout_seconds=0.01).read(HARBOUR)
    assert IsolatedReader().inspect(HARBOUR) == "pdf"


def test_a_worker_that_dies_of_its_memory_limit_is_a_damaged_document() -> None:
    """Less address space than is mapped already, and a document that does not fit into what is free of that."""
    with pytest.raises(DamagedDocument):
        IsolatedReader(address_space_bytes=32 * 1024 * 1024).read(MILLRACE + b" " * 1_900_000)


def test_the_isolated_reader_serves_several_threads() -> None:
    reader = IsolatedReader(workers_max=2)
    totals: list[Pence | None] = []
    threads = [threading.Thread(target=lambda: totals.append(reader.read(HARBOUR).fields.total)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert totals == [read(HARBOUR).fields.total] * 3
