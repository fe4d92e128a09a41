"""Net, VAT, gross total and what is paid already, found by label and settled by arithmetic.

Labels alone do not decide: "amount due" is the gross total on one invoice and the balance on another.
Where a net and a VAT amount add up to one of the totals, that total stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Final

from fintokenx.adapters.documents import en16931, labels
from fintokenx.adapters.documents.amounts import Amount, amounts_in, find_amounts, is_cut
from fintokenx.adapters.documents.labels import Page
from fintokenx.adapters.documents.layout import Cell
from fintokenx.adapters.documents.values import find_dates
from fintokenx.lifecycle.invoice.ports import CurrencyUnsupported, NotAnInvoice

_TAIL: Final = re.compile(
    r"(?i)^(?:\([^)]*\)?|in\b|gbp|sterling|pounds|inc(?:l(?:uding|usive)?)?\.?(?:\s+of)?\s+(?:vat|tax)|[£€$]|[\s:.@-])*"
    r"(?=$|[-−(]?\s*[£€$]?\s?[-−]?\d|eur|usd|chf)"
)
_RATE: Final = re.compile(r"(?<![\d.,])(\d{1,2})(?:\.(\d{1,2}))?\s*%")
_GBP: Final = re.compile(r"£|\bGBP\b|\bpounds?\s+sterling\b", re.IGNORECASE)
_SPLIT_EMS: Final = 3.5
"""How far apart the parts of one number may stand."""
_FOREIGN: Final = re.compile(r"[€$]\s?\d|\d\s?€|\b(?:EUR|USD|CHF)\s?\d|\d\s?(?:EUR|USD|CHF)\b")


@dataclass(frozen=True, slots=True)
class Sum:
    """An amount beside a label."""

    amount: Amount
    tier: int

    @property
    def pence(self) -> int:
        """Without the currency."""
        return self.amount.pence


@dataclass(slots=True)
class Totals:
    """What the page says in pence; None where it does not, or says several things."""

    net: int | None = None
    vat: int | None = None
    total: int | None = None
    paid: int | None = None
    due: int | None = None
    """What a balance says is asked for now."""
    currency: str | None = None
    doubts: list[str] = field(default_factory=list)


def find_totals(page: Page) -> Totals:
    """Read the totals of a whole document.

    :raises CurrencyUnsupported: the total, or every amount where there is none, is not sterling
    :raises NotAnInvoice: the total is negative
    """
    due = list(_sums(page, labels.TOTAL))
    balances = [each.pence for each in _sums(page, labels.BALANCE)]
    paid = {abs(each.pence) for each in _sums(page, labels.PAID)} - {0}
    found = Totals(paid=paid.pop() if len(paid) == 1 else None)
    if paid and found.paid is None:
        found.doubts.append("AMBIGUOUS:amount_paid")
    if not due and balances:
        due = _total_of_balance(page, found.paid)
    _settle(page, found, due)
    if found.total is None and len({each.pence for each in due}) > 1:
        found.doubts.append("AMBIGUOUS:total")
    found.due = balances[0] if len(set(balances)) == 1 else None
    asked = {each.pence for each in due if each.tier > 0} | {each.pence for each in _sums(page, labels.ASKED)}
    _check_sums(page, found, asked | set(balances))
    _settle_currency(page, found, due)
    if found.total is not None and found.total < 0:
        raise NotAnInvoice("it asks for less than nothing")
    return found


def _total_of_balance(page: Page, paid: int | None) -> list[Sum]:
    """Only a balance is printed: the total is that, and what was paid before."""
    return [
        Sum(Amount(each.pence + (paid or 0), each.amount.currency), each.tier) for each in _sums(page, labels.BALANCE)
    ]


def _settle(page: Page, found: Totals, due: list[Sum]) -> None:
    """Pick the total that net and VAT add up to; without one, the strongest label's only amount."""
    nets = list(_sums(page, labels.NET))
    vats = _vats(page)
    totals = {each.pence for each in due}
    fits = {
        (net.pence + extra, vat, total)
        for net in nets
        for vat in vats
        for extra in _adjustments(page)
        for total in totals
        if net.pence + extra + vat == total
    }
    plain = {fit for fit in fits if any(fit[0] == net.pence for net in nets)}
    for candidates in (plain, fits):
        if len(candidates) == 1:
            found.net, found.vat, found.total = next(iter(candidates))
            return
    strongest = {each.pence for each in due if each.tier == min(other.tier for other in due)}
    if len(strongest) != 1 or fits:
        return
    found.total = strongest.pop()
    if table := _vat_table(page, found.total):
        found.net, found.vat = table
        return
    net_values = {net.pence for net in nets if net.tier == min(other.tier for other in nets)}
    found.net = net_values.pop() if len(net_values) == 1 else None
    found.vat = next(iter(vats)) if len(vats) == 1 else None


def _check_sums(page: Page, found: Totals, asked: set[int]) -> None:
    """What is printed must add up, and what is asked for now be the total less what was paid, rounded perhaps.

    A retention or a CIS deduction is neither a payment nor a rounding.
    """
    printed = {"BT-109": found.net, "BT-110": found.vat, "BT-112": found.total, "BT-113": found.paid}
    amounts = {term: pence for term, pence in printed.items() if pence is not None}
    found.doubts += en16931.broken(amounts, complete=False)
    if found.total is None:
        return
    roundings = {0, *(each.pence for each in _sums(page, labels.ROUNDING))}
    for each in asked - {found.total}:
        if all(en16931.broken(amounts | {"BT-115": each, "BT-114": some}, complete=False) for some in roundings):
            found.doubts.append("PAYABLE_DIFFERS_FROM_TOTAL")
            return


def _settle_currency(page: Page, found: Totals, due: list[Sum]) -> None:
    text = page.layout.text
    signs = {each.amount.currency for each in due if each.pence == found.total} - {None}
    if not signs:
        signs = {"GBP"} if _GBP.search(text) else {"another"} if _FOREIGN.search(text) else set()
    if signs - {"GBP"}:
        raise CurrencyUnsupported("not in GBP")
    if _GBP.search(text) and _FOREIGN.search(text):
        found.doubts.append("MIXED_CURRENCIES")
    found.currency = "GBP" if signs else None


def _sums(page: Page, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Sum]:
    """The amounts of labelled rows: the last on the row where it is to the right, else one right below."""
    for cell in page.layout.cells:
        for tier, pattern in enumerate(patterns):
            match = pattern.match(cell.text)
            if not match:
                continue
            rest = cell.text[match.end() :]
            tail_matters = patterns not in (labels.PAID, labels.ADJUSTMENT)
            if not tail_matters or _TAIL.match(rest):
                amount = _amount_of(page, cell, rest)
                if amount is not None:
                    yield Sum(_with_code(amount, cell.text), tier)
            break


def _with_code(amount: Amount, label: str) -> Amount:
    """``Total GBP`` and ``Total (EUR)`` name the currency in the label."""
    code = re.search(r"\b(GBP|EUR|USD|CHF)\b", label)
    return Amount(amount.pence, code[1]) if code and amount.currency is None else amount


def _amount_of(page: Page, cell: Cell, rest: str) -> Amount | None:
    amounts = find_amounts(rest)
    if _is_cut(page, cell, is_label=True):
        return None
    for other in page.layout.rows[cell.row]:
        if other.left <= cell.left:
            continue
        if _is_cut(page, other):
            return None
        here = find_amounts(other.text)
        if not here and re.match(r"\W*[A-Za-z]{3,}", other.text):
            break
        if here and not re.match(r"[\s£€$()−-]*(?:\d|(?:GBP|EUR|USD|CHF)\b)", other.text):
            break
        amounts = here or amounts
    if amounts:
        return amounts[-1]
    if re.search(r"\d", _RATE.sub("", rest)) or page.in_line_table(cell):
        return None
    under = page.below(cell)
    if under and _is_cut(page, under):
        return None
    below = find_amounts(under.text) if under and not re.match(r"\W*[A-Za-z]{4,}", under.text) else []
    return below[0] if len(below) == 1 and not find_dates(under.text if under else "") else None


def _is_cut(page: Page, cell: Cell, *, is_label: bool = False) -> bool:
    """Whether the number in a cell may go on in the next one or below, or have begun above: then it is none."""
    right, under, above = page.right_of(cell), page.below(cell, lines=1.7), page.above(cell)
    if right:
        near = right.left - cell.right < _SPLIT_EMS * cell.height
        if is_cut(cell.text, right.text, signed=is_label or not near):
            return True
    return bool(
        (under and is_cut(cell.text, under.text, signed=True)) or (above and is_cut(above.text, cell.text, signed=True))
    )


def _vats(page: Page) -> set[int]:
    """The VAT total: stated as such, the only VAT line, or the sum of the lines per rate."""
    stated: set[int] = set()
    lines: list[int] = []
    for cell in page.layout.cells:
        if labels.VAT_IS_NOT_MONEY.match(cell.text):
            continue
        tier = next((tier for tier, pattern in enumerate(labels.VAT) if pattern.match(cell.text)), None)
        if tier is None or (amount := _vat_amount(page, cell)) is None:
            continue
        if tier == 0:
            stated.add(amount.pence)
        else:
            lines.append(amount.pence)
    if stated:
        return stated
    return {sum(lines)} | ({lines[0]} if len(set(lines)) == 1 else set()) if lines else set()


def _vat_amount(page: Page, cell: Cell) -> Amount | None:
    """``VAT 20% on £100.00  £20.00``: the last amount on the row, never the base that it is charged on."""
    amount = _amount_of(page, cell, cell.text)
    own = find_amounts(cell.text)
    based = re.search(r"(?i)\bon\b\D*$", cell.text[: _last_amount_start(cell.text)])
    return None if amount is not None and len(own) == 1 and based and amount == own[0] else amount


def _last_amount_start(text: str) -> int:
    return max((start for start, _ in amounts_in(text)), default=0)


def _adjustments(page: Page) -> set[int]:
    """Nothing, each discount or carriage row, or all of them: what may stand between the subtotal and the VAT."""
    extras: list[int] = []
    for cell in page.layout.cells:
        match = labels.ADJUSTMENT[0].match(cell.text)
        if match and (amount := _amount_of(page, cell, cell.text[match.end() :])):
            extras.append(-abs(amount.pence) if "discount" in match.group().lower() else amount.pence)
    extras = extras[:4]
    return {sum(some) for size in range(len(extras) + 1) for some in combinations(extras, size)}


def _vat_table(page: Page, total: int) -> tuple[int, int] | None:
    """Net and VAT of a table with one row per rate, if its gross column adds up to the total."""
    answers: set[tuple[int, int]] = set()
    group: list[tuple[int, int]] = []
    for row in [*page.layout.rows, ()]:
        rated = _rated_row(row)
        if rated:
            group.append(rated)
            continue
        net, vat = sum(each[0] for each in group), sum(each[1] for each in group)
        if group and net + vat == total:
            answers.add((net, vat))
        group = []
    return answers.pop() if len(answers) == 1 else None


def _rated_row(row: tuple[Cell, ...]) -> tuple[int, int] | None:
    """Net and VAT of a row that shows rate, net, VAT and gross, proved by the rate itself."""
    rate = next((match for cell in row if (match := _RATE.search(cell.text))), None)
    if not rate:
        return None
    basis_points = int(rate[1]) * 100 + int((rate[2] or "").ljust(2, "0"))
    pence = [amount.pence for cell in row for amount in find_amounts(cell.text)]
    proved = {
        (net, vat)
        for net, vat, gross in permutations(pence[:6], 3)
        if net + vat == gross and abs(net * basis_points - vat * 10_000) <= 10_000
    }
    return proved.pop() if len(proved) == 1 else None
