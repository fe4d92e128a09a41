"""What once went wrong in reading XML, alone and inside a page: right or doubted (IN-03, IN-04)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import Any, Final

import pytest

from tests.adapters.document_cases import CII, FACTOR, HONEST, JULY, PAYABLE, PAYEE, UBL, read
from tests.adapters.paper_trade import SELLER, attached, hybrid, page

# --- a page with XML inside


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"payable": "600.00"}, "PAYABLE_DIFFERS_FROM_TOTAL"),
        ({"paid": "600.00", "payable": "600.00"}, "PART_PAID"),
        ({"payee": FACTOR}, "PAYEE_IS_NOT_SELLER"),
        ({"due": ("8 July 2026", "8 September 2026")}, "AMBIGUOUS:due_date"),
        ({"due": ("8 August 2026",)}, "XML_AND_PAGE_DISAGREE:due_date"),
        ({"due": (), "terms": ("60 days",)}, "XML_AND_PAGE_DISAGREE:due_date"),
        ({"due": ()}, "NOT_ON_PAGE:due_date"),
        ({"total": "", "payable": ""}, "NOT_ON_PAGE:total"),
        ({"vat": "300.00"}, "TOTALS_DO_NOT_ADD_UP"),
        ({"vat": "300.00", "total": "1300.00"}, "XML_AND_PAGE_DISAGREE:total"),
        ({"notes": ("A retention of 5% will be withheld.",)}, "PAYABLE_DIFFERS_FROM_TOTAL"),
        ({"notes": ("Payable in 2 instalments.",)}, "INSTALMENTS"),
    ],
)
def test_attaching_an_xml_silences_no_doubt_of_the_page(change: dict[str, Any], doubt: str) -> None:
    """And what is said in the XML alone is a doubt of the hybrid all the same."""
    assert doubt in read(hybrid(replace(HONEST, **change), inside=HONEST)).doubts
    xml_only = {"PAYABLE_DIFFERS_FROM_TOTAL", "PART_PAID", "PAYEE_IS_NOT_SELLER", "INSTALMENTS"} & {doubt}
    assert xml_only <= set(read(hybrid(HONEST, inside=replace(HONEST, **change))).doubts)


def test_an_honest_page_is_not_doubted_for_its_xml() -> None:
    assert read(hybrid(HONEST)).doubts == ()


# --- XML


def changed(content: bytes, old: str, new: str) -> bytes:
    assert old in content.decode(), old
    return content.replace(old.encode(), new.encode())


def with_more(content: bytes, before: str, more: str) -> bytes:
    """With something put in before a tag."""
    return changed(content, before, more + before)


MEANS, TOTALS = "<cac:PaymentMeans>", "<cac:LegalMonetaryTotal>"

CII_DUE, CII_TOTALS = "<ram:DueDateDateTime>", "<ram:DuePayableAmount>"

ACCOUNT = "<cac:PayeeFinancialAccount><cbc:ID>11112222</cbc:ID></cac:PayeeFinancialAccount>"

GROSS = ">1200.00</cbc:TaxInclusiveAmount>"

NO_TOTAL = ("NOT_FOUND:total", "SUM_LACKS:BT-112", "UNREADABLE:total")


def gbp(name: str, amount: str, currency: str = "GBP") -> str:
    return f'<cbc:{name} currencyID="{currency}">{amount}</cbc:{name}>'


def in_ubl(whole: str, part: str) -> str:
    return f"<cac:{whole}>{part}</cac:{whole}>"


def payee(name: str, number: str) -> str:
    """A party that is paid in the seller's place."""
    named = in_ubl("PartyName", f"<cbc:Name>{name}</cbc:Name>" if name else "")
    numbered = in_ubl("PartyLegalEntity", f"<cbc:CompanyID>{number}</cbc:CompanyID>" if number else "")
    return in_ubl("PayeeParty", named + numbered)


CURRENCIES: Final[dict[str, tuple[bytes, tuple[str, ...]]]] = {
    "none anywhere": (UBL.replace(b' currencyID="GBP"', b""), ()),
    "none at the VAT": (changed(UBL, gbp("TaxAmount", "200.00"), "<cbc:TaxAmount>200.00</cbc:TaxAmount>"), ()),
    "none at the VAT in CII": (changed(CII, 'TaxTotalAmount currencyID="GBP"', "TaxTotalAmount"), ()),
    "euros asked for": (
        changed(UBL, gbp("PayableAmount", "1200.00"), gbp("PayableAmount", "1200.00", "EUR")),
        ("MIXED_CURRENCIES", "SUM_LACKS:BT-115"),
    ),
    "a line in euros": (
        changed(UBL, gbp("LineExtensionAmount", "600.00"), gbp("LineExtensionAmount", "600.00", "EUR")),
        ("MIXED_CURRENCIES", "SUM_LACKS:BT-131"),
    ),
    "a total in dollars": (
        changed(CII, "<ram:GrandTotalAmount>", '<ram:GrandTotalAmount currencyID="USD">'),
        ("MIXED_CURRENCIES", "NOT_FOUND:total", "SUM_LACKS:BT-112"),
    ),
    "VAT in euros only": (
        changed(UBL, gbp("TaxAmount", "200.00"), gbp("TaxAmount", "200.00", "EUR")),
        ("MIXED_CURRENCIES", "TOTALS_DO_NOT_ADD_UP"),
    ),
    "VAT in the accounting currency, too": (
        with_more(
            with_more(UBL, TOTALS, in_ubl("TaxTotal", gbp("TaxAmount", "233.00", "EUR"))),
            "<cac:AccountingSupplierParty>", "<cbc:TaxCurrencyCode>EUR</cbc:TaxCurrencyCode>",
        ),
        (),
    ),
}  # fmt: skip

SEVERAL: Final[dict[str, tuple[bytes, tuple[str, ...]]]] = {
    "amounts asked for": (
        with_more(UBL, "</cac:LegalMonetaryTotal>", gbp("PayableAmount", "600.00")),
        ("AMBIGUOUS:amount_due", "SUM_LACKS:BT-115"),
    ),
    "totals": (
        with_more(CII, CII_TOTALS, "<ram:GrandTotalAmount>1500.00</ram:GrandTotalAmount>"),
        ("AMBIGUOUS:total", "NOT_FOUND:total", "SUM_LACKS:BT-112"),
    ),
    "numbers": (
        with_more(UBL, "<cbc:IssueDate>", "<cbc:ID>FX-9002</cbc:ID>"),
        ("AMBIGUOUS:invoice_number", "NOT_FOUND:invoice_number"),
    ),
    "issue dates": (
        with_more(UBL, "<cbc:IssueDate>", "<cbc:IssueDate>2026-06-09</cbc:IssueDate>"),
        ("AMBIGUOUS:issue_date", "NOT_FOUND:issue_date"),
    ),
    "accounts": (with_more(UBL, MEANS, in_ubl("PaymentMeans", ACCOUNT)), ("AMBIGUOUS:account_number",)),
    "banks": (changed(UBL, ">73041586<", ">GB15 ZFTK 9970 0431 2669 08<"), ("AMBIGUOUS:account_number",)),
    "a BIC beside the account": (changed(UBL, "<cbc:ID>995190</cbc:ID>", "<cbc:ID>BARCGB22</cbc:ID>"), ()),
}  # fmt: skip

ODD: Final[dict[str, tuple[bytes, tuple[str, ...]]]] = {
    "a number cut by an element": (changed(UBL, GROSS, ">12<x/>00.00</cbc:TaxInclusiveAmount>"), NO_TOTAL),
    "a number cut by a space": (changed(UBL, GROSS, ">1 200.00</cbc:TaxInclusiveAmount>"), NO_TOTAL),
    "a number with commas": (changed(UBL, GROSS, ">1,200.00</cbc:TaxInclusiveAmount>"), NO_TOTAL),
    "tax withheld, all asked for": (
        with_more(UBL, TOTALS, in_ubl("WithholdingTaxTotal", gbp("TaxAmount", "150.00"))), PAYABLE,
    ),
    "a payment that is not summed up": (
        with_more(UBL, TOTALS, in_ubl("PrepaidPayment", gbp("PaidAmount", "600.00"))), ("AMBIGUOUS:amount_paid",),
    ),
    "half at a time": (
        with_more(UBL, MEANS, in_ubl("PaymentTerms", "<cbc:PaymentPercent>50</cbc:PaymentPercent>")), ("INSTALMENTS",),
    ),
    "600 at a time": (with_more(UBL, MEANS, in_ubl("PaymentTerms", gbp("Amount", "600.00"))), ("INSTALMENTS",)),
    "600 at a time in CII": (
        with_more(CII, CII_DUE, "<ram:PartialPaymentAmount>600.00</ram:PartialPaymentAmount>"), ("INSTALMENTS",),
    ),
    "all at a time": (with_more(CII, CII_DUE, "<ram:PartialPaymentAmount>1200.00</ram:PartialPaymentAmount>"), ()),
    "notes without end": (
        with_more(UBL, MEANS, in_ubl("PaymentTerms", f"<cbc:Note>{'30 days ' * 10_000}</cbc:Note>")),
        ("UNREADABLE:notes",),
    ),
    "a payee without a name": (with_more(UBL, MEANS, payee("", "")), PAYEE),
    "a payee with the seller's name only": (with_more(UBL, MEANS, payee(SELLER, "01234567")), PAYEE),
    "a payee with the seller's number": (with_more(UBL, MEANS, payee("", "19845102")), ()),
}  # fmt: skip

XML_TABLE: Final = [
    pytest.param(content, doubts, id=f"{kind}: {name}")
    for kind, table in (("currencies", CURRENCIES), ("several", SEVERAL), ("odd", ODD))
    for name, (content, doubts) in table.items()
]


@pytest.mark.parametrize(("content", "doubts"), XML_TABLE)
def test_xml_says_one_thing_or_is_doubted(content: bytes, doubts: tuple[str, ...]) -> None:
    assert tuple(sorted(read(content).doubts)) == doubts


@pytest.mark.parametrize("zone", ["", "Z", "+01:00", "-05:00", "+14:00", "+00:00"])
@pytest.mark.parametrize("content", [UBL, CII], ids=["ubl", "cii"])
def test_the_zone_of_a_date_does_not_move_it(content: bytes, zone: str) -> None:
    dated = re.sub(rb"(2026-?07-?08|2026-?06-?08)<", rb"\g<1>" + zone.encode() + b"<", content)
    reading = read(dated)
    assert (reading.fields.issue_date, reading.fields.due_date, reading.doubts) == (date(2026, 6, 8), JULY, ())


@pytest.mark.parametrize(
    "written", ["2026-07-08+25:00", "2026-07-08T00:00:00", "08/07/2026", "2026-02-30", "2026-W28-3"]
)
def test_what_is_no_date_is_there_and_unread(written: str) -> None:
    doubts = read(changed(UBL, ">2026-07-08<", f">{written}<")).doubts
    assert doubts == ("UNREADABLE:due_date", "NOT_FOUND:due_date")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(("content", "kind"), [(UBL, "ubl"), (CII, "cii")], ids=["ubl", "cii"])
def test_xml_is_read_in_the_encodings_that_every_reader_knows(content: bytes, kind: str, encoding: str) -> None:
    declared = changed(content, 'encoding="UTF-8"', f'encoding="{encoding[:6].upper().rstrip("-")}"')
    told = changed(declared, SELLER, "Millrace Crêpes Limited").decode().encode(encoding)
    reading = read(told)
    assert (reading.kind, reading.doubts, reading.fields.seller.name) == (kind, (), "Millrace Crêpes Limited")
    assert "Crêpes" in reading.text


def test_utf_16_with_a_byte_order_mark_of_either_end_is_read_inside_a_page_too() -> None:
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert read(mark + UBL.decode().encode(encoding)).doubts == ()
        assert read(attached(page(HONEST), mark + CII.decode().encode(encoding))).doubts == ()
