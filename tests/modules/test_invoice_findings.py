"""What a document does not confirm is found, and companies are told apart (IN-04)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fintokenx.kernel.caller import Role
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, PartyOnPaper, Reading
from fintokenx.lifecycle.invoice.service import compare
from fintokenx.lifecycle.invoice.types import normalised_number
from fintokenx.parties import auth
from tests.modules.invoice_ways import FACE, NOW
from tests.modules.parties_house import HERE

pytestmark = pytest.mark.anyio

# --- comparing


def subject(name: str, number: str | None) -> auth.Subject:
    return auth.Subject(
        HERE, "sub_x", Role.SELLER, name, number, None, None, None, "ACTIVE", None, None, NOW, None, None
    )


def read_as(**fields: Any) -> tuple[str, ...]:
    """The findings when the document agrees but for ``fields``."""
    confidence = fields.pop("confidence_bps", 9_500)
    declared = invoice.Invoice(
        HERE, "FXI-0000000", "sub_s", "sub_b", "INV-1", FACE, Pence(0), "GBP", date(2026, 6, 1), 60,
        date(2026, 7, 31), 200, "EXTRACTING", None, "0" * 64, NOW,
    )  # fmt: skip
    honest: dict[str, Any] = {
        "invoice_number": "INV 1", "issue_date": date(2026, 6, 1), "due_date": date(2026, 7, 31), "currency": "GBP",
        "total": FACE, "seller": PartyOnPaper("Any", "01234567"), "buyer": PartyOnPaper("Quill & Sons Ltd."),
    }  # fmt: skip
    reading = Reading("pdf", "r/1", confidence, InvoiceOnPaper(**honest | fields), (), "")
    return compare.findings(
        declared,
        seller=subject("Kelp Ltd", "01234567"),
        buyer=subject("QUILL AND SONS LIMITED", "07654321"),
        reading=reading,
    )


def test_a_document_that_agrees_has_no_findings() -> None:
    assert read_as() == ()


def test_what_is_asked_for_now_is_compared_where_it_is_stated() -> None:
    """A rounded total (BT-114), or one that is paid in part."""
    assert read_as(total=FACE - Pence(1), amount_due=FACE) == ()
    assert read_as(total=FACE + Pence(600), amount_paid=Pence(600), amount_due=FACE) == ()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"total": FACE - Pence(1)}, ("FIELD_MISMATCH:total",)),
        ({"total": Pence(0)}, ("FIELD_MISMATCH:total",)),
        ({"total": None}, ("NOT_FOUND:total",)),
        ({"amount_due": FACE - Pence(1)}, ("FIELD_MISMATCH:total",)),
        ({"invoice_number": "INV-11"}, ("FIELD_MISMATCH:invoice_number",)),
        ({"invoice_number": None}, ("NOT_FOUND:invoice_number",)),
        ({"issue_date": date(2026, 6, 2)}, ("FIELD_MISMATCH:issue_date",)),
        ({"issue_date": None}, ("NOT_FOUND:issue_date",)),
        ({"due_date": date(2026, 7, 30)}, ("FIELD_MISMATCH:due_date",)),
        ({"due_date": None}, ("NOT_FOUND:due_date",)),
        ({"currency": "EUR"}, ("FIELD_MISMATCH:currency",)),
        ({"currency": None}, ("NOT_FOUND:currency",)),
        ({"seller": PartyOnPaper("Kelp Ltd", "99999999")}, ("FIELD_MISMATCH:seller_company_number",)),
        ({"seller": PartyOnPaper()}, ("NOT_FOUND:seller_name",)),
        ({"buyer": PartyOnPaper("Quill & Daughters Ltd")}, ("FIELD_MISMATCH:buyer_name",)),
        ({"confidence_bps": 7_999}, ("LOW_CONFIDENCE",)),
    ],
)
def test_whatever_the_document_does_not_confirm_is_found(fields: dict[str, Any], found: tuple[str, ...]) -> None:
    """IN-04: silence is not agreement."""
    assert read_as(**fields) == found


def test_the_worst_finding_is_the_reason() -> None:
    assert compare.reason(("NOT_FOUND:total", "NEAR_DUPLICATE", "FIELD_MISMATCH:total")) == "FIELD_MISMATCH"
    assert compare.reason(("NEAR_DUPLICATE", "HIDDEN_TEXT")) == "NEAR_DUPLICATE"
    assert compare.reason(("HIDDEN_TEXT",)) == "DOCUMENT_DOUBTFUL"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Brackenmoor Retail Group P.L.C.", "BRACKENMOOR RETAIL GROUP PUBLIC LIMITED COMPANY"),
        ("Kelp & Quill Print LLP", "Kelp and Quill Print Limited Liability Partnership"),
        ("O’Brien's Ltd", "OBriens Limited"),
        ("Smith, Jones Ltd", "Smith Jones Ltd."),
    ],
)
def test_one_company_has_several_spellings(one: str, other: str) -> None:
    assert compare.company_name_key(one) == compare.company_name_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Acme Ltd", "Acme plc"), ("Acme Unlimited", "Acme Ltd"), ("Sand Ltd", "S & Ltd")]
)
def test_two_companies_stay_two(one: str, other: str) -> None:
    assert compare.company_name_key(one) != compare.company_name_key(other)


@pytest.mark.parametrize(
    ("text", "number"),
    [("INV-00417", "INV00417"), ("inv 00417", "INV00417"), ("ＩＮＶ—１", "INV1"), ("№ 7", "NO7"), ("発票", "")],
)
def test_a_number_is_compared_without_its_dress(text: str, number: str) -> None:
    assert normalised_number(text) == number
