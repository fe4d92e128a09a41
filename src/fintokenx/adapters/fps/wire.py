"""How money and text look in ClearBank's JSON. Amounts there are JSON decimals, so they are never parsed as floats."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final

from fintokenx.kernel.money import PENCE_MAX, Pence

_DECIMAL: Final = re.compile(r"(\d{1,14})(?:\.(\d{1,5}))?", re.ASCII)
_OUTSIDE_THE_CHARSET: Final = re.compile(r"[^a-zA-Z0-9/\-?:().,'+ #=!\"%&*;{@]")


class Number(str):
    """A JSON number in the digits in which it was written."""

    __slots__ = ()


def number_from_pence(amount: Pence) -> Number:
    """Pounds with two decimals: 123456 pence are ``1234.56``. :raises ValueError: a negative amount"""
    if amount.value < 0:
        raise ValueError("a payment has no sign")
    pounds, pence = divmod(amount.value, 100)
    return Number(f"{pounds}.{pence:02d}")


def pence_from_number(value: Any) -> Pence:
    """Read a JSON number of pounds. :raises ValueError: not a plain non-negative number of whole pence"""
    if type(value) is not int and not isinstance(value, Number):
        raise ValueError("an amount must be a JSON number")
    match = _DECIMAL.fullmatch(str(value))
    if match is None:
        raise ValueError("an amount must be plain digits")
    fraction = (match[2] or "").ljust(2, "0")
    if fraction[2:].strip("0"):
        raise ValueError("an amount must be whole pence")
    pence = int(match[1]) * 100 + int(fraction[:2])
    if pence > PENCE_MAX:
        raise ValueError("an amount must be recordable")
    return Pence(pence)


def read_json(body: bytes) -> Any:
    """Parse JSON with decimals as :class:`Number`. :raises ValueError: not JSON, or nested beyond reason"""
    try:
        return json.loads(body, parse_float=Number, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def write_json(value: Any) -> str:
    """JSON text in which every :class:`Number` stands as it is; ``json.dumps`` can only write floats."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{write_json(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write_json(item) for item in value) + "]"
    return json.dumps(value)


def in_scheme_charset(text: str, *, length_max: int) -> str:
    """The text in the characters that the scheme carries: accents dropped, anything else a space."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    straight = plain.replace("’", "'").replace("–", "-")
    return " ".join(_OUTSIDE_THE_CHARSET.sub(" ", straight).split())[:length_max].rstrip()
