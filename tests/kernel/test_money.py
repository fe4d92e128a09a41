"""Money is whole pence, parts add up to the whole, and nothing else gets in at the edge (P-08, P-09)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from fintokenx.kernel.money import (
    PENCE_MAX,
    ZERO,
    Pence,
    annual_discount,
    flat_discount,
    total,
)

amounts = st.integers(min_value=0, max_value=PENCE_MAX).map(Pence)
weights = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=40).filter(any)
basis_points = st.integers(min_value=0, max_value=10_000)


class Offer(BaseModel):
    """What a route takes."""

    price_pence: Pence


@given(amounts, weights)
def test_the_parts_add_up_to_the_whole(whole: Pence, shares: list[int]) -> None:
    parts = whole.share_between(shares)
    assert total(parts) == whole
    assert len(parts) == len(shares)


@given(amounts, weights)
def test_each_part_is_its_exact_share_rounded_down_or_up(whole: Pence, shares: list[int]) -> None:
    for part, weight in zip(whole.share_between(shares), shares, strict=True):
        exact = Fraction(whole.value * weight, sum(shares))
        assert exact - 1 < part.value < exact + 1


@given(amounts, weights)
def test_odd_pennies_go_to_the_largest_remainders_and_ties_to_the_lowest_index(whole: Pence, shares: list[int]) -> None:
    """The written rule, computed a second way with exact fractions (decisions §5)."""
    exact = [Fraction(whole.value * weight, sum(shares)) for weight in shares]
    expected = [int(share) for share in exact]
    for _ in range(whole.value - sum(expected)):
        left = [share - given_so_far for share, given_so_far in zip(exact, expected, strict=True)]
        expected[left.index(max(left))] += 1
    assert [part.value for part in whole.share_between(shares)] == expected


@pytest.mark.parametrize("shares", [[], [0, 0], [1, -1], [-1]])
def test_weights_that_split_nothing_are_refused(shares: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Pence(100).share_between(shares)


@given(st.integers(min_value=0, max_value=PENCE_MAX // 10_000).map(Pence), basis_points)
def test_a_flat_discount_is_the_exact_share_rounded_up_to_a_penny(face: Pence, rate: int) -> None:
    exact = Fraction(face.value * rate, 10_000)
    assert exact <= flat_discount(face, rate).value < exact + 1
    assert flat_discount(face, rate) + (face - flat_discount(face, rate)) == face


@given(st.integers(min_value=0, max_value=10**11).map(Pence), basis_points, st.integers(min_value=0, max_value=3650))
def test_an_annual_discount_is_the_exact_share_rounded_up_to_a_penny(face: Pence, rate: int, days: int) -> None:
    exact = Fraction(face.value * rate * days, 10_000 * 365)
    assert exact <= annual_discount(face, rate, days).value < exact + 1


@pytest.mark.parametrize(
    ("face", "rate", "days", "flat", "annual"),
    [
        (1_000_000, 150, 60, 15_000, 2_466),
        (1, 1, 1, 1, 1),
        (0, 5000, 30, 0, 0),
        (999_999, 333, 365, 33_300, 33_300),
        (12_345_678, 275, 45, 339_507, 41_857),
        (10_000, 1, 365, 1, 1),
    ],
)
def test_the_published_vectors_of_discounts_hold(face: int, rate: int, days: int, flat: int, annual: int) -> None:
    assert flat_discount(Pence(face), rate) == Pence(flat)
    assert annual_discount(Pence(face), rate, days) == Pence(annual)


@pytest.mark.parametrize(
    ("whole", "shares", "parts"),
    [(100, [1, 1, 1], [34, 33, 33]), (101, [1, 1, 1], [34, 34, 33]), (5, [3, 3], [3, 2]), (1, [0, 1], [0, 1])],
)
def test_the_published_vectors_of_splits_hold(whole: int, shares: list[int], parts: list[int]) -> None:
    assert Pence(whole).share_between(shares) == [Pence(part) for part in parts]


@given(st.integers(min_value=-PENCE_MAX, max_value=PENCE_MAX))
def test_whole_pence_survive_the_edge_unchanged(value: int) -> None:
    offer = Offer.model_validate_json(f'{{"price_pence": {value}}}')
    assert offer.price_pence == Pence(value)
    assert offer.model_dump_json() == f'{{"price_pence":{value}}}'


@pytest.mark.parametrize(
    "written",
    [
        "12.5",
        '"12.50"',
        '"12"',
        "1e3",
        "1.0",
        "true",
        "false",
        "null",
        "9223372036854775808",
        "-9007199254740992",
        "9007199254740992",
        "NaN",
        "[1]",
        "{}",
        '""',
    ],
)
def test_nothing_but_a_whole_json_integer_is_an_amount(written: str) -> None:
    with pytest.raises(ValidationError):
        Offer.model_validate_json(f'{{"price_pence": {written}}}')


@pytest.mark.parametrize("value", [1.0, True, "1", Decimal(1), None])
def test_nothing_but_an_int_becomes_pence_in_code(value: Any) -> None:
    with pytest.raises(TypeError, match="whole integers"):
        Pence(value)


def test_a_sum_beyond_what_can_be_recorded_exactly_is_refused() -> None:
    with pytest.raises(ValueError, match="recorded exactly"):
        Pence(PENCE_MAX) + Pence(1)


def test_pence_have_no_division() -> None:
    """P-08: a quotient would need a rounding rule; share_between is the one that is written down."""
    for operator in ("__truediv__", "__floordiv__", "__mul__", "__float__", "__int__"):
        assert not hasattr(Pence, operator)


def test_money_is_shown_in_pounds() -> None:
    assert [str(Pence(v)) for v in (0, 5, 123_456_789, -150)] == ["£0.00", "£0.05", "£1,234,567.89", "-£1.50"]
    assert not ZERO
