"""Dates, amounts, terms and identifiers on paper: exact or absent."""

from __future__ import annotations

from datetime import date

import pytest

from fintokenx.adapters.documents.amounts import find_amounts
from fintokenx.adapters.documents.terms import Terms, parse_terms
from fintokenx.adapters.documents.values import (
    bank_details_of_iban,
    normalise_company_number,
    normalise_vat,
    parse_date,
)

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
