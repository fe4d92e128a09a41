"""Sums of money as documents write them, read whole or not at all: the tail of a number is not a number.

A run of digits and separators is taken as one thing. What is not fully understood gives no amount, neither
its beginning nor its end: ``1 234.56`` is one thousand two hundred, or nothing, never 234.56.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fintokenx.kernel.money import PENCE_MAX, Pence

_APOSTROPHES: Final = "'’‘ʼ′`´"
_NO_WIDTH: Final = "\u00ad\u200b-\u200f\u2060\ufeff"
_RUN: Final = re.compile(rf"\d(?:[\d.,·{_APOSTROPHES}\s{_NO_WIDTH}]*\d)?")
"""Everything that may be one number. Matches greedily and always, so a long text is read once."""
_NEXT_AMOUNT: Final = re.compile(r"(?<=[.·]\d\d)\s+")
"""Behind the pence and a space another number begins."""
_HEAD: Final = re.compile(
    rf"""(?ix)(?<![\w.,/£$€{_APOSTROPHES}·-])(?<!\d[:;^"−–])
      (?P<minus>[-−–(])?(?P<code>GBP|EUR|USD|CHF|£|€|\$)?\s?(?P<minus2>[-−]\s?)?$"""
)
_FOOT: Final = re.compile(
    r"""(?ix)(?!\s*%|\s*(?:k|m|bn|mn|thousand|million|billion)\b)
      (?:\s?(?P<code>GBP|EUR|USD|CHF|€)(?!\w))?(?P<minus>\)|\s?CR\b|-(?!\w))?(?!\w)"""
)
_OPEN_END: Final = re.compile(rf"[,·/{_APOSTROPHES}]|[-−–]\s?\d|[^\w\s]\d")
"""What behind a number without pence says that the number may go on."""
_NUMBER: Final = re.compile(
    r"""(?x)(?:(?P<pounds>0|[1-9]\d{0,11}|[1-9]\d{0,2}(?P<by>[,' ])\d{3}(?:(?P=by)\d{3})*)(?:[.·](?P<pence>\d\d))?
      |(?P<continental>[1-9]\d{0,2}(?P<of>[.' ])\d{3}(?:(?P=of)\d{3})*),(?P<cents>\d\d))"""
)
_DRESS: Final = re.compile(r"(?i)[\s£€$():.−–-]|GBP|EUR|USD|CHF|\bCR\b")
_CURRENCIES: Final = {"£": "GBP", "€": "EUR", "$": "USD"}
_ALONE_MAX: Final = 60
_REACH: Final = 14
"""How many characters around a run can belong to it."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What stands on the paper: exact pence, and the currency where a sign or code says it."""

    pence: int
    currency: str | None

    @property
    def money(self) -> Pence:
        """The amount, whatever its currency: check that first."""
        return Pence(self.pence)


def find_amounts(text: str) -> list[Amount]:
    """Sterling and foreign amounts: with two decimals, or whole where a currency sign says that it is money.

    Thousands may be grouped by commas, apostrophes, or any kind of space behind a currency sign.
    """
    return [amount for _, amount in amounts_in(text)]


def amounts_in(text: str) -> Iterator[tuple[int, Amount]]:
    """The amounts, each with where its digits start."""
    for run in _RUN.finditer(text):
        head = _HEAD.search(text[max(0, run.start() - _REACH) : run.start()])
        foot = _FOOT.match(text[run.end() : run.end() + _REACH])
        if head and foot:
            yield from _amounts_of(text, run, head, foot)


def _amounts_of(
    text: str, run: re.Match[str], head: re.Match[str], foot: re.Match[str]
) -> Iterator[tuple[int, Amount]]:
    starts = [0, *(gap.end() for gap in _NEXT_AMOUNT.finditer(run.group()))]
    pieces = [run.group()[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
    numbers = [_NUMBER.fullmatch(_plain(piece)) for piece in pieces]
    alone = len(pieces) == 1 and len(text) < _ALONE_MAX and not _DRESS.sub("", text[: run.start()] + text[run.end() :])
    for index, (start, number) in enumerate(zip(starts, numbers, strict=True)):
        first, last = index == 0, index == len(pieces) - 1
        before, after = (head["code"] if first else None), (foot["code"] if last else None)
        if number is None or (" " in number.group() and not (before or alone)):
            return
        pounds, pence = number["pounds"] or number["continental"], number["pence"] or number["cents"]
        code = before or after
        if pence is None and (code is None or _OPEN_END.match(text[run.end() :])):
            continue
        value = int(re.sub(r"\D", "", pounds)) * 100 + int(pence or 0)
        negative = _is_negative(
            head["minus"] if first else None, head["minus2"] if first else None, foot["minus"] if last else None
        )
        if value <= PENCE_MAX:
            currency = _CURRENCIES.get(code, code.upper()) if code else None
            yield run.start() + start, Amount(-value if negative else value, currency)


def _plain(piece: str) -> str:
    """One kind of space and of apostrophe, and nothing that cannot be seen."""
    seen = re.sub(f"[{_NO_WIDTH}]", "", piece)
    return re.sub(rf"[{_APOSTROPHES}]", "'", re.sub(r"\s+", " ", seen))


def _is_negative(before: str | None, between: str | None, after: str | None) -> bool:
    """``-£5.00``, ``£-5.00``, ``£5.00-``, ``£5.00 CR`` and the bookkeeper's ``(£5.00)``."""
    if before == "(":
        return after == ")"
    return bool(before or between or (after and after != ")"))


_GOES_ON: Final = re.compile(rf"\s*(?:[.,·{_APOSTROPHES}]\s?\d|\d{{3}}(?!\d)|\d\d$)")
_UNFINISHED: Final = re.compile(
    rf"(?P<sign>(?:[£€$]|GBP)\s?)?(?<![\d.,{_APOSTROPHES}])\d{{1,3}}(?:[.,\s{_APOSTROPHES}]\d{{3}})*[.,·{_APOSTROPHES}]?$"
)


def is_cut(text: str, following: str, *, signed: bool) -> bool:
    """Whether a number at the end of one piece of text may go on in the next: ``£1`` and ``234.56``.

    ``signed``: only one that has a currency sign.
    """
    end = _UNFINISHED.search(text.rstrip()[-40:])
    return bool(end and (end["sign"] or not signed) and _GOES_ON.match(following))


def decimal_to_pence(text: str) -> int | None:
    """An ``xsd:decimal`` as exact pence; None if it is not whole pence or beyond what we record."""
    match = re.fullmatch(r"\s*([+-]?)(?=\.?[0-9])([0-9]{0,14})(?:\.([0-9]{0,2})0*)?\s*", text)
    if not match:
        return None
    pence = int(match[2] or 0) * 100 + int((match[3] or "").ljust(2, "0"))
    return None if pence > PENCE_MAX else -pence if match[1] == "-" else pence
