"""What the document says against what was declared (IN-04). Nothing here asks anybody or decides anything."""

from __future__ import annotations

import unicodedata
from typing import Final

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, PartyOnPaper, Reading
from fintokenx.lifecycle.invoice.types import Invoice, ReviewReason, normalised_number
from fintokenx.parties import auth

CONFIDENCE_BPS_MIN: Final = 8_000
"""A reader that trusts itself less than this is not believed."""

_LEGAL_FORMS: Final = (("PUBLIC LIMITED COMPANY", "PLC"), ("LIMITED LIABILITY PARTNERSHIP", "LLP"), ("LIMITED", "LTD"))


def findings(invoice: Invoice, *, seller: auth.Subject, buyer: auth.Subject, reading: Reading) -> tuple[str, ...]:
    """Everything that a person must look at, as codes such as ``FIELD_MISMATCH:total``; nothing when all agrees.

    A field that the document does not state agrees with nothing (``NOT_FOUND:…``).
    """
    found = [*reading.doubts]
    if reading.confidence_bps < CONFIDENCE_BPS_MIN:
        found.append("LOW_CONFIDENCE")
    found += _fields(invoice, reading.fields)
    found += _party("seller", seller, reading.fields.seller)
    found += _party("buyer", buyer, reading.fields.buyer)
    return tuple(dict.fromkeys(found))


def reason(found: tuple[str, ...]) -> ReviewReason:
    """The worst kind among the findings."""
    kinds = {code.split(":")[0] for code in found}
    return next((reason for reason in ReviewReason if reason in kinds), ReviewReason.DOCUMENT_DOUBTFUL)


def _fields(invoice: Invoice, paper: InvoiceOnPaper) -> list[str]:
    pairs: dict[str, tuple[object, object]] = {
        "invoice_number": (_number(paper.invoice_number), _number(invoice.invoice_number)),
        "issue_date": (paper.issue_date, invoice.issue_date),
        "due_date": (paper.due_date, invoice.maturity_date),
        "total": (_still_to_pay(paper), invoice.face_value),
        "currency": (paper.currency, invoice.currency),
    }
    return [_code(name, read) for name, (read, declared) in pairs.items() if read != declared]


def _still_to_pay(paper: InvoiceOnPaper) -> Pence | None:
    """What can be financed: what the document asks for now, else its total less what it says was paid."""
    if paper.amount_due is not None:
        return paper.amount_due
    if paper.total is None or paper.amount_paid is None:
        return paper.total
    return paper.total - paper.amount_paid


def _party(side: str, subject: auth.Subject, paper: PartyOnPaper) -> list[str]:
    """The company number decides where it is printed (a letterhead may carry a brand); otherwise the name does."""
    if paper.company_number is not None:
        same = paper.company_number == subject.company_number
        return [] if same else [f"FIELD_MISMATCH:{side}_company_number"]
    read = company_name_key(paper.name) if paper.name is not None else None
    return [] if read == company_name_key(subject.legal_name) else [_code(f"{side}_name", read)]


def _code(name: str, read: object) -> str:
    return f"NOT_FOUND:{name}" if read is None else f"FIELD_MISMATCH:{name}"


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
