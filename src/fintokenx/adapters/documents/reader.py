"""The document reader: safety first, then the fields, then what a person must look at.

Confidence in basis points, a rule and not a model: an XML invoice starts at 10,000, a text layer at
9,500; each doubt that blocks a decision takes 3,000, every other doubt 1,500, each optional field that
is not found 200; never below 0. No text layer means 0, because nothing was read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lxml import etree

from fintokenx.adapters.documents.layout import Layout, lay_out
from fintokenx.adapters.documents.page_invoice import PageInvoice, read_page
from fintokenx.adapters.documents.pdf_safety import check_pdf
from fintokenx.adapters.documents.values import Terms, same_name
from fintokenx.adapters.documents.xml_invoice import XmlInvoice, read_cii, read_ubl
from fintokenx.adapters.documents.xml_safety import looks_like_xml, parse_xml, xml_kind
from fintokenx.lifecycle.invoice.ports import (
    DocumentKind,
    EmptyFile,
    FileTooLarge,
    InvoiceOnPaper,
    Reading,
    UnsupportedContent,
)

XML_READER: Final = "fintokenx-xml/1"
TEXT_READER: Final = "fintokenx-text/1"

_BLOCKING: Final = (
    "NOT_FOUND:",
    "XML_AND_PAGE_DISAGREE:",
    "TOTALS_DO_NOT_ADD_UP",
    "LINES_DO_NOT_ADD_UP",
    "AMBIGUOUS:total",
    "MIXED_CURRENCIES",
    "HIDDEN_TEXT",
    "PAYEE_IS_NOT_SELLER",
)
_OPTIONAL: Final = ("net", "vat", "sort_code", "account_number")


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

    def read(self, content: bytes) -> Reading:
        """Inspect, then read the fields. Amounts in pence, dates as dates; None where the document is silent.

        :raises DocumentRefused: not an invoice, unsupported currency, anything that `inspect` refuses
        """
        sniffed = self._sniff(content)
        if sniffed.xml is None:
            return _read_pdf(lay_out(content))
        stated = read_ubl(sniffed.xml) if sniffed.kind == "ubl" else read_cii(sniffed.xml)
        if sniffed.kind == "factur_x":
            return _read_factur_x(stated, lay_out(content), sniffed.xml_text)
        return _reading(sniffed.kind, XML_READER, 10_000, stated.fields, stated.terms, stated.doubts, sniffed.xml_text)

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
            return _Sniffed("factur_x", root, safe.invoice_xml.decode())
        if looks_like_xml(content):
            root = parse_xml(content, bytes_max=limits.xml_bytes_max)
            return _Sniffed(xml_kind(root), root, content.decode("utf-8-sig"))
        raise UnsupportedContent("neither PDF nor XML")


def _read_pdf(layout: Layout) -> Reading:
    if not layout.rows:
        return Reading("pdf", TEXT_READER, 0, InvoiceOnPaper(), ("NO_TEXT_LAYER",), layout.text)
    page = read_page(layout)
    doubts = [*page.doubts, *_layout_doubts(layout)]
    return _reading("pdf", TEXT_READER, 9_500, page.fields, page.terms, doubts, layout.text)


def _read_factur_x(stated: XmlInvoice, layout: Layout, xml_text: str) -> Reading:
    """The XML gives the fields; the page, which is what people approve, must not say anything else."""
    text = f"{layout.text}\n{xml_text}"
    if not layout.rows:
        doubts = [*stated.doubts, "NO_TEXT_LAYER"]
        return replace(_reading("factur_x", XML_READER, 0, stated.fields, stated.terms, doubts, text), confidence_bps=0)
    page = read_page(layout)
    doubts = [*stated.doubts, *_layout_doubts(layout), *_disagreements(stated.fields, page)]
    return _reading("factur_x", XML_READER, 10_000, stated.fields, stated.terms, doubts, text)


def _layout_doubts(layout: Layout) -> list[str]:
    """Text that cannot be seen may say what the page does not."""
    return ["HIDDEN_TEXT"] if layout.has_invisible_text else []


def _disagreements(stated: InvoiceOnPaper, page: PageInvoice) -> list[str]:
    """Fields on which XML and page differ, and totals that the page does not show or that do not add up on it."""
    doubts = [each for each in page.doubts if each in ("TOTALS_DO_NOT_ADD_UP", "MIXED_CURRENCIES")]
    printed = page.fields
    for name in ("invoice_number", "total"):
        if getattr(printed, name) is None:
            doubts.append(f"NOT_ON_PAGE:{name}")
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
        *("amount_paid", "sort_code", "account_number", "purchase_order"),
    )
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in plain]
    for role in ("seller", "buyer"):
        for name in ("name", "company_number", "vat_number"):
            pairs.append((f"{role}.{name}", getattr(getattr(one, role), name), getattr(getattr(other, role), name)))
    return pairs


def _reading(
    kind: DocumentKind,
    reader: str,
    confidence_bps: int,
    fields: InvoiceOnPaper,
    terms: Terms | None,
    doubts: list[str],
    text: str,
) -> Reading:
    """Derive the due date where only terms are given, check what every invoice must satisfy, and rate."""
    if fields.due_date is None and terms and fields.issue_date:
        fields = replace(fields, due_date=terms.due(fields.issue_date))
    elif terms and fields.issue_date and fields.due_date != terms.due(fields.issue_date):
        doubts = [*doubts, "TERMS_AND_DUE_DATE_DISAGREE"]
    doubts = [*doubts, *_missing(fields), *_sums(fields)]
    if fields.issue_date and fields.due_date and fields.due_date < fields.issue_date:
        doubts.append("DUE_BEFORE_ISSUE")
    doubts = list(dict.fromkeys(doubts))
    lost = sum(3_000 if each.startswith(_BLOCKING) else 1_500 for each in doubts)
    lost += sum(200 for name in _OPTIONAL if getattr(fields, name) is None)
    lost += sum(200 for party in (fields.seller, fields.buyer) if party.name is None)
    return Reading(kind, reader, max(0, confidence_bps - lost), fields, tuple(doubts), text)


def _missing(fields: InvoiceOnPaper) -> list[str]:
    required = ("invoice_number", "issue_date", "due_date", "currency", "total")
    return [f"NOT_FOUND:{name}" for name in required if getattr(fields, name) is None]


def _sums(fields: InvoiceOnPaper) -> list[str]:
    doubts = ["PART_PAID"] if fields.amount_paid else []
    if fields.total is None:
        return doubts
    if not fields.total:
        doubts.append("NOTHING_TO_PAY")
    if fields.net is not None and fields.vat is not None and fields.net + fields.vat != fields.total:
        doubts.append("TOTALS_DO_NOT_ADD_UP")
    return doubts
