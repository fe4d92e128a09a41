"""The document reader: safety first, then the fields, then what a person must look at.

Confidence in basis points, a rule and not a model: an XML invoice starts at 10,000, a text layer at
9,500; each doubt that blocks a decision takes 3,000, every other doubt 1,500, each optional field that
is not found 200; never below 0. No text layer means 0, because nothing was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Final

from lxml import etree

from fintokenx.adapters.documents import en16931
from fintokenx.adapters.documents.layout import Layout, lay_out
from fintokenx.adapters.documents.page_invoice import read_page
from fintokenx.adapters.documents.pdf_safety import check_pdf
from fintokenx.adapters.documents.terms import Terms
from fintokenx.adapters.documents.values import same_name
from fintokenx.adapters.documents.xml_invoice import XmlInvoice, read_cii, read_ubl
from fintokenx.adapters.documents.xml_safety import looks_like_xml, parse_xml, xml_kind, xml_text
from fintokenx.lifecycle.invoice.ports import (
    DocumentKind,
    EmptyFile,
    FileTooLarge,
    InvoiceOnPaper,
    Reading,
    UnsupportedContent,
)

XML_READER: Final = "fintokenx-xml/2"
TEXT_READER: Final = "fintokenx-text/2"

_BLOCKING: Final = (
    *("NOT_FOUND:", "NOT_ON_PAGE:", "XML_AND_PAGE_DISAGREE:", "AMBIGUOUS:total", "AMBIGUOUS:due_date", "INSTALMENTS"),
    *("MIXED_CURRENCIES", "HIDDEN_TEXT", "PAYEE_IS_NOT_SELLER", "SUM_LACKS:"),
    *en16931.DOUBTS,
)
_OPTIONAL: Final = ("net", "vat", "sort_code", "account_number")
_REQUIRED: Final = ("invoice_number", "issue_date", "due_date", "currency", "total")


@dataclass(frozen=True, slots=True)
class Limits:
    """What we take at most."""

    bytes_max: int = 10 * 1024 * 1024
    pages_max: int = 50
    xml_bytes_max: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Sniffed:
    kind: DocumentKind
    xml: etree._Element | None
    xml_text: str


class TextReader:
    """A `DocumentReader` without OCR, in this process and on this thread (PDFium is not thread-safe).

    Use `IsolatedReader` for files from outside.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def inspect(self, content: bytes) -> DocumentKind:
        """Decide by content what this is and whether we take it.

        :raises DocumentRefused: a named subclass
        """
        return self._sniff(content).kind

    def read(self, content: bytes, given_up: Event | None = None) -> Reading:  # noqa: ARG002 — the port's; it cannot stop
        """Inspect, then read the fields. Amounts in pence, dates as dates; None where the document is silent.

        :raises DocumentRefused: not an invoice, unsupported currency, anything that `inspect` refuses
        """
        sniffed = self._sniff(content)
        if sniffed.xml is None:
            return _read_pdf(lay_out(content))
        stated = read_ubl(sniffed.xml) if sniffed.kind == "ubl" else read_cii(sniffed.xml)
        if sniffed.kind == "factur_x":
            return _read_factur_x(stated, lay_out(content), sniffed.xml_text)
        fields, doubts = _completed(stated.fields, stated.terms, stated.doubts)
        return _rated(sniffed.kind, XML_READER, 10_000, fields, doubts + _missing(fields), sniffed.xml_text)

    def _sniff(self, content: bytes) -> _Sniffed:
        limits = self._limits
        if not content:
            raise EmptyFile("0 bytes")
        if len(content) > limits.bytes_max:
            raise FileTooLarge(f"at most {limits.bytes_max} bytes")
        if content.startswith(b"%PDF-"):
            safe = check_pdf(content, pages_max=limits.pages_max, xml_bytes_max=limits.xml_bytes_max)
            if safe.invoice_xml is None:
                return _Sniffed("pdf", None, "")
            root = parse_xml(safe.invoice_xml, bytes_max=limits.xml_bytes_max)
            if xml_kind(root) != "cii":
                raise UnsupportedContent("the embedded XML is not a CII invoice")
            return _Sniffed("factur_x", root, xml_text(safe.invoice_xml))
        if looks_like_xml(content):
            root = parse_xml(content, bytes_max=limits.xml_bytes_max)
            return _Sniffed(xml_kind(root), root, xml_text(content))
        raise UnsupportedContent("neither PDF nor XML")


def _read_pdf(layout: Layout) -> Reading:
    if not layout.rows:
        return Reading("pdf", TEXT_READER, 0, InvoiceOnPaper(), ("NO_TEXT_LAYER",), layout.text)
    page = read_page(layout)
    fields, doubts = _completed(page.fields, page.terms, [*page.doubts, *_layout_doubts(layout)])
    return _rated("pdf", TEXT_READER, 9_500, fields, doubts + _missing(fields), layout.text)


def _read_factur_x(stated: XmlInvoice, layout: Layout, xml_text: str) -> Reading:
    """Both are read. The XML gives the fields; the page, which is what people approve, keeps every doubt of its own."""
    text = f"{layout.text}\n{xml_text}"
    fields, doubts = _completed(stated.fields, stated.terms, stated.doubts)
    doubts += _missing(fields)
    if not layout.rows:
        return replace(_rated("factur_x", XML_READER, 0, fields, [*doubts, "NO_TEXT_LAYER"], text), confidence_bps=0)
    page = read_page(layout)
    printed, on_page = _completed(page.fields, page.terms, [*page.doubts, *_layout_doubts(layout)])
    on_page += [each.replace("NOT_FOUND:", "NOT_ON_PAGE:") for each in _missing(printed)]
    return _rated("factur_x", XML_READER, 10_000, fields, doubts + on_page + _disagreements(fields, printed), text)


def _layout_doubts(layout: Layout) -> list[str]:
    """Text that cannot be seen may say what the page does not."""
    return ["HIDDEN_TEXT"] if layout.has_invisible_text else []


def _disagreements(stated: InvoiceOnPaper, printed: InvoiceOnPaper) -> list[str]:
    """Fields on which XML and page differ."""
    doubts = []
    for name, ours, theirs in _pairs(stated, printed):
        if ours is None or theirs is None or ours == theirs:
            continue
        if name.endswith(".name") and same_name(str(ours), str(theirs)):
            continue
        doubts.append(f"XML_AND_PAGE_DISAGREE:{name}")
    return doubts


def _pairs(one: InvoiceOnPaper, other: InvoiceOnPaper) -> list[tuple[str, object, object]]:
    plain = (
        *("invoice_number", "issue_date", "due_date", "payment_terms_days", "currency", "net", "vat", "total"),
        *("amount_paid", "amount_due", "sort_code", "account_number", "purchase_order"),
    )
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in plain]
    for role in ("seller", "buyer"):
        for name in ("name", "company_number", "vat_number"):
            pairs.append((f"{role}.{name}", getattr(getattr(one, role), name), getattr(getattr(other, role), name)))
    return pairs


def _completed(fields: InvoiceOnPaper, terms: Terms | None, doubts: Sequence[str]) -> tuple[InvoiceOnPaper, list[str]]:
    """Derive the due date where only terms are given, and check what every invoice must satisfy."""
    found = [*doubts]
    due = terms.due(fields.issue_date) if terms and fields.issue_date else None
    if fields.due_date is None and due and not {"AMBIGUOUS:due_date", "UNREADABLE:due_date"} & set(found):
        fields = replace(fields, due_date=due)
    elif fields.due_date and due and fields.due_date != due:
        found.append("TERMS_AND_DUE_DATE_DISAGREE")
    if fields.amount_paid:
        found.append("PART_PAID")
    if fields.total is not None and not fields.total:
        found.append("NOTHING_TO_PAY")
    if fields.issue_date and fields.due_date and fields.due_date < fields.issue_date:
        found.append("DUE_BEFORE_ISSUE")
    return fields, found


def _missing(fields: InvoiceOnPaper) -> list[str]:
    return [f"NOT_FOUND:{name}" for name in _REQUIRED if getattr(fields, name) is None]


def _rated(
    kind: DocumentKind, reader: str, confidence_bps: int, fields: InvoiceOnPaper, doubts: list[str], text: str
) -> Reading:
    doubts = list(dict.fromkeys(doubts))
    lost = sum(3_000 if each.startswith(_BLOCKING) else 1_500 for each in doubts)
    lost += sum(200 for name in _OPTIONAL if getattr(fields, name) is None)
    lost += sum(200 for party in (fields.seller, fields.buyer) if party.name is None)
    return Reading(kind, reader, max(0, confidence_bps - lost), fields, tuple(doubts), text)
