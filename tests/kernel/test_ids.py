"""Ids and references: unique, opaque, time-ordered, and of the published pattern (P-23, TK-06)."""

from __future__ import annotations

import os
import re
from datetime import timedelta

import pytest

from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.ids import (
    ID_PATTERN,
    INVOICE_REFERENCE_PATTERN,
    TOKEN_REFERENCE_PATTERN,
    Ids,
    invoice_reference,
    token_reference,
)
from tests.support import START

KEY = b"k" * 32
MANY = 100_000


def test_a_hundred_thousand_ids_of_one_instant_do_not_collide() -> None:
    ids = Ids(FixedClock(START), os.urandom)
    made = {ids.new("dis") for _ in range(MANY)}
    assert len(made) == MANY
    assert all(re.fullmatch(ID_PATTERN.strip("^$"), one) for one in list(made)[:1000])


def test_a_hundred_thousand_invoice_references_do_not_collide() -> None:
    made = {invoice_reference(number, KEY) for number in range(MANY)}
    assert len(made) == MANY
    assert all(re.fullmatch(INVOICE_REFERENCE_PATTERN, one) for one in made)
    assert max(map(len, made)) <= 18, "longer does not reach a payee through Faster Payments"


def test_a_hundred_thousand_token_references_do_not_collide() -> None:
    made = {token_reference(number, KEY) for number in range(MANY)}
    assert len(made) == MANY
    assert all(re.fullmatch(TOKEN_REFERENCE_PATTERN, one) for one in made)


@pytest.mark.parametrize("border", [1 << 24, (1 << 24) + (1 << 30)])
def test_token_references_grow_without_a_collision_at_the_border(border: int) -> None:
    made = [token_reference(number, KEY) for number in range(border - 200, border + 200)]
    assert len(set(made)) == 400
    assert len(made[0]) < len(made[-1])


def test_the_last_reference_is_refused_rather_than_reused() -> None:
    with pytest.raises(OverflowError, match="used up"):
        invoice_reference(1 << 34, KEY)


def test_references_do_not_count_aloud() -> None:
    """TI-06: neighbours differ in most places, and another key gives another order."""
    made = [invoice_reference(number, KEY) for number in range(100)]
    assert made != sorted(made)
    assert made != [invoice_reference(number, b"other" * 8) for number in range(100)]


def test_ids_sort_by_time() -> None:
    clock = FixedClock(START)
    ids = Ids(clock, os.urandom)
    made = []
    for step in range(500):
        clock.set(START + timedelta(milliseconds=step))
        made.append(ids.new("inv"))
    assert made == sorted(made)


def test_an_id_is_a_uuid_of_version_seven() -> None:
    """RFC 9562 §5.7: version and variant stand where they belong, whatever the random bits are."""
    for byte in (b"\x00", b"\xff"):
        text = Ids(FixedClock(START), byte.__mul__).new("x").removeprefix("x_").upper()
        number = 0
        for character in text:
            number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)
        assert number >> 76 & 0xF == 7
        assert number >> 62 & 0b11 == 0b10
        assert number >> 80 == int(START.timestamp() * 1000)


def test_codes_that_people_type_have_the_asked_length() -> None:
    ids = Ids(FixedClock(START), bytes)
    assert ids.digits(6) == "000000"
    assert re.fullmatch(r"[0-9]{6}", Ids(FixedClock(START), os.urandom).digits(6))
    assert len(Ids(FixedClock(START), os.urandom).secret("fxk")) == 4 + 64
