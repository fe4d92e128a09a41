"""Canonical JSON (RFC 8785): frozen vectors, and nothing without an exact spelling."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.kernel.canonical import canonical_json, plain
from fintokenx.kernel.clock import from_wire, to_wire
from fintokenx.kernel.money import Pence


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": 2}, b'{"a":2,"b":1}'),
        # RFC 8785 §3.2.3: keys are ordered by UTF-16 code units, so U+1F600 (a surrogate pair) precedes U+FB33.
        (
            {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7},
            '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}'.encode(),
        ),
        ('€$\u000f\nA\'B"\\"/', b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\"/"'),
        ("\b\t\n\f\r\x00\x1f\x7f\u2028", b'"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\xe2\x80\xa8"'),
        ([None, True, False, 0, -1], b"[null,true,false,0,-1]"),
        (2**53 - 1, b"9007199254740991"),
        (Pence(12_345), b"12345"),
        (b"\x00\xff", b'"\\\\x00ff"'),
        (Colour.RED, b'"red"'),
        (datetime(2026, 6, 2, 9, 0, 0, 7, UTC), b'"2026-06-02T09:00:00.000007Z"'),
        (datetime(2026, 6, 2, 10, tzinfo=timezone(timedelta(hours=1))), b'"2026-06-02T09:00:00.000000Z"'),
        (date(2026, 6, 2), b'"2026-06-02"'),
        ((1, [Pence(2)], {"x": (3,)}), b'[1,[2],{"x":[3]}]'),
    ],
)
def test_the_frozen_spellings_hold(value: Any, expected: bytes) -> None:
    assert canonical_json(value) == expected


@pytest.mark.parametrize("value", [1.5, 1.0, {1, 2}, object(), 1 + 2j])
def test_what_has_no_exact_spelling_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no canonical spelling"):
        plain({"deep": [value]})


def test_an_integer_beyond_the_exact_range_is_refused() -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_json(2**53)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_canonical_bytes_read_back_as_the_same_value(value: Any) -> None:
    written = canonical_json(value)
    assert json.loads(written) == value
    assert canonical_json(json.loads(written)) == written


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda at: at.year >= 1970))
def test_instants_survive_the_wire(at: datetime) -> None:
    assert from_wire(to_wire(at)) == at
    assert len(to_wire(at)) == 27


def test_a_timestamp_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        from_wire("2026-06-02T09:00:00")
