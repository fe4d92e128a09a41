"""What UK invoices call things, strongest wording first, and how the value of a label is found on the page.

A value stands after its label in the same cell, in the next cell to the right, or in the cell below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Generic, TypeVar

from fintokenx.adapters.documents.layout import Cell, Layout

Value = TypeVar("Value")

_NUMBER_WORD: Final = r"(?:number|num|no|nr|n|reference|ref|id)\b\.?"
_INVOICE: Final = r"(?:(?:taxable|tax|vat|sales|commercial)\s+)?inv(?:oice)?\b\.?"
_ORDER_WORD: Final = rf"(?:\s*(?:{_NUMBER_WORD}|\#))?"


def _tiers(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(rf"(?ix)^\W{{0,2}}(?:{pattern})(?=$|[\s:.\#(/,]|[–-]\s)") for pattern in patterns)


INVOICE_NUMBER: Final = _tiers(
    rf"{_INVOICE}\s*(?:{_NUMBER_WORD}|\#)|{_NUMBER_WORD}\s+of\s+invoice",
    rf"(?:document|bill)\s*(?:{_NUMBER_WORD}|\#)|number|no\.?|nr\.?",
    _INVOICE,
)
ISSUE_DATE: Final = _tiers(
    r"""invoice\s+date(?:\s*(?:/|&|and)\s*tax\s*point)?|date\s*(?:/|&|and)\s*tax\s*point|tax\s*point\s*/\s*date
    |inv\.?\s+date|date\s+of\s+(?:\w+\s+){0,3}(?:invoice|issue)|issued?(?:\s+(?:date|on))?|date\s+(?:issued|invoiced)
    |dated|(?:bill(?:ing)?|document)\s+date""",
    r"tax\s*point(?:\s+date)?|tax(?:able)?\s+date",
    r"date",
)
DUE_DATE: Final = _tiers(
    r"""(?:payment\s+|invoice\s+)?due\s+date|date\s+due|payment\s+(?:is\s+)?due(?:\s+(?:date|by|on|before))?
    |(?:amount|balance|total)\s+due\s+(?:by|on|before)|due(?:\s+(?:by|on|before|for\s+payment(?:\s+(?:by|on))?))?
    |(?:please\s+)?pay(?:able|ment)?\s+(?:by|on\s+or\s+before|before|deadline)|to\s+be\s+paid\s+by""",
)
TERMS: Final = _tiers(
    r"(?:payment|credit|settlement|our|standard)\s+terms|terms(?:\s+of\s+payment|\s*&\s*conditions)?", r"payment"
)
PURCHASE_ORDER: Final = _tiers(
    rf"(?:your\s+|customer\s+|client\s+)?(?:purchase\s+order|p\.?\s?o\.?(?!\s*box))(?:\s*/\s*\w+)?{_ORDER_WORD}",
    rf"(?:(?:your|customer|client|buyer)(?:['’]s)?\s+)?order{_ORDER_WORD}",
    r"(?:your|customer|client)\s+ref(?:erence)?\b\.?",
)
BUYER_INLINE: Final = _tiers(r"(?:bill(?:ed)?|invoiced?|sold|issued|charged?|addressed)\s+to")
BUYER_ALONE: Final = _tiers(
    r"""(?:customer|client|buyer)(?:\s+(?:name|details|address))?|to|for|recipient|(?:invoice|billing)\s+address
    |(?:invoice|prepared)\s+for"""
)
SELLER_ALONE: Final = _tiers(r"provider|supplier|seller|vendor|from|(?:issued|invoiced)\s+by|supplied\s+by|payee")
ACCOUNT_NAME: Final = _tiers(
    r"(?:bank\s+)?(?:account|a/c|acct?\.?)\s+name|name\s+(?:of|on)\s+account|payee(?:\s+name)?"
    r"|beneficiary(?:\s+name)?|(?:account|a/c)\s+holder|account\s+in\s+the\s+name\s+of"
)

TOTAL: Final = _tiers(
    r"""grand\s+total|gross(?:\s+(?:total|amount))?|total\s+gross
    |(?:invoice\s+)?total\s+(?:amount\s+)?(?:inc(?:l(?:\.|uding|usive)?)?\.?(?:\s+of)?|with)\s+(?:vat|tax)
    |(?:total\s+)?invoice\s+(?:total|amount|value)|total\s+(?:invoice|gbp)""",
    r"""total(?:\s+amount)?(?:\s+(?:now\s+)?(?:due|payable|owing|to\s+pay|to\s+be\s+paid))?|please\s+pay|to\s+pay
    |(?:amount|sum)\s+(?:now\s+)?(?:due|payable|owing|to\s+pay)""",
)
BALANCE: Final = _tiers(
    r"(?:outstanding\s+)?balance(?:\s+(?:now\s+)?(?:due|outstanding|payable|remaining|to\s+pay|owing))?"
    r"|amount\s+outstanding|outstanding(?:\s+amount)?|remaining(?:\s+to\s+pay)?"
)
ASKED: Final = _tiers(
    r"""(?:(?:total|net)\s+)?(?:(?:amount|sum|total|balance|payment)\s+)?(?:now\s+)?(?:due|payable|owing|owed|required|requested
    |to\s+pay|to\s+be\s+paid)(?:\s+(?:now|immediately|today|this\s+(?:month|time|period)))?
    |please\s+(?:pay|remit)(?:\s+now)?|pay\s+now|this\s+payment"""
)
"""What is asked for now, in words that are no name of a total."""
NET: Final = _tiers(
    r"""net(?:\s+(?:total|amount|value|invoice|goods|payable))?|total\s+net(?:\s+amount)?|(?:total\s+)?taxable(?:\s+amount)?
    |(?:sub[\s-]?)?(?:total|amount)\s+(?:amount\s+)?(?:ex(?:c(?:l(?:\.|uding|usive)?)?)?\.?(?:\s+of)?|before|without)\s+(?:vat|tax)
    |goods\s+total""",
    r"sub[\s-]?total|(?:total\s+)?goods(?:\s+value)?|total\s+(?:goods|services|labour\s+and\s+materials)",
)
VAT: Final = _tiers(
    r"total\s+(?:vat|tax)|(?:vat|tax)\s+(?:total|amount)", r"(?:plus\s+|add\s+|output\s+)?(?:vat|sales\s+tax|tax)"
)
VAT_IS_NOT_MONEY: Final = re.compile(
    r"(?i)^\W*(?:vat|tax)\s*(?:reg|no\b|num|id\b|in\b|invoice|point|date|summary|analysis|breakdown|rate\b|basis)"
)
PAID: Final = _tiers(
    r"""(?:less:?\s+)?(?:deposit|payments?|amount|prepayment)(?:\s+already)?\s+(?:received|paid)|(?:already\s+)?paid(?:\s+to\s+date)?
    |less:?\s+(?:deposit|payments?|prepayment|paid)|(?:less\s+)?deposit|received\s+(?:with\s+thanks|to\s+date)|prepaid"""
)
ROUNDING: Final = _tiers(r"round(?:ing|ed)(?:\s+(?:amount|adjustment|off|up|down))?")
ADJUSTMENT: Final = _tiers(
    r"(?:less\s+)?(?:\w+\s+)?discount|carriage|(?:delivery|shipping|postage)(?:\s+\S+){0,2}|p\s?&\s?p|rounding|surcharge"
)
LINE_TABLE_HEADING: Final = re.compile(
    r"(?i)^(?:description|details|items?|qty|quantity|units?|unit price|price|rate|product|particulars|hours|code"
    r"|work)\b"
)
_ALL: Final = (
    INVOICE_NUMBER + ISSUE_DATE + DUE_DATE + TERMS + PURCHASE_ORDER + TOTAL + BALANCE + NET + VAT + PAID + ACCOUNT_NAME
)


_NEXT_PAIR: Final = re.compile(
    r"(?ix)(?<=\d)\s+(?=(?:" + "|".join(pattern.pattern.removeprefix("(?ix)^") for pattern in _ALL) + r")\s*:)"
)


@dataclass(frozen=True, slots=True)
class Found(Generic[Value]):
    """A value with the strength of its label (0 is strongest) and where it came from."""

    value: Value
    tier: int
    cell: Cell


def is_label(text: str) -> bool:
    """Whether the text is a label and nothing else: never a value."""
    return any((match := pattern.match(text)) and not re.search(r"\w", text[match.end() :]) for pattern in _ALL)


class Page:
    """Look-ups between the cells of a layout."""

    def __init__(self, layout: Layout) -> None:
        rows = (tuple(part for cell in row for part in _pairs(cell)) for row in layout.rows)
        self.layout = replace(layout, rows=tuple(rows))

    def right_of(self, cell: Cell) -> Cell | None:
        """The next cell on the row."""
        return next((other for other in self.layout.rows[cell.row] if other.left > cell.left), None)

    def below(self, cell: Cell, *, lines: float = 2.2) -> Cell | None:
        """The nearest cell under this one that shares some of its width, at most so many line heights down."""
        for row in self.layout.rows[cell.row + 1 : cell.row + 8]:
            for other in row:
                if other.page != cell.page or other.top - cell.top > lines * max(cell.height, other.height):
                    return None
                if other.top > cell.top + 0.5 * cell.height and _overlap(cell, other):
                    return other
        return None

    def above(self, cell: Cell, *, lines: float = 1.7) -> Cell | None:
        """The cell on the row before that shares some of this one's width, at most so many line heights up."""
        row = self.layout.rows[cell.row - 1] if cell.row else ()
        near = (o for o in row if o.page == cell.page and cell.top - o.top <= lines * max(cell.height, o.height))
        return next((other for other in near if _overlap(other, cell)), None)

    def block(self, cell: Cell) -> list[Cell]:
        """The cell and the left-aligned lines under it, up to the first gap: an address, usually."""
        lines = [cell]
        for row in self.layout.rows[cell.row + 1 : cell.row + 30]:
            last = lines[-1]
            if row[0].page != cell.page or row[0].top - last.top > 2.2 * last.height:
                break
            lines += [other for other in row if abs(other.left - cell.left) < 4 and other.top > last.top + 1][:1]
        return lines

    def in_line_table(self, cell: Cell) -> bool:
        """Whether the row is the heading of the line items, where a label names a column and not a total."""
        return sum(bool(LINE_TABLE_HEADING.match(other.text)) for other in self.layout.rows[cell.row]) > 0

    def find(
        self,
        labels: tuple[re.Pattern[str], ...],
        parse: Callable[[str], Value | None],
        *,
        look_below: bool = True,
    ) -> Iterator[Found[Value]]:
        """Every value with one of these labels, in reading order."""
        for cell in self.layout.cells:
            for tier, label in enumerate(labels):
                match = label.match(cell.text)
                if not match:
                    continue
                value = self._value(cell, cell.text[match.end() :], parse, look_below=look_below)
                if value is not None:
                    yield Found(value, tier, cell)
                break

    def _value(self, cell: Cell, rest: str, parse: Callable[[str], Value | None], *, look_below: bool) -> Value | None:
        rest = re.sub(r"^[\s:.#)–-]+", "", rest)
        if rest:
            return parse(rest)
        right = self.right_of(cell)
        if right and not is_label(right.text) and (value := parse(right.text)) is not None:
            return value
        if not look_below or self.in_line_table(cell):
            return None
        under = self.below(cell)
        return parse(under.text) if under and not is_label(under.text) else None


def _pairs(cell: Cell) -> Iterator[Cell]:
    """``Invoice No: 20613 Date: 03/04/2026`` is two cells: a new label with a colon starts one."""
    starts = [0, *(match.end() for match in _NEXT_PAIR.finditer(cell.text)), len(cell.text)]
    width = (cell.right - cell.left) / max(len(cell.text), 1)
    for start, end in pairwise(starts):
        left, right = cell.left + start * width, cell.left + end * width
        yield replace(cell, text=cell.text[start:end].strip(), left=left, right=right)


def strongest(found: list[Found[Value]]) -> set[Value]:
    """The different values that the strongest label gives: one is an answer, several are a doubt."""
    best = min((each.tier for each in found), default=0)
    return {each.value for each in found if each.tier == best}


def _overlap(cell: Cell, other: Cell) -> bool:
    shared = min(cell.right, other.right) - max(cell.left, other.left)
    return shared > 0.5 * min(cell.right - cell.left, other.right - other.left)
