"""What sentences say that the fields do not: the debt is assigned, part is withheld, it is paid in instalments.

The same words are doubts on a page and in the notes of an XML invoice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from fintokenx.adapters.documents.amounts import find_amounts
from fintokenx.adapters.documents.terms import sentences

_ASSIGNED: Final = re.compile(
    r"(?i)\b(?:debts?|invoices?|receivables?|book\s+debts|payments?|rights?|title|accounts?|it)\b[^.]{0,60}"
    r"(?<!not\s)\bassigned(?:\s+(?:absolutely|and\s+\w+|by\s+way\s+of\s+\w+))*\s+to\b"
    r"|\bnotice\s+of\s+assignment\b|\bassigned\s+debts?\b|\bfactoring\s+(?:compan|agreement|arrange|facilit)"
    r"|\b(?:payments?|payable|pay|paid|remit\w*)\b[^.]{0,60}\bto\s+(?:our|the)\s+(?:factors?\b|invoice\s+financ|assignee|financ)"
    r"|\bdischarge\b[^.]{0,40}\bby\s+payment\s+(?:only\s+)?to\b"
)
_WITHHELD: Final = re.compile(
    r"(?i)\b(?:retention(?!\s+of\s+(?:title|ownership|property))|retained|retainage|withheld|withholding"
    r"|cis\b|construction\s+industry\s+scheme|contra\b|set[\s-]?off\b|less:?\s+credit\b|credit\s+note\b)"
)
_INSTALMENTS: Final = re.compile(
    r"(?i)\binstall?ments?\b|\bstage(?:d)?\s+payments?\b|\b(?:two|three|four|[2-9])\s+(?:equal\s+)?(?:halves|parts|payments)\b"
    r"|\b(?:first|second|third|final|last|1st|2nd|3rd|[4-9]th)\s+(?:part\s+)?payment\b"
)
_NEGATED: Final = re.compile(
    r"(?i)\b(?:no|not|nil|nothing|without|none|never|exempt|n/a|gross\s+(?:payment\s+)?status|interest|disput\w*)\b"
)
_RATE: Final = re.compile(r"(?<![\d.,])(\d{1,3})(?:\.(\d+))?\s?%")


def doubts_about(texts: Iterable[str]) -> list[str]:
    """The doubts that a person must settle who reads these texts."""
    doubts: list[str] = []
    for sentence in (each for text in texts for each in sentences(text)):
        if is_assigned(sentence):
            doubts.append("PAYEE_IS_NOT_SELLER")
        if _NEGATED.search(sentence):
            continue
        if _WITHHELD.search(sentence) and _has_figure(sentence):
            doubts.append("PAYABLE_DIFFERS_FROM_TOTAL")
        shares = _rates_bps(sentence)
        if (_INSTALMENTS.search(sentence) and re.search(r"\d", sentence)) or (
            len(shares) > 1 and sum(shares) == 10_000
        ):
            doubts.append("INSTALMENTS")
    return list(dict.fromkeys(doubts))


def is_assigned(text: str) -> bool:
    """Whether the text says that another than the seller is to be paid."""
    return bool(_ASSIGNED.search(text))


def _has_figure(sentence: str) -> bool:
    return any(amount.pence for amount in find_amounts(sentence)) or any(_rates_bps(sentence))


def _rates_bps(sentence: str) -> list[int]:
    """The percentages in it, in basis points."""
    return [int(whole) * 100 + int(f"{part}00"[:2]) for whole, part in _RATE.findall(sentence)]
