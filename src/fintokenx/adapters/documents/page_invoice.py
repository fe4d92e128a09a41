"""The fields of an invoice that people read: its text layer, laid out, as fields and doubts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeVar

from fintokenx.adapters.documents import labels, remarks
from fintokenx.adapters.documents.amounts import find_amounts
from fintokenx.adapters.documents.labels import Page, strongest
from fintokenx.adapters.documents.layout import Layout
from fintokenx.adapters.documents.parties import find_parties
from fintokenx.adapters.documents.terms import Terms, find_due_dates, find_terms_in_prose, parse_terms
from fintokenx.adapters.documents.totals import find_totals
from fintokenx.adapters.documents.values import parse_date, parse_dates
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, NotAnInvoice

Value = TypeVar("Value")

_CREDIT_NOTE: Final = re.compile(
    r"(?i)^\W*(?:(?:vat|tax|sales)\s+)?credit\s+(?:note|memo|invoice)(?:\W*$|\s*(?:no|num|number|ref|date|#)\b)"
)
_OTHER_TITLES: Final = re.compile(
    r"(?i)^\W*(?:pro[\s-]?forma(?:\s+invoice)?|quotation|quote|estimate|purchase\s+order|order\s+(?:confirmation|acknowledgement)"
    r"|delivery\s+note|despatch\s+note|statement(?:\s+of\s+account)?|remittance\s+advice|application\s+for\s+payment)\W*$"
)
_INVOICE_TITLE: Final = re.compile(r"(?i)^\W*(?:(?:vat|tax|sales|commercial)\s+)?invoice\b")
_NUMBER: Final = re.compile(r"(?=.*\d)(?:[A-Z]{1,6} )?[A-Za-z0-9][A-Za-z0-9/_.\-]{0,29}|\d{1,6}(?: \d{1,6}){1,3}")


@dataclass(frozen=True, slots=True)
class PageInvoice:
    """What the page says. ``terms`` is there for a due date that is not printed."""

    fields: InvoiceOnPaper
    terms: Terms | None
    doubts: tuple[str, ...]


def read_page(layout: Layout) -> PageInvoice:
    """Read the fields from the text layer.

    :raises NotAnInvoice: the title says credit note, pro forma, statement …
    :raises CurrencyUnsupported: the total is not in sterling
    """
    _check_title(layout)
    page = Page(layout)
    totals = find_totals(page)
    parties = find_parties(page)
    doubts = [*totals.doubts, *parties.doubts]
    terms = _terms(page, doubts)
    doubts += remarks.doubts_about(" ".join(cell.text for cell in row) for row in layout.rows)
    if remarks.is_assigned(layout.flow):
        doubts.append("PAYEE_IS_NOT_SELLER")
    fields = InvoiceOnPaper(
        invoice_number=_one(page, labels.INVOICE_NUMBER, parse_number, "invoice_number", doubts),
        issue_date=_one(page, labels.ISSUE_DATE, parse_date, "issue_date", doubts),
        due_date=_due_date(page, doubts),
        payment_terms_days=terms.days if terms else None,
        currency=totals.currency,
        net=_pence(totals.net),
        vat=_pence(totals.vat),
        total=_pence(totals.total),
        amount_paid=_pence(totals.paid),
        amount_due=_pence(totals.due),
        seller=parties.seller,
        buyer=parties.buyer,
        sort_code=parties.sort_code,
        account_number=parties.account_number,
        purchase_order=_one(page, labels.PURCHASE_ORDER, parse_number, "purchase_order", doubts),
    )
    return PageInvoice(fields, terms, tuple(doubts))


def parse_number(text: str) -> str | None:
    """A document number as printed: it has a digit, and is neither a date nor an amount.

    One space is part of it only after a short prefix in capitals (``KH 7719/B``) or between digits.
    """
    text = text.strip().rstrip(".,;")
    if not _NUMBER.fullmatch(text) or parse_date(text) or find_amounts(text):
        return None
    return text


def _pence(value: int | None) -> Pence | None:
    return None if value is None else Pence(value)


def _check_title(layout: Layout) -> None:
    """A credit note anywhere in the headings; other papers only where no heading says invoice."""
    first_page = [_unspaced(cell.text) for cell in layout.cells if cell.page == 0]
    if any(_CREDIT_NOTE.match(text) for text in first_page):
        raise NotAnInvoice("credit note")
    titles = first_page[: max(12, len(first_page) // 3)]
    pro_forma = any(re.match(r"(?i)^\W*pro[\s-]?forma\b", text) for text in titles)
    if pro_forma or (
        any(_OTHER_TITLES.match(text) for text in titles) and not any(_INVOICE_TITLE.match(text) for text in first_page)
    ):
        raise NotAnInvoice("its title is not that of an invoice")


def _unspaced(text: str) -> str:
    """``I N V O I C E`` is how some letterheads set a title."""
    return text.replace(" ", "") if re.fullmatch(r"(?:\S ){3,}\S", text) else text


def _one(
    page: Page,
    patterns: tuple[re.Pattern[str], ...],
    parse: Callable[[str], Value | None],
    name: str,
    doubts: list[str],
) -> Value | None:
    """The only value that the strongest label gives; several are a doubt and no answer."""
    values = strongest(list(page.find(patterns, parse)))
    if len(values) > 1:
        doubts.append(f"AMBIGUOUS:{name}")
    return values.pop() if len(values) == 1 else None


def _due_date(page: Page, doubts: list[str]) -> date | None:
    """Printed beside a label, or in a sentence such as "payment is due by 3 May 2026": one, or none is picked."""
    printed = strongest(list(page.find(labels.DUE_DATE, parse_dates)))
    dates = {each for several in printed for each in several} | find_due_dates(page.layout.flow)
    if len(dates) > 1:
        doubts.append("AMBIGUOUS:due_date")
    return dates.pop() if len(dates) == 1 else None


def _terms(page: Page, doubts: list[str]) -> Terms | None:
    """Beside a label, else in a sentence about payment; claims, interest and discounts are other periods."""
    found = strongest(list(page.find(labels.TERMS, parse_terms)))
    if not found:
        found = find_terms_in_prose(page.layout.flow)
    if len(found) > 1:
        doubts.append("AMBIGUOUS:payment_terms_days")
    return found.pop() if len(found) == 1 else None
