"""What once went wrong in reading, and a second set of the same kinds: right or doubted (IN-03, IN-04).

The first set lies in tests/data/cases. The second is made here: each kind in each syntax that can say it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from fintokenx.adapters.documents import IsolatedReader
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, NotAnInvoice
from tests.adapters.document_cases import FACTOR, HONEST, JULY, NO_DUE, PAYABLE, PAYEE, UBL, read
from tests.adapters.paper_trade import SYNTAXES, Facts

CASES: Final = Path(__file__).resolve().parents[1] / "data" / "cases"

RATES: Final = {"net": Pence(100_000), "vat": Pence(20_000), "total": Pence(120_000), "due_date": JULY}

MILLIONS: Final = {"net": Pence(100_002_880), "vat": Pence(20_000_576), "total": Pence(120_003_456)}

THOUSAND: Final = {"net": Pence(102_880), "vat": Pence(20_576), "total": Pence(123_456)}

FIRST_SET: Final[dict[str, tuple[tuple[str, ...], dict[str, Any]]]] = {
    "a-ubl-payable-600.xml": (PAYABLE, RATES | {"amount_due": Pence(60_000)}),
    "e-cii-due-600.xml": (PAYABLE, RATES | {"amount_due": Pence(60_000)}),
    "c-ubl-cis-withheld.xml": (PAYABLE, RATES | {"amount_due": Pence(105_000)}),
    "a-ubl-payee-party.xml": (PAYEE, RATES),
    "c-ubl-account-name-only.xml": (PAYEE, RATES),
    "a-discount-only.xml": (("NOT_FOUND:due_date",), RATES | {"due_date": None, "payment_terms_days": None}),
    "c-two-sentences.xml": ((), RATES | {"payment_terms_days": 30}),
    "d-false-doubt.xml": ((), RATES | {"payment_terms_days": None}),
    "a-cii-two-instalments.xml": (
        ("AMBIGUOUS:due_date", "INSTALMENTS", "NOT_FOUND:due_date"),
        RATES | {"due_date": None},
    ),
    "a-ubl-no-vat-net-1000-total-1500.xml": (("TOTALS_DO_NOT_ADD_UP",), {"vat": None, "total": Pence(150_000)}),
    "b-cii-vat-without-currency.xml": (("TOTALS_DO_NOT_ADD_UP",), {"vat": Pence(20_000), "total": Pence(150_000)}),
    "b-ubl-date-with-zone.xml": ((), RATES),
    "a-plain-space.pdf": ((), THOUSAND),
    "g-millions.pdf": ((), MILLIONS),
    "c-comma.pdf": ((), THOUSAND),
    "i-page-says-balance-600.pdf": ((*PAYABLE, "XML_AND_PAGE_DISAGREE:amount_due"), RATES),
}


def values(fields: InvoiceOnPaper, names: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(fields, name) for name in names}


def test_every_case_is_expected_to_be_something() -> None:
    assert {path.name for path in CASES.iterdir()} == set(FIRST_SET)


@pytest.mark.parametrize("name", FIRST_SET)
def test_what_once_went_wrong_is_right(name: str) -> None:
    doubts, right = FIRST_SET[name]
    reading = read((CASES / name).read_bytes())
    assert reading.doubts == doubts
    assert values(reading.fields, right) == right


def test_the_isolated_reader_gives_the_same_right_answers() -> None:
    reader = IsolatedReader()
    for name, (doubts, right) in FIRST_SET.items():
        reading = reader.read((CASES / name).read_bytes())
        assert (reading.doubts, values(reading.fields, right)) == (doubts, right), name


ROUNDED: Final = Facts(vat="199.99", total="1199.99", rounding="0.01")

ALLOWED: Final = Facts(
    lines=("700.00", "400.00"), line_total="1100.00", allowances=("100.00",), allowance_total="100.00"
)

CHARGED: Final = Facts(lines=("500.00", "400.00"), line_total="900.00", charges=("100.00",), charge_total="100.00")

XML: Final = ("ubl", "cii", "hybrid")

ALL: Final = (*XML, "page")

KINDS: Final[dict[str, tuple[Facts, tuple[str, ...], tuple[str, ...]]]] = {
    # what it is → the facts, the doubts (NOT_ON_PAGE aside), the syntaxes that can say it
    "nothing wrong": (HONEST, (), ALL),
    "less asked for": (replace(HONEST, payable="600.00"), PAYABLE, ALL),
    "more asked for": (replace(HONEST, payable="1250.00"), PAYABLE, ALL),
    "part paid": (replace(HONEST, paid="600.00", payable="600.00"), ("PART_PAID",), ALL),
    "part paid and all asked for": (replace(HONEST, paid="600.00"), (*PAYABLE, "PART_PAID"), XML),
    "paid another part": (replace(HONEST, paid="500.00", payable="600.00"), (*PAYABLE, "PART_PAID"), ALL),
    "rounded": (ROUNDED, (), ALL),
    "rounded and part paid": (replace(ROUNDED, paid="600.00", payable="600.00"), ("PART_PAID",), ALL),
    "rounded by too much": (replace(ROUNDED, payable="1199.00"), PAYABLE, ALL),
    "rounding left out": (replace(ROUNDED, rounding=""), PAYABLE, XML),
    "another payee": (replace(HONEST, payee=FACTOR), PAYEE, ALL),
    "a payee that is the seller": (replace(HONEST, payee="MILLRACE FOODS LTD"), (), ALL),
    "another's account": (replace(HONEST, account_name="QUICKCASH FACTORS LTD"), PAYEE, ALL),
    "another's account, no legal form": (replace(HONEST, account_name="Quickcash Factoring"), PAYEE, ALL),
    "a person's account": (replace(HONEST, account_name="J A Smith"), PAYEE, ALL),
    "another company of that name": (replace(HONEST, account_name="Millrace Foods plc"), PAYEE, ALL),
    "a factor as trading name": (replace(HONEST, trading_name=FACTOR, account_name=FACTOR), PAYEE, ALL),
    "the seller's account": (replace(HONEST, account_name="Millrace Foods Ltd."), (), ALL),
    "the seller's account, no legal form": (replace(HONEST, account_name="MILLRACE FOODS"), (), ALL),
    "the brand's account": (replace(HONEST, trading_name="Kelp Kitchen", account_name="Kelp Kitchen"), (), ALL),
    "a notice of assignment": (replace(HONEST, notes=(f"This debt has been assigned to {FACTOR}.",)), PAYEE, ALL),
    "two due dates": (replace(HONEST, due=("2026-07-08", "2026-09-08")), ("AMBIGUOUS:due_date", *NO_DUE), ALL),
    "three due dates": (
        replace(HONEST, due=("2026-07-08", "2026-08-08", "2026-09-08")), ("AMBIGUOUS:due_date", *NO_DUE), ALL,
    ),
    "one due date, twice": (replace(HONEST, due=("2026-07-08", "2026-07-08")), (), ALL),
    "two due dates and terms": (
        replace(HONEST, due=("2026-07-08", "2026-09-08"), terms=("30 days",)), ("AMBIGUOUS:due_date", *NO_DUE), ALL,
    ),
    "a note with another due date": (
        replace(HONEST, notes=("The rest is payable by 8 September 2026.",)), ("AMBIGUOUS:due_date", *NO_DUE), ALL,
    ),
    "a note with a discount's date": (replace(HONEST, notes=("2% discount if paid by 20 June 2026.",)), (), ALL),
    "instalments in words": (replace(HONEST, notes=("Payable in 3 monthly instalments.",)), ("INSTALMENTS",), ALL),
    "halves in words": (replace(HONEST, terms=("50% on order, 50% within 30 days",)), ("INSTALMENTS",), ALL),
    "a discount and no term": (replace(HONEST, due=(), terms=("Less 2.5% if settled within 14 days",)), NO_DUE, ALL),
    "an early settlement discount": (
        replace(HONEST, due=(), terms=("Early settlement discount 3%: 7 days",)), NO_DUE, ALL,
    ),
    "a discount beside a due date": (replace(HONEST, terms=("1.5 % discount, 10 days",)), (), ALL),
    "a discount before the term": (replace(HONEST, due=(), terms=("7 days: 3% discount. Net 30 days.",)), (), ALL),
    "a discount after the term": (replace(HONEST, due=(), terms=("Net 30 days, less 2% within 10 days",)), (), ALL),
    "a discount in shorthand": (replace(HONEST, due=(), terms=("2/10 net 30",)), (), ALL),
    "interest before the term": (
        replace(HONEST, due=(), terms=("Interest runs after 60 days. Net 30 days.",)), (), ALL,
    ),
    "two terms": (
        replace(HONEST, due=(), terms=("30 or 60 days",)), ("AMBIGUOUS:payment_terms_days", *NO_DUE), ("ubl", "cii"),
    ),
    "terms that run from delivery": (replace(HONEST, due=(), terms=("30 days from delivery",)), NO_DUE, ALL),
    "terms that disagree": (replace(HONEST, terms=("60 days",)), ("TERMS_AND_DUE_DATE_DISAGREE",), ALL),
    "no VAT and none missing": (replace(HONEST, vat="", total="1000.00", payable="1000.00"), (), ALL),
    "no VAT and some missing": (
        replace(HONEST, vat="", total="1350.00", payable="1350.00"), ("TOTALS_DO_NOT_ADD_UP",), ALL,
    ),
    "too much VAT": (replace(HONEST, vat="300.00"), ("TOTALS_DO_NOT_ADD_UP",), ALL),
    "a line too few": (replace(HONEST, lines=("600.00",)), ("LINES_DO_NOT_ADD_UP", "NET_DOES_NOT_ADD_UP"), XML),
    "no lines": (replace(HONEST, lines=()), ("SUM_LACKS:BT-131",), XML),
    "no sum of lines": (replace(HONEST, line_total=""), ("SUM_LACKS:BT-106",), XML),
    "no net": (replace(HONEST, net=""), ("SUM_LACKS:BT-109",), XML),
    "no amount asked for": (replace(HONEST, payable=""), ("SUM_LACKS:BT-115",), XML),
    "an allowance": (ALLOWED, (), ALL),
    "an allowance that is not summed up": (replace(HONEST, allowances=("100.00",)), ("ALLOWANCES_DO_NOT_ADD_UP",), XML),
    "an allowance that is not listed": (replace(ALLOWED, allowances=()), ("ALLOWANCES_DO_NOT_ADD_UP",), XML),
    "an allowance that is not deducted": (
        replace(HONEST, allowances=("100.00",), allowance_total="100.00"), ("NET_DOES_NOT_ADD_UP",), XML,
    ),
    "a charge": (CHARGED, (), ALL),
    "a charge that is not summed up": (replace(HONEST, charges=("50.00",)), ("CHARGES_DO_NOT_ADD_UP",), XML),
    "two charges and the sum of one": (replace(CHARGED, charges=("100.00", "20.00")), ("CHARGES_DO_NOT_ADD_UP",), XML),
    "VAT by rates": (replace(HONEST, vat_parts=("150.00", "50.00")), (), XML),
    "VAT by rates that is another": (replace(HONEST, vat_parts=("150.00", "60.00")), ("VAT_DOES_NOT_ADD_UP",), XML),
    "CIS withheld": (replace(HONEST, notes=("CIS deduction at 20%: £200.00",)), PAYABLE, ALL),
    "a retention": (replace(HONEST, notes=("A retention of 5% will be withheld until completion.",)), PAYABLE, ALL),
    "no retention": (replace(HONEST, notes=("No retention applies, CIS 0%.",)), (), ALL),
    "title retained": (replace(HONEST, notes=("Retention of title: goods stay ours until 100% is paid.",)), (), ALL),
}  # fmt: skip

SECOND_SET: Final = [
    pytest.param(facts, doubts, syntax, id=f"{kind}-{syntax}")
    for kind, (facts, doubts, syntaxes) in KINDS.items()
    for syntax in syntaxes
]


@pytest.mark.parametrize(("facts", "doubts", "syntax"), SECOND_SET)
def test_each_kind_is_right_in_each_syntax(facts: Facts, doubts: tuple[str, ...], syntax: str) -> None:
    reading = read(SYNTAXES[syntax](facts))
    assert {each for each in reading.doubts if not each.startswith("NOT_ON_PAGE:")} == set(doubts)
    assert reading.fields.total == pence(facts.total)
    assert reading.fields.due_date == (None if "NOT_FOUND:due_date" in doubts else JULY)
    assert reading.fields.amount_paid == (pence(facts.paid) if facts.paid else None)
    if facts.payable and syntax != "page":
        assert reading.fields.amount_due == pence(facts.payable)


def pence(text: str) -> Pence:
    return Pence(int(text.replace(".", "")))


def test_the_second_set_reads_alike_in_isolation() -> None:
    reader = IsolatedReader()
    for syntax, write in SYNTAXES.items():
        content = write(replace(HONEST, payable="600.00", payee=FACTOR))
        reading = reader.read(content)
        assert reading == read(content), syntax
        assert {*PAYABLE, *PAYEE} <= set(reading.doubts)
    assert reader.read(UBL.decode().encode("utf-16")).doubts == ()


@pytest.mark.parametrize("syntax", ALL)
def test_a_credit_note_is_refused_in_each_syntax(syntax: str) -> None:
    with pytest.raises(NotAnInvoice):
        read(SYNTAXES[syntax](replace(HONEST, type_code="381")))
