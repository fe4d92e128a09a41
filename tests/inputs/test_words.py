"""The words in which routes say what they take, and that no route takes anything else (issue 9: A6, A12, A13)."""

from __future__ import annotations

import unicodedata
from datetime import date
from typing import Annotated, Any

import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fintokenx.web.inputs import (
    BIGINT_MAX,
    IsoDate,
    IsoInstant,
    OneOf,
    Position,
    PrintableText,
    email_address,
    printable,
)
from tests.inputs.document import document_of, untyped


class Careless(BaseModel):
    """Takes what it gets."""

    name: str
    count: int
    many: list[Annotated[int, Field(ge=0, le=9)]]
    anything: dict[str, Any]


class Careful(BaseModel):
    """Says what it takes."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, PrintableText(20)] | None = None
    day: IsoDate
    state: Annotated[str, OneOf(("OPEN", "CLOSED"))] = "OPEN"


def test_every_parameter_and_body_field_of_every_route_is_bounded_and_typed() -> None:
    assert untyped(document_of()) == []


def test_a_careless_route_is_named_place_by_place() -> None:
    """The twin: a route of tomorrow that forgets."""
    router = APIRouter()

    @router.post("/v1/careless/{thing}")
    async def careless(thing: str, body: Careless, after: int = 0, q: Annotated[str, Field(max_length=9)] = "") -> None:
        """Forgets everything."""

    @router.post("/v1/careful")
    async def careful(body: Careful, after: Position = 0) -> None:
        """Forgets nothing."""

    places = {
        fault.partition(": ")[0].removeprefix("POST /v1/careless/{thing} ") for fault in untyped(document_of(router))
    }
    assert places == {
        "path.thing", "query.after", "query.q", "body", "body.name", "body.count", "body.many", "body.anything",
    }  # fmt: skip


# ── Text ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "\u00a0", "\u2003\u3000", "\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u3164", "\u2800",
        "\u0301",
        "Acme\x00", "Acme\tLtd", "Acme\nLtd", "Acme\x1b[2J", "Acme\x7f", "Acme\x85", "Acme\u2028Ltd", "Acme\u2029Ltd",
        "\u202emca", "\u2066Acme\u2069", "Acme\u200e", "Acme\u200b", "\ufffeAcme", "Acme\uffff", "Acme\U0001fffe",
        "Acme\ufdd0", "Acme\ue000", "Acme\ud800", "Acme\U000e0041",
    ],
    ids=ascii,
)  # fmt: skip
def test_text_that_shows_nothing_or_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"printable|nothing to read"):
        printable(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Acme & Sons’ (UK) Ltd.", "Acme & Sons’ (UK) Ltd."),
        ("  Acme Ltd ", "Acme Ltd"),
        ("Acme\u00a0Ltd", "Acme Ltd"),
        ("Zoe\u0308", "Zoë"),
        ("Œuvre — 株式会社 مرحبا", "Œuvre — 株式会社 مرحبا"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🔧", "👩\u200d🔧"),
    ],
)
def test_what_people_write_is_kept_in_one_spelling(text: str, kept: str) -> None:
    assert printable(text) == kept


def test_longer_text_keeps_its_lines_and_no_other_control() -> None:
    assert printable("One.\r\nTwo.\rThree.", lines=True) == "One.\nTwo.\nThree."
    with pytest.raises(ValueError, match="U\\+0009"):
        printable("One.\tTwo.", lines=True)


@given(st.text())
def test_what_is_kept_is_kept_again_and_holds_nothing_unseen(text: str) -> None:
    try:
        kept = printable(text)
    except ValueError:
        return
    assert printable(kept) == kept
    assert {unicodedata.category(c) for c in kept} & {"Cc", "Cs", "Co", "Zl", "Zp"} == set()
    assert kept == kept.strip() != ""


@pytest.mark.parametrize("text", ["x" * 6, "\ufb2c" * 5, 5, None, "\ud800"])
def test_text_has_its_length_before_and_after(text: Any) -> None:
    """U+FB2C is three characters in NFC."""
    taken = TypeAdapter(Annotated[str, PrintableText(5)])
    assert taken.validate_python(" ab ") == "ab"
    with pytest.raises(ValidationError):
        taken.validate_python(text)


# ── Numbers, dates, words ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_place_is_within_a_bigint() -> None:
    taken = TypeAdapter(Position)
    assert taken.validate_python(str(BIGINT_MAX)) == BIGINT_MAX
    for number in (BIGINT_MAX + 1, "9223372036854775808", -1):
        with pytest.raises(ValidationError):
            taken.validate_python(number)


@pytest.mark.parametrize(
    "given",
    [
        1822262400, "1822262400", 1822262400.0, "2026-06-01T00:00:00", "2026-06-01T00:00:00Z", "2026-6-1", "20260601",
        "2026-W23-1", "2026-152", " 2026-06-01", "2026-06-01\n", "٢٠٢٦-٠٦-٠١", "2026-02-30", "0001-01-01", "9999-12-31",
        "", None, True, ["2026-06-01"],
    ],
)  # fmt: skip
def test_a_date_is_an_iso_calendar_date_and_nothing_else(given: Any) -> None:
    """A13."""
    taken = TypeAdapter(IsoDate)
    assert taken.validate_python("2026-06-01") == date(2026, 6, 1)
    with pytest.raises(ValidationError):
        taken.validate_python(given)


@pytest.mark.parametrize(
    "given",
    [
        1822262400,
        "1822262400",
        "2026-06-01",
        "2026-06-01T09:00:00",
        "0001-01-01T00:00:00+14:00",
        "2026-06-01T25:00:00Z",
    ],
)
def test_a_moment_has_its_offset(given: Any) -> None:
    """A13: the sandbox's clock went to wherever a number said."""
    taken = TypeAdapter(IsoInstant)
    assert taken.validate_python("2026-06-01T10:00:00+01:00").isoformat() == "2026-06-01T09:00:00+00:00"
    with pytest.raises(ValidationError):
        taken.validate_python(given)


def test_a_word_that_is_none_is_told_which_there_are() -> None:
    """A17: `?state=NOPE`."""
    with pytest.raises(ValidationError, match="'OPEN' or 'CLOSED'"):
        TypeAdapter(Annotated[str, OneOf(("OPEN", "CLOSED"))]).validate_python("NOPE")


# ── Addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "mlro@tnt_x.example", "a,b@x.example", "<a@x.example>", "Ada <a@x.example>", "a@x.example,b@x.example",
        "a@x.example;b@x.example", "a b@x.example", '"a b"@x.example', "a@[203.0.113.7]", "a@x", "a@localhost",
        "a..b@x.example", ".a@x.example", "a@.example", "a@x..example", "a@-x.example", "a@x.example\n",
        "\ufeffa@x.example",
        "a@x.example\x00", "a\u202e@x.example", "ü@x.example", "x" * 65 + "@x.example", "a@" + "b" * 64 + ".example",
        "a@" + "b." * 130 + "example", "@x.example", "a@", "", "a@x.invalid", "\ud800@x.example", "a@\ud800.example",
    ],
    ids=ascii,
)  # fmt: skip
def test_an_address_to_which_no_mail_can_be_sent_is_refused(text: str) -> None:
    """A12: such an address was taken, and its mail died in silence after two months of retries."""
    with pytest.raises(ValueError, match="e-mail address"):
        email_address(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("ada@acme.example", "ada@acme.example"),
        ("Ada.Byron+fx@Acme.Example", "Ada.Byron+fx@acme.example"),
        ("o'neil@x.co.uk", "o'neil@x.co.uk"),
        ("ada@sandbox.test", "ada@sandbox.test"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
    ],
)
def test_an_address_is_kept_as_mail_is_sent_to_it(text: str, kept: str) -> None:
    """A12."""
    assert email_address(text) == kept
