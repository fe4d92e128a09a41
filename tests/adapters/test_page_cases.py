"""What once went wrong in reading pages: numbers, words, rules: right or doubted (IN-03, IN-04)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import pytest

from fintokenx.adapters.documents import en16931
from fintokenx.adapters.documents.remarks import doubts_about
from fintokenx.adapters.documents.terms import Terms, find_due_dates, find_terms
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import Reading
from tests.adapters.document_cases import FACTOR, HONEST, NO_DUE, PAYABLE, PAYEE, read
from tests.adapters.paper_trade import SELLER, page, text_at

# --- numbers on a page

HEADER: Final = (
    *((40, 40, SELLER), (400, 40, "INVOICE"), (40, 70, "Invoice number: 8/26"), (40, 82, "Invoice date: 8 June 2026")),
    (40, 94, "Due date: 8 July 2026"),
)


def totals(*cells: tuple[float, float, str]) -> Reading:
    return read(text_at(*HEADER, *cells))


@pytest.mark.parametrize("gap_ems", [0.0, 0.05, 0.1, 0.2, 0.28, 0.5, 0.9, 1.2, 2.0, 3.0])
@pytest.mark.parametrize("sign", ["£", ""])
@pytest.mark.parametrize("groups", [("1", "234.56"), ("12", "345.67"), ("1", "200", "034.56")])
def test_a_number_set_with_gaps_is_right_or_none(gap_ems: float, sign: str, groups: tuple[str, ...]) -> None:
    """Spaces of any width, and boxes: the tail of a number is not a number, and neither is its head."""
    left, cells = 200.0, []
    for index, group in enumerate(groups):
        text = sign + group if index == 0 else group
        cells.append((left, 300.0, text))
        left += 5.004 * sum(each.isdigit() or each == "£" for each in text) + 2.502 * text.count(".") + gap_ems * 9
    reading = totals((40, 300, "Invoice total"), *cells)
    right = Pence(int("".join(groups).replace(".", "")))
    if gap_ems <= 0.5:
        assert reading.fields.total == right
    assert reading.fields.total in (right, None)
    assert (reading.fields.total is None) == ("NOT_FOUND:total" in reading.doubts)


@pytest.mark.parametrize(
    "cells",
    [
        ((40, 300, "Invoice total"), (200, 300, "£1"), (200, 311, "234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1,"), (200, 311, "234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1 234."), (200, 311, "56")),
        ((40, 311, "Invoice total"), (200, 300, "£1"), (200, 311, "234.56")),
        ((40, 300, "Invoice total £1"), (40, 311, "234.56")),
        ((40, 300, "Invoice total"), (40, 311, "£1"), (40, 322, "234.56")),
        ((40, 300, "Invoice total"), (200, 300, "1"), (210, 300, "2"), (220, 300, "3"), (230, 300, "4.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1|234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1:234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1.234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1, 234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1-234.56")),
        ((40, 300, "Invoice total"), (200, 300, "£1,234.5")),
        ((40, 300, "Invoice total"), (200, 300, "£1.2m")),
    ],
)  # fmt: skip
def test_a_number_that_is_cut_is_none(cells: tuple[tuple[float, float, str], ...]) -> None:
    reading = totals(*cells)
    assert reading.fields.total is None
    assert "NOT_FOUND:total" in reading.doubts


@pytest.mark.parametrize(
    "written",
    [
        *("£1 234.56", "£1\u00a0234.56", "£1'234.56", "£1’234.56", "£1.234,56", "£1,234·56"),
        *("GBP 1 234.56", "1 234.56 GBP", "£ 1 234.56", "£1,234.56", "£1234.56"),
    ],
)
def test_a_number_is_right_whatever_parts_its_thousands(written: str) -> None:
    reading = totals((40, 300, "Invoice total"), (200, 300, written))
    assert (reading.fields.total, reading.doubts) == (Pence(123_456), ())


# --- what pages say in their own words


@pytest.mark.parametrize(
    "label",
    [
        *("Amount due now", "Please pay", "Now due", "Payable now", "To pay now", "Amount to pay", "Total to pay now"),
        *("Net amount due", "Amount now payable", "Payment due", "Payment required", "Please remit", "Amount owed"),
        *(
            "Balance outstanding",
            "Total due now",
            "Due this month",
            "This payment",
            "Less CIS @ 20%",
            "Less retention 5%",
        ),
        *("Retention", "CIS tax deducted", "Less contra", "Set-off", "Less credit", "Credit note CN-12"),
    ],
)
def test_a_page_that_asks_for_less_in_any_words_is_doubted(label: str) -> None:
    assert PAYABLE[0] in read(page(HONEST, (40, 400, label), (180, 400, "£600.00"))).doubts
    assert PAYABLE[0] in read(page(HONEST, (40, 400, f"{label}: £600.00"))).doubts


@pytest.mark.parametrize("label", ["Amount due now", "Please pay", "Payment due", "Total due now", "Balance due"])
def test_a_page_that_asks_for_all_of_it_in_any_words_is_not(label: str) -> None:
    assert read(page(HONEST, (40, 400, label), (180, 400, "£1,200.00"))).doubts == ()


@pytest.mark.parametrize(
    "words",
    [
        *("Please make payment to {}", "Cheques payable to {}", "Pay to: {}", "Remit to: {}", "Beneficiary: {}"),
        *("Bank account name: {}", "A/C Name: {}", "Account holder: {}", "Account in the name of {}", "Please pay {}"),
        *("Payments should be made to {}, sort code 11-22-33", "Payable only to {}", "All payments to {} only"),
        "BACS: {} 11-22-33 11112222",
    ],
)
def test_a_page_that_names_another_payee_in_any_words_is_doubted(words: str) -> None:
    assert read(page(HONEST, (40, 400, words.format(FACTOR)))).doubts == PAYEE
    assert read(page(HONEST, (40, 400, words.format(SELLER)))).doubts == ()


@pytest.mark.parametrize(
    "rows",
    [
        ("Due date: 20 June 2026 and 8 September 2026",),
        ("Due date: 20 June 2026 (£600), 8 September 2026 (£600)",),
        ("Due 20 June 2026", "Due 8 September 2026"),
        ("1st part due 20 June 2026", "2nd part due 8 September 2026"),
        ("Payable by 20 June 2026", "The rest is payable by 8 September 2026"),
    ],
)
def test_of_several_due_dates_on_a_page_none_is_picked(rows: tuple[str, ...]) -> None:
    notes = [(40.0, 400 + 14.0 * index, row) for index, row in enumerate(rows)]
    reading = read(page(replace(HONEST, due=()), *notes))
    assert reading.fields.due_date is None
    assert {"AMBIGUOUS:due_date", *NO_DUE} <= set(reading.doubts)


# --- words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2% discount if paid within 10 days", set()),
        ("less 2.5% if settled within 14 days", set()),
        ("a discount of £20 may be taken if paid in 7 days", set()),
        ("Pay in 10 days and take £24 off", set()),
        ("#SKONTO#TAGE=14#PROZENT=2.00#", set()),
        ("2% discount net 10 days", set()),
        ("Net 30 days from end of month", {Terms(30, True)}),
        ("End of month plus 30 days", {Terms(30, True)}),
        ("30 days from the end of the month following the invoice", set()),
        ("Early settlement discount of 3% for payment within 7 days; otherwise net 45 days", {Terms(45, False)}),
        ("10 days less 2%, 30 days net", {Terms(30, False)}),
        ("2% 10, net 30", {Terms(30, False)}),
        ("Interest at 8% is charged after 60 days. Net 30 days", {Terms(30, False)}),
        ("Payment 30 days, interest at 8% over base, after 60 days", {Terms(30, False)}),
        ("Net 30 days. Returns within 14 days. Queries within 7 days.", {Terms(30, False)}),
        ("30 days after receipt of goods", set()),
        ("30, 60 and 90 days", {Terms(60, False), Terms(90, False)}),
    ],
)  # fmt: skip
def test_a_period_is_a_term_only_where_it_is_one_of_payment(text: str, found: set[Terms]) -> None:
    assert find_terms(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Payment is due by 3 May 2026. Interest runs from 4 June 2026.", {date(2026, 5, 3)}),
        ("£600 due 20 June 2026, £600 due 8 September 2026", {date(2026, 6, 20), date(2026, 9, 8)}),
        ("2% discount for payment by 15 June 2026", set()),
        ("If you pay by 15 June 2026 you may deduct 2%", set()),
        ("Payment received on 1 May 2026 with thanks", set()),
        ("Invoice for work done by 3 May 2026", set()),
    ],
)
def test_a_date_is_a_due_date_only_where_a_sentence_asks_for_payment(text: str, found: set[date]) -> None:
    assert find_due_dates(text) == found


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        ("The right to payment under this invoice is assigned absolutely to Quickcash Ltd", list(PAYEE)),
        ("NOTICE OF ASSIGNMENT", list(PAYEE)),
        ("Payment must be made to our factors", list(PAYEE)),
        ("A good discharge is obtained only by payment to Quickcash Ltd", list(PAYEE)),
        ("Engineer assigned: A. Smith", []),
        ("Factory gate 2, unit 4", []),
        ("Less 5% retention £60.00", list(PAYABLE)),
        ("Retention of title applies until 100% of the price is paid", []),
        ("Retention: nil", []),
        ("CIS deduction: £0.00", []),
        ("Amounts withheld bear interest at 8%", []),
        ("Precision parts £40.00", []),
        ("Instalment 2 of 3", ["INSTALMENTS"]),
        ("25% deposit, 75% on completion", ["INSTALMENTS"]),
        ("VAT at 20% and 5%", []),
    ],
)
def test_a_remark_is_a_doubt_only_where_it_takes_something_away(text: str, doubts: list[str]) -> None:
    assert doubts_about([text]) == doubts


# --- the rules

ADDED_UP: Final = {
    "BT-131": 110_000, "BT-106": 110_000, "BT-92": 20_000, "BT-107": 20_000, "BT-99": 10_000, "BT-108": 10_000,
    "BT-109": 100_000, "BT-117": 20_000, "BT-110": 20_000, "BT-112": 120_000, "BT-113": 50_000, "BT-114": 1,
    "BT-115": 70_001,
}  # fmt: skip


def test_the_rules_are_those_of_the_standard() -> None:
    assert [rule.id for rule in en16931.RULES] == [f"BR-CO-{number}" for number in range(10, 17)]
    assert all(rule.tolerance_pence == 0 for rule in en16931.RULES)
    assert en16931.broken(ADDED_UP, complete=True) == []


@pytest.mark.parametrize("rule", en16931.RULES, ids=lambda rule: rule.id)
def test_each_rule_is_broken_by_a_penny_in_any_of_its_amounts(rule: en16931.Rule) -> None:
    for term in (rule.whole, *rule.plus, *rule.minus):
        for penny in (-1, 1):
            assert rule.doubt in en16931.broken(ADDED_UP | {term: ADDED_UP[term] + penny}, complete=True), term


@pytest.mark.parametrize("term", ADDED_UP)
def test_an_amount_that_is_missing_is_nought_or_a_doubt_as_the_standard_has_it(term: str) -> None:
    found = en16931.broken({name: value for name, value in ADDED_UP.items() if name != term}, complete=True)
    if term == "BT-117":
        assert found == []
    elif term in en16931.ABSENT_IS_NOUGHT:
        assert found
        assert not any(each.startswith("SUM_LACKS") for each in found)
    else:
        assert found == [f"SUM_LACKS:{term}"]


def test_a_page_is_held_to_what_it_prints() -> None:
    printed = {"BT-109": 100_000, "BT-110": 20_000, "BT-112": 120_000}
    assert en16931.broken(printed, complete=False) == []
    assert en16931.broken(printed | {"BT-110": 0}, complete=False) == ["TOTALS_DO_NOT_ADD_UP"]


# --- the list


def unlisted(sources: str, listed: str) -> list[str]:
    """Doubts that a source raises and the document does not explain."""
    raised = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)(?=[":])', sources))
    return sorted(code for code in raised if f"| `{code}" not in listed)


def test_every_doubt_that_a_reader_raises_is_explained() -> None:
    root = Path(__file__).resolve().parents[2]
    folder = root / "src/fintokenx/adapters/documents"
    sources = "\n".join(
        path.read_text() for path in folder.glob("*.py") if path.name not in ("isolated.py", "worker.py")
    )
    listed = (root / "docs/doubts.md").read_text()
    assert unlisted(sources, listed) == []
    assert unlisted('"PAYEE_IS_NOT_SELLER", f"AMBIGUOUS_TOO:{name}"', listed) == ["AMBIGUOUS_TOO"]
