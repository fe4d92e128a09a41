"""What the document says against what was declared (IN-04). Nothing here asks anybody or decides anything."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, PartyOnPaper, Reading
from fintokenx.lifecycle.invoice.types import Invoice, ReviewReason, normalised_number
from fintokenx.parties import auth

CONFIDENCE_BPS_MIN: Final = 8_000
"""A reader that trusts itself less than this is not believed."""

Value = str | date | Pence | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One declared value beside what the document states; ``read`` is None where it does not say."""

    field: str
    declared: Value
    read: Value
    agrees: bool

    @property
    def code(self) -> str:
        """What is found where they do not agree."""
        return f"{'NOT_FOUND' if self.read is None else 'FIELD_MISMATCH'}:{self.field}"


_LEGAL_FORMS: Final = (("PUBLIC LIMITED COMPANY", "PLC"), ("LIMITED LIABILITY PARTNERSHIP", "LLP"), ("LIMITED", "LTD"))


def findings(invoice: Invoice, *, seller: auth.Subject, buyer: auth.Subject, reading: Reading) -> tuple[str, ...]:
    """Everything that a person must look at, as codes such as ``FIELD_MISMATCH:total``; nothing when all agrees.

    A field that the document does not state agrees with nothing (``NOT_FOUND:…``).
    """
    found = [*reading.doubts]
    if reading.confidence_bps < CONFIDENCE_BPS_MIN:
        found.append("LOW_CONFIDENCE")
    sides = compared(invoice, seller=seller, buyer=buyer, paper=reading.fields)
    found += [side.code for side in sides if not side.agrees]
    return tuple(dict.fromkeys(found))


def compared(
    invoice: Invoice, *, seller: auth.Subject, buyer: auth.Subject, paper: InvoiceOnPaper
) -> tuple[Compared, ...]:
    """Every declared value beside what the document states."""
    number, asked = paper.invoice_number, _still_to_pay(paper)
    same_number = _number(number) == normalised_number(invoice.invoice_number)
    return (
        Compared("invoice_number", invoice.invoice_number, number, same_number),
        Compared("issue_date", invoice.issue_date, paper.issue_date, paper.issue_date == invoice.issue_date),
        Compared("due_date", invoice.maturity_date, paper.due_date, paper.due_date == invoice.maturity_date),
        Compared("total", invoice.face_value, asked, asked == invoice.face_value),
        Compared("currency", invoice.currency, paper.currency, paper.currency == invoice.currency),
        _party("seller", seller, paper.seller),
        _party("buyer", buyer, paper.buyer),
    )


def reason(found: tuple[str, ...]) -> ReviewReason:
    """The worst kind among the findings."""
    kinds = {code.split(":")[0] for code in found}
    return next((reason for reason in ReviewReason if reason in kinds), ReviewReason.DOCUMENT_DOUBTFUL)


def _still_to_pay(paper: InvoiceOnPaper) -> Pence | None:
    """What can be financed: what the document asks for now, else its total less what it says was paid."""
    if paper.amount_due is not None:
        return paper.amount_due
    if paper.total is None or paper.amount_paid is None:
        return paper.total
    return paper.total - paper.amount_paid


def _party(side: str, subject: auth.Subject, paper: PartyOnPaper) -> Compared:
    """The company number decides where it is printed (a letterhead may carry a brand); otherwise the name does."""
    if paper.company_number is not None:
        same = paper.company_number == subject.company_number
        return Compared(f"{side}_company_number", subject.company_number, paper.company_number, same)
    same = paper.name is not None and company_name_key(paper.name) == company_name_key(subject.legal_name)
    return Compared(f"{side}_name", subject.legal_name, paper.name, same)


def _number(text: str | None) -> str | None:
    return None if text is None else normalised_number(text)


def company_name_key(name: str) -> str:
    """``Brackenmoor Retail Group P.L.C.`` and ``BRACKENMOOR RETAIL GROUP PUBLIC LIMITED COMPANY`` are one name."""
    upper = unicodedata.normalize("NFKC", name).upper().replace(".", "").replace("'", "").replace("’", "")
    spaced = "".join(c if c.isalnum() else " " for c in upper.replace("&", " AND "))
    words = f" {' '.join(spaced.split())} "
    for long, short in _LEGAL_FORMS:
        words = words.replace(f" {long} ", f" {short} ")
    return words.strip()


def as_stated(fields: InvoiceOnPaper) -> dict[str, object]:
    """The fields that were read, as JSON values; amounts in pence, under names that say so."""
    stated: dict[str, object] = {}
    for name in InvoiceOnPaper.__slots__:
        match getattr(fields, name):
            case Pence() as amount:
                stated[f"{name}_pence"] = amount.value
            case PartyOnPaper() as party:
                stated[name] = {part: getattr(party, part) for part in PartyOnPaper.__slots__}
            case value:
                stated[name] = value
    return stated


def on_paper(stated: Mapping[str, Any]) -> InvoiceOnPaper:
    """The fields behind :func:`as_stated`; what a reader of its time did not look for is None."""
    fields: dict[str, Any] = {}
    for name in InvoiceOnPaper.__slots__:
        value, pence = stated.get(name), stated.get(f"{name}_pence")
        if pence is not None:
            value = Pence(pence)
        elif name in ("seller", "buyer"):
            value = PartyOnPaper(**(value or {}))
        elif name in ("issue_date", "due_date") and value is not None:
            value = date.fromisoformat(value)
        fields[name] = value
    return InvoiceOnPaper(**fields)
