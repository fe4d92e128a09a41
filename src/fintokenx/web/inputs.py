"""The words in which routes say what they take: bounded whole numbers, printable text, ids, dates, addresses.

A route that takes a bare ``str``, ``int`` or ``date`` is found by tests/inputs/test_words.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

BIGINT_MAX: Final = 2**63 - 1
"""What a ``bigint`` of the database holds."""
PAGE_MAX: Final = 200
EMAIL_LENGTH_MAX: Final = 254
"""RFC 5321: a path has 256 characters, two of them brackets."""
PRINTABLE: Final = "printable-text"
"""The ``format`` by which OpenAPI names the rule of :func:`printable`."""
EARLIEST: Final = date(1900, 1, 1)
LATEST: Final = date(2199, 12, 31)
"""Far from where adding days to a date ends."""

_JOINERS: Final = frozenset("\u200c\u200d")
"""Persian, Indic scripts and emoji are written with them; the one kind of invisible character that text needs."""
_LOOKS_EMPTY: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols by category that show nothing: Hangul fillers, the blank Braille pattern."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def printable(text: str, *, lines: bool = False) -> str:
    """The text as it is kept: NFC (UAX #15), every kind of space as a plain one, none at the ends.

    Refused are text with nothing to see in it, and characters that nobody sees or that make others see something else:
    control, formatting (zero-width, direction marks, overrides and isolates; but the joiners U+200C and U+200D are
    taken), private use, unpaired surrogates, line and paragraph separators, and non-characters. With ``lines`` line
    breaks are kept, each as U+000A.

    :raises ValueError: which character stands where, never the text
    """
    if lines:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for place, character in enumerate(text):
        if not _is_taken(character) and not (lines and character == "\n"):
            raise ValueError(f"the character U+{ord(character):04X} at place {place} is not printable")
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
    kept = unicodedata.normalize("NFC", spaced).strip()
    if not any(unicodedata.category(c)[0] in "LNPS" and c not in _LOOKS_EMPTY for c in kept):
        raise ValueError("there is nothing to read in it")
    return kept


def _is_taken(character: str) -> bool:
    code = ord(character)
    if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:
        return False
    return unicodedata.category(character) not in _UNSEEN or character in _JOINERS


@dataclass(frozen=True, slots=True)
class PrintableText:
    """Text under the rule of :func:`printable`, of ``length_min`` to ``length_max`` characters as sent and as kept."""

    length_max: int
    length_min: int = 1
    lines: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """For pydantic."""
        return core_schema.no_info_after_validator_function(
            self._kept, core_schema.str_schema(min_length=self.length_min, max_length=self.length_max)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For OpenAPI."""
        return {**handler(schema), "format": PRINTABLE}

    def _kept(self, text: str) -> str:
        kept: str = _named(lambda: printable(text, lines=self.lines))
        if not self.length_min <= len(kept) <= self.length_max:  # NFC and stripping change the length
            bounds = {"least": self.length_min, "most": self.length_max}
            raise PydanticCustomError("text_length", "{least} to {most} characters", bounds)
        return kept


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words, such as the states of a machine. The refusal names them all."""

    words: tuple[str, ...]

    @classmethod
    def states(cls, words: Iterable[str]) -> OneOf:
        """Any of these states."""
        return cls(tuple(words))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """For pydantic."""
        return core_schema.literal_schema(list(self.words))


def email_address(text: str) -> str:
    """One address that a mail can be sent to, as it is kept: the domain in lower case and ASCII (RFC 5890).

    No display name, quotes, brackets, list or address literal. Whether the domain exists is not asked; ``.example``
    and ``.test`` (RFC 2606) are taken, since the sandbox's people live there.

    :raises ValueError: what is wrong with it
    """
    from email_validator import EmailNotValidError, validate_email  # only where an address comes in

    if len(text) > EMAIL_LENGTH_MAX:
        raise ValueError(f"an e-mail address has at most {EMAIL_LENGTH_MAX} characters")
    try:
        found = validate_email(
            text, allow_smtputf8=False, allow_quoted_local=False, allow_domain_literal=False, allow_display_name=False,
            strict=True, check_deliverability=False, test_environment=True,
        )  # fmt: skip
    except (EmailNotValidError, UnicodeError) as fault:
        raise ValueError("that is not an e-mail address to which a mail can be sent") from fault
    if found.ascii_email is None:
        raise ValueError("that is not an e-mail address to which a mail can be sent")
    return found.ascii_email


def iso_date(text: Any) -> date:
    """A calendar date as ISO 8601 writes it, YYYY-MM-DD, and nothing else, between :data:`EARLIEST` and :data:`LATEST`.

    :raises ValueError: anything else
    """
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("a date is written YYYY-MM-DD")
    found = date.fromisoformat(text)
    if not EARLIEST <= found <= LATEST:
        raise ValueError(f"a date lies between {EARLIEST} and {LATEST}")
    return found


def iso_instant(text: Any) -> datetime:
    """A moment as RFC 3339 writes it, with its offset, and nothing else; in UTC. :raises ValueError: anything else"""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError("a moment is written YYYY-MM-DDTHH:MM:SS with Z or an offset")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as fault:
        raise ValueError("there is no such moment") from fault


_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _named(read: Any) -> Any:
    """What is wrong, in our words, and without pydantic's echo of the value."""
    try:
        return read()
    except ValueError as fault:
        raise PydanticCustomError("value_refused", "{why}", {"why": str(fault)}) from None


def _date(value: Any) -> date:
    return value if type(value) is date else _named(lambda: iso_date(value))


def _instant(value: Any) -> datetime:
    return value if isinstance(value, datetime) else _named(lambda: iso_instant(value))


def _email(value: Any) -> Any:
    return _named(lambda: email_address(value)) if isinstance(value, str) else value


_EMAIL_SCHEMA: Final = {"type": "string", "format": "email", "minLength": 3, "maxLength": EMAIL_LENGTH_MAX}

IsoDate = Annotated[
    date,
    BeforeValidator(_date, json_schema_input_type=str),
    Field(json_schema_extra={"type": "string", "format": "date"}),
]
IsoInstant = Annotated[
    datetime,
    BeforeValidator(_instant, json_schema_input_type=str),
    Field(json_schema_extra={"type": "string", "format": "date-time"}),
]
EmailAddress = Annotated[
    str, BeforeValidator(_email), Field(json_schema_extra=_EMAIL_SCHEMA, examples=["ada@example.co.uk"])
]
PageSize = Annotated[int, Field(ge=1, le=PAGE_MAX, description="How many at most.")]
Position = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
"""A place in something that is counted, such as a trail."""
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", min_length=1, max_length=64)]
"""An id or reference in a path or as a cursor: whatever has the shape of one may be asked for."""
Cursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$", max_length=64)]
"""The ``next`` of the page before; empty for the first page."""
SubjectId = Annotated[str, Field(pattern=r"^sub_[0-9a-z]{26}$", examples=["sub_01jwrs8s50e9rbkszzv4yve5jt"])]
TenantId = Annotated[str, Field(pattern=r"^tnt_[a-z0-9_]{1,40}$", examples=["tnt_mercia"])]
CompanyNumber = Annotated[str, Field(pattern=r"^[0-9A-Z]{8}$", examples=["19004172"])]
Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
