"""When an invoice is to be paid, in words: so many days, or a date in a sentence. All pure.

A discount has a period too, and so have interest, claims and deliveries: none of them is a term of payment.
What is not fully understood gives no terms.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from fintokenx.adapters.documents.values import parse_date

_WORDS: Final = {"seven": 7, "ten": 10, "fourteen": 14, "thirty": 30, "sixty": 60, "ninety": 90}
_TERMS: Final = re.compile(
    r"(?i)(?<![\w.,/])(?P<days>\d{1,3}|seven|ten|fourteen|thirty|sixty|ninety)(?!\d)(?:\s*\(\d{1,3}\))?"
    r"\s*-?\s*(?P<unit>(?:calendar\s+)?days?\b['’]?)?"
)
_NET_BEFORE: Final = re.compile(r"(?i)\b(?:net|eom\s*\+?)\s*$")
_NET_AFTER: Final = re.compile(r"(?i)\s*(?:strictly\s+)?net\b(?!\s*\d)")
_EOM_BEFORE: Final = re.compile(r"(?i)\be\.?o\.?m\.?\s*\+?\s*$|\bend\s+of\s+(?:the\s+)?month\s*(?:\+|plus|and)\s*$")
_SENTENCE_END: Final = re.compile(r"[.;!](?:\s|$)|[\r\n]+")
_END_OF_MONTH: Final = re.compile(r"(?i)\b(?:e\.?o\.?m\b|end\s+of\s+(?:the\s+)?(?:\w+\s+)?month|month[\s-]end)")
_LATER_MONTH: Final = re.compile(r"(?i)\b(?:following|next)\s+month|\bmonth\s+(?:following|after)")
_NOT_CALENDAR_DAYS: Final = re.compile(r"(?i)^\s*(?:working|business|banking)\b")
_NOT_FROM_ISSUE: Final = re.compile(
    r"(?i)\b(?:from|after|of|following|upon)\s+(?:the\s+|your\s+)?(?:date\s+of\s+)?"
    r"(?:acceptance|completion|statement|approval|goods|receipt|certif\w+|installation)"
)
_LISTED: Final = re.compile(r"(?i)\b(?P<days>\d{1,3})\s*(?:,|/|-|–|&|\+|to|or|and)\s*$")
_OF_A_DISCOUNT: Final = re.compile(
    r"(?i)%|\bper\s*cent\b|\bdiscount|\brebate|\bskonto|\bearly\s+(?:payment|settlement)|(?<!or\s)\bless\b|\bdeduct"
    r"|\breduc(?:ed|tion)|\bsav(?:e|ing)|\bincentive|\boff\b"
)
_SHORTHAND: Final = re.compile(r"\b\d{1,2}(?:\.\d+)?\s*(?:%\s*/?|/)\s*\d{1,2}\b(?!\s*/)")
"""``2/10 net 30``: two percent in ten days."""
_WITHOUT_DISCOUNT: Final = re.compile(
    r"(?i)\b(?:otherwise|else|failing\s+which|in\s+full|full\s+amount|without\s+(?:any\s+)?(?:discount|deduction))\b[^%\d]{0,40}$"
)
_OF_SOMETHING_ELSE: Final = re.compile(
    r"(?i)\b(?:interest|late|overdue|unpaid|outstanding|claims?|return(?:s|ed)?|notif\w*|disput\w*|quer(?:y|ies)"
    r"|complaints?|valid\w*|warrant\w*|guarantee\w*|deliver(?:y|ies|ed)|des?patch\w*|cancel\w*|refund\w*|reminder"
    r"|penalt\w*|suspen\w*|shortages?|damage[sd]?|lead\s+time|not(?!\s+later\s+than))\b"
)
_CLAUSE: Final = re.compile(
    r"(?i)[,:(]|\s[-–]\s|\b(?:or|and|otherwise|thereafter|after\s+which|to\s+avoid|unless|but)\b"
)
_DUE_IN_TEXT: Final = re.compile(
    r"(?i)\b(?:due|payable|pay|payment|settle|settlement|be\s+paid)\b[^.\d]{0,40}?\b(?:by|on|before|than)\s+(?=\S*\d|\w+day)"
    r"|\b(?:due|payable)\s*:?\s*(?=\d)"
)
_TERMS_IN_TEXT: Final = re.compile(
    r"(?i)\b(?:pay(?:ment|able)?|due|settle(?:ment)?|terms)\b[^.;]{0,60}?\d{1,3}\s*-?\s*days[^.;]{0,60}|\bnet\s+\d{1,3}\s+days[^.;]{0,40}"
)
_DISCOUNT_BEFORE: Final = re.compile(
    r"(?i)\b(?:discount|rebate|deduct\w*|less|early)\b|%\s*(?:off|if|for|when|on|within)\b"
)
_CONTEXT: Final = 80
"""How many characters around a number can say what it is."""
_PAID_ALREADY: Final = re.compile(r"(?i)\b(?:received|deposit|thank|already|paid\s+on|prepa\w+)\b")


@dataclass(frozen=True, slots=True)
class Terms:
    """``days`` calendar days, counted from the end of the issue month where ``from_end_of_month``."""

    days: int
    from_end_of_month: bool

    def due(self, issued: date) -> date:
        """The day on which payment falls due."""
        start = issued.replace(day=monthrange(issued.year, issued.month)[1]) if self.from_end_of_month else issued
        return start + timedelta(days=self.days)


def parse_terms(text: str) -> Terms | None:
    """``Net 30 days from end of month``, ``30 days``, ``strictly net 14``; None where it says several things."""
    found = find_terms(text)
    return found.pop() if len(found) == 1 else None


def find_terms(text: str) -> set[Terms]:
    """Every different term of payment: one is an answer, several are a doubt."""
    return {terms for sentence in sentences(text) for terms in _terms_of(_about_payment(sentence))}


def find_terms_in_prose(text: str) -> set[Terms]:
    """The terms in sentences that speak of payment, in a text that is mostly about something else."""
    found = set()
    for match in _TERMS_IN_TEXT.finditer(text):
        start = match.start()
        before = _SENTENCE_END.split(text[max(0, start - 60) : start])[-1]
        if not (_OF_SOMETHING_ELSE.search(before) or _DISCOUNT_BEFORE.search(before)):
            found |= find_terms(match.group())
    return found


def find_due_dates(text: str) -> set[date]:
    """The dates by which sentences want to be paid; that of a discount or of a payment made is none."""
    found = set()
    for match in _DUE_IN_TEXT.finditer(text):
        before = _SENTENCE_END.split(text[max(0, match.start() - 60) : match.start()])[-1]
        after = _SENTENCE_END.split(text[match.end() : match.end() + 60])[0]
        if _OF_SOMETHING_ELSE.search(before) or _PAID_ALREADY.search(match.group() + after[:25]):
            continue
        if not _DISCOUNT_BEFORE.search(before + match.group() + after) and (
            due := parse_date(text[match.end() :][:40])
        ):
            found.add(due)
    return found


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def is_about_discount(text: str) -> bool:
    """Whether the text is about paying less for paying early."""
    return bool(_OF_A_DISCOUNT.search(text))


def _about_payment(sentence: str) -> str:
    """The sentence up to the clause in which it begins to speak of something else."""
    other = _OF_SOMETHING_ELSE.search(sentence)
    if not other:
        return sentence
    return sentence[: max((clause.start() for clause in _CLAUSE.finditer(sentence, 0, other.start())), default=0)]


def _terms_of(sentence: str) -> Iterator[Terms]:
    """In a sentence about a discount only what stands against it is the term: ``2/10 net 30``."""
    discount = is_about_discount(sentence) or bool(_SHORTHAND.search(sentence))
    counts = list(_TERMS.finditer(sentence))
    several = len([each for each in counts if each["unit"]]) > 1 or bool(_SHORTHAND.search(sentence))
    for match in counts:
        before = sentence[max(0, match.start() - _CONTEXT) : match.start()]
        after = sentence[match.end() : match.end() + _CONTEXT]
        net = bool(_NET_BEFORE.search(before) or _NET_AFTER.match(after))
        if discount and not (several and (net or _WITHOUT_DISCOUNT.search(before))):
            continue
        if match["unit"] or net:
            yield from _terms(match, before, after)


def _terms(match: re.Match[str], before: str, after: str) -> Iterator[Terms]:
    if _NOT_CALENDAR_DAYS.match(after) or re.match(r"\s*%", after):
        return
    if _LATER_MONTH.search(after) or _NOT_FROM_ISSUE.search(after):
        return
    days = _WORDS[match["days"].lower()] if match["days"].isalpha() else int(match["days"])
    listed = _LISTED.search(before)
    for each in (days, int(listed["days"]) if listed else days):
        if 0 < each <= 365:
            yield Terms(each, bool(_END_OF_MONTH.search(after) or _EOM_BEFORE.search(before)))
