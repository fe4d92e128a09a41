"""Values as UK invoices write them: dates, sterling, terms, register and bank numbers. All pure.

Each parser returns None for what it does not fully understand; none of them guesses.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from fintokenx.kernel.money import PENCE_MAX, Pence

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
_WEEKDAY: Final = r"(?:(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?\.?,?\s+)?"

_AMOUNT: Final = re.compile(
    r"""(?ix)(?<![\w.,/£$€-])
      (?P<minus>[-−–(])?
      (?P<code>GBP|EUR|USD|CHF|£|€|\$)?\s?
      (?P<minus2>[-−]\s?)?
      (?P<pounds>\d{1,3}(?:,\d{3})+|\d{1,12})
      (?:\.(?P<pence>\d{2}))?
      (?![\d,]|\.\d|\s*%)
      (?:\s?(?P<code2>GBP|EUR|USD|CHF|€)\b|€)?
      (?P<minus3>\)|\s?CR\b|-(?!\w))?"""
)
_CURRENCIES: Final = {"£": "GBP", "€": "EUR", "$": "USD"}

_WORDS: Final = {"seven": 7, "ten": 10, "fourteen": 14, "thirty": 30, "sixty": 60, "ninety": 90}
_TERMS: Final = re.compile(
    r"(?i)(?<![\w.,/])(?P<days>\d{1,3}|seven|ten|fourteen|thirty|sixty|ninety)(?!\d)(?:\s*\(\d{1,3}\))?"
    r"\s*-?\s*(?P<unit>(?:calendar\s+)?days?\b['’]?)?"
)
_NET_BEFORE: Final = re.compile(r"(?i)\b(?:net|eom\s*\+?)\s*$")
_NET_AFTER: Final = re.compile(r"(?i)\s*net\b")
_EOM_BEFORE: Final = re.compile(r"(?i)\beom\s*\+?\s*$")
_SENTENCE_END: Final = re.compile(r"[.;](?:\s|$)")
_END_OF_MONTH: Final = re.compile(r"(?i)\b(?:e\.?o\.?m\b|end\s+of\s+(?:the\s+)?(?:\w+\s+)?month|month[\s-]end)")
_NOT_CALENDAR_DAYS: Final = re.compile(r"(?i)^\s*(?:working|business|banking)\b")

_VAT_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2)
_COMPANY_PREFIXES: Final = "OC|SO|NC|SC|NI|R0|AC|SA|NA|FC|SF|NF|LP|SL|NL|IP|SP|NP|RS|RC|SR|NR|CE|CS|GE|GS|GN|OE|ZC|SZ"
COMPANY_NUMBER: Final = rf"(?:(?:{_COMPANY_PREFIXES})\s?\d{{6}}|\d{{7,8}})"
"""Companies House numbers as printed: eight digits, seven without the leading nought, or prefix and six."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What stands on the paper: exact pence, and the currency where a sign or code says it."""

    pence: int
    currency: str | None

    @property
    def money(self) -> Pence:
        """The amount, whatever its currency: check that first."""
        return Pence(self.pence)


@dataclass(frozen=True, slots=True)
class Terms:
    """``days`` calendar days, counted from the end of the issue month where ``from_end_of_month``."""

    days: int
    from_end_of_month: bool

    def due(self, issued: date) -> date:
        """The day on which payment falls due."""
        start = issued.replace(day=monthrange(issued.year, issued.month)[1]) if self.from_end_of_month else issued
        return start + timedelta(days=self.days)


def parse_date(text: str) -> date | None:
    """The date that ``text`` starts with (a weekday may precede it), day first, as the UK writes it.

    ``04/14/2026`` has no fourteenth month, so it is no date here rather than an American one.
    """
    weekday = re.match(_WEEKDAY, text, re.IGNORECASE)
    match = _DATE.match(text, weekday.end() if weekday else 0)
    return _date(match) if match else None


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


def find_amounts(text: str) -> list[Amount]:
    """Sterling and foreign amounts: with two decimals, or whole where a currency sign says that it is money."""
    found: list[Amount] = []
    for match in _AMOUNT.finditer(text):
        code = match["code"] or match["code2"] or ("€" if match.group().rstrip().endswith("€") else None)
        if match["pence"] is None and code is None:
            continue
        pence = int(match["pounds"].replace(",", "")) * 100 + int(match["pence"] or 0)
        negative = _is_negative(match["minus"], match["minus2"], match["minus3"])
        if pence <= PENCE_MAX:
            currency = _CURRENCIES.get(code, code.upper()) if code else None
            found.append(Amount(-pence if negative else pence, currency))
    return found


def _is_negative(before: str | None, between: str | None, after: str | None) -> bool:
    """``-£5.00``, ``£-5.00``, ``£5.00-``, ``£5.00 CR`` and the bookkeeper's ``(£5.00)``."""
    if before == "(":
        return after == ")"
    return bool(before or between or (after and after != ")"))


def parse_terms(text: str) -> Terms | None:
    """``Net 30 days from end of month``, ``30 days``, ``strictly net 14``: the first sentence that has terms.

    A sentence with two different terms (an early-payment discount, say) is not understood.
    """
    for sentence in _SENTENCE_END.split(text):
        found = {terms for match in _TERMS.finditer(sentence) if (terms := _terms(sentence, match))}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _terms(sentence: str, match: re.Match[str]) -> Terms | None:
    before, after = sentence[: match.start()], sentence[match.end() :]
    if not (match["unit"] or _NET_BEFORE.search(before) or _NET_AFTER.match(after)):
        return None
    if _NOT_CALENDAR_DAYS.match(after) or re.match(r"\s*%", after):
        return None
    days = _WORDS[match["days"].lower()] if match["days"].isalpha() else int(match["days"])
    if not 0 < days <= 365:
        return None
    return Terms(days, bool(_END_OF_MONTH.search(after) or _EOM_BEFORE.search(before)))


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


def decimal_to_pence(text: str) -> int | None:
    """An XML decimal as exact pence; None if it is not whole pence or beyond what we record."""
    match = re.fullmatch(r"\s*(?P<sign>[+-]?)(?P<pounds>\d{1,14})(?:\.(?P<pence>\d{0,2})0*)?\s*", text)
    if not match:
        return None
    pence = int(match["pounds"]) * 100 + int((match["pence"] or "").ljust(2, "0"))
    return None if pence > PENCE_MAX else -pence if match["sign"] == "-" else pence


def same_name(one: str, other: str) -> bool:
    """Whether two spellings name one company: case, spaces, punctuation and Ltd/Limited do not count."""
    return name_key(one) == name_key(other)


def name_key(name: str) -> str:
    """A form in which spellings of one company name are equal."""
    words = re.sub(r"[^\w ]", "", name.casefold().replace("&", " and ")).split()
    short = {"limited": "ltd", "the": "", "company": "co"}
    return " ".join(filter(None, (short.get(word, word) for word in words)))
