"""Values as UK invoices write them: dates, names, register and bank numbers. All pure.

Each parser returns None for what it does not fully understand; none of them guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE: Final = re.compile(
    rf"""(?ix)(?<![\w/.-])(?:
      (?P<iso>\d{{4}}-\d{{2}}-\d{{2}})
    | (?P<day>\d{{1,2}})\s*(?P<sep>[/.-])\s*(?P<month>\d{{1,2}})\s*(?P=sep)\s*(?P<year>\d{{4}}|\d{{2}})
    | (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?[\s\-/]*(?P<month2>{_MONTH})[\s,\-/']*(?P<year2>\d{{4}}|\d{{2}})
    | (?P<month3>{_MONTH})\s*(?P<day3>\d{{1,2}})(?:st|nd|rd|th)?(?:\s*,\s*|\s+)(?P<year3>\d{{4}})
    )(?![\w/-])"""
)
_IN_A_LIST: Final = re.compile(r"(?i)[\s,;&/()£\d.–-]*(?:and|then|plus|or)?[\s,;&/()£\d.–-]*")
_LIST_GAP_MAX: Final = 30
_WEEKDAY: Final = r"(?:(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?\.?,?\s+)?"

_VAT_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2)
_COMPANY_PREFIXES: Final = "OC|SO|NC|SC|NI|R0|AC|SA|NA|FC|SF|NF|LP|SL|NL|IP|SP|NP|RS|RC|SR|NR|CE|CS|GE|GS|GN|OE|ZC|SZ"
COMPANY_NUMBER: Final = rf"(?:(?:{_COMPANY_PREFIXES})\s?\d{{6}}|\d{{7,8}})"
"""Companies House numbers as printed: eight digits, seven without the leading nought, or prefix and six."""


_XSD_DATE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?")
_LEGAL_FORM: Final = re.compile(
    r"(?i)(?<!\w)(?:ltd|limited|plc|p\.\s?l\.\s?c|llp|l\.l\.p|lp|cic|c\.i\.c|cyf|cyfyngedig|ccc|inc|gmbh|bv|sarl)\.?\s*$"
)


def parse_xsd_date(text: str) -> date | None:
    """``2026-07-08``; an ``xsd:date`` may carry a zone (``Z``, ``+01:00``), which does not move the day."""
    match = _XSD_DATE.fullmatch(text)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def parse_cii_date(text: str) -> date | None:
    """``20260708``, which CII calls format 102; also with the dashes or the zone of an ``xsd:date``."""
    match = re.fullmatch(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(Z|[+-][0-9]{2}:?[0-9]{2})?", text)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def parse_date(text: str) -> date | None:
    """The date that ``text`` starts with (a weekday may precede it), day first, as the UK writes it.

    ``04/14/2026`` has no fourteenth month, so it is no date here rather than an American one.
    """
    weekday = re.match(_WEEKDAY, text, re.IGNORECASE)
    match = _DATE.match(text, weekday.end() if weekday else 0)
    return _date(match) if match else None


def parse_dates(text: str) -> frozenset[date] | None:
    """The date that ``text`` starts with, and those listed behind it."""
    first = parse_date(text)
    if first is None:
        return None
    found, end = {first}, 0
    for match in _DATE.finditer(text):
        if end and not (match.start() - end < _LIST_GAP_MAX and _IN_A_LIST.fullmatch(text[end : match.start()])):
            break
        end = match.end()
        if each := _date(match):
            found.add(each)
    return frozenset(found)


def find_dates(text: str) -> list[date]:
    """Every date in running text."""
    return [found for match in _DATE.finditer(text) if (found := _date(match))]


def _date(match: re.Match[str]) -> date | None:
    try:
        if match["iso"]:
            return date.fromisoformat(match["iso"])
        if match["month"]:
            return date(_year(match["year"]), int(match["month"]), int(match["day"]))
        name = (match["month2"] or match["month3"])[:3].lower()
        year = _year(match["year2"] or match["year3"])
        return date(year, _MONTHS.index(name) + 1, int(match["day2"] or match["day3"]))
    except ValueError:
        return None


def _year(digits: str) -> int:
    return int(digits) + (2000 if len(digits) == 2 else 0)


def normalise_vat(text: str) -> str | None:
    """``GB`` + nine digits if the check digits hold (HMRC's mod 97, old and 9755 series), else None."""
    digits = re.sub(r"\D", "", text.upper().removeprefix("GB"))
    if len(digits) != 9:
        return None
    check = sum(int(digit) * weight for digit, weight in zip(digits, _VAT_WEIGHTS, strict=False)) + int(digits[7:])
    return f"GB{digits}" if check % 97 == 0 or (check + 55) % 97 == 0 else None


def normalise_company_number(text: str) -> str | None:
    """Eight characters, upper case; seven digits get back the leading nought that letterheads drop."""
    number = re.sub(r"\s", "", text).upper()
    if not re.fullmatch(COMPANY_NUMBER.replace(r"\s?", ""), number):
        return None
    return number.zfill(8)


def bank_details_of_iban(iban: str) -> tuple[str, str] | None:
    """Sort code (six digits) and account number (eight) of a valid UK IBAN (ISO 13616, mod 97), else None."""
    compact = re.sub(r"\s", "", iban).upper()
    if not re.fullmatch(r"GB\d{2}[A-Z]{4}\d{14}", compact):
        return None
    if int("".join(str(int(each, 36)) for each in compact[4:] + compact[:4])) % 97 != 1:
        return None
    return compact[8:14], compact[14:]


def same_name(one: str, other: str) -> bool:
    """Whether two spellings name one company: case, spaces, punctuation and Ltd/Limited do not count."""
    return name_key(one) == name_key(other)


def name_key(name: str) -> str:
    """A form in which spellings of one company name are equal."""
    words = re.sub(r"[^\w ]", "", name.casefold().replace("&", " and ")).split()
    short = {"limited": "ltd", "the": "", "company": "co"}
    return " ".join(filter(None, (short.get(word, word) for word in words)))


def is_payee(payee: str, seller: Iterable[str]) -> bool:
    """Whether an account in this name is the seller's: one of its names, its legal form left out perhaps.

    A bank's form of the name may lack "Limited"; "Ltd" for "plc" is another company.
    """
    named = [*seller]
    if _LEGAL_FORM.search(payee):
        return any(same_name(payee, name) for name in named)
    return any(name_key(payee) in (name_key(name), name_key(_LEGAL_FORM.sub("", name))) for name in named)


def is_company(name: str) -> bool:
    """Whether the name ends in a legal form, so that it can only be that company's."""
    return bool(_LEGAL_FORM.search(name))
