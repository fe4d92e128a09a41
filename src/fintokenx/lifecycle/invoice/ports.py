"""What invoice needs of the outside, in its own words: somebody who can read a document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from threading import Event
from typing import Literal, Protocol

from fintokenx.kernel.errors import Refused
from fintokenx.kernel.money import Pence

DocumentKind = Literal["pdf", "factur_x", "ubl", "cii"]


class DocumentRefused(Refused):
    """The file cannot be taken as an invoice."""

    code = "DOCUMENT_REFUSED"
    status = 422


class EmptyFile(DocumentRefused):
    """The file is empty."""

    code = "DOCUMENT_EMPTY"


class FileTooLarge(DocumentRefused):
    """The file is larger than we take."""

    code = "DOCUMENT_TOO_LARGE"
    status = 413


class TooManyPages(DocumentRefused):
    """The document has more pages than we take."""

    code = "DOCUMENT_TOO_MANY_PAGES"


class UnsupportedContent(DocumentRefused):
    """The content is neither a PDF nor an XML invoice, whatever the name says."""

    code = "DOCUMENT_TYPE_UNSUPPORTED"
    status = 415


class EncryptedDocument(DocumentRefused):
    """The PDF is password-protected; please send an open copy."""

    code = "DOCUMENT_ENCRYPTED"


class DamagedDocument(DocumentRefused):
    """The document is damaged or incomplete."""

    code = "DOCUMENT_DAMAGED"


class ActiveContent(DocumentRefused):
    """The document carries active content (scripts, launch actions, embedded programs)."""

    code = "DOCUMENT_ACTIVE_CONTENT"


class NotAnInvoice(DocumentRefused):
    """The document is not an invoice (a credit note, for example)."""

    code = "DOCUMENT_NOT_AN_INVOICE"


class CurrencyUnsupported(DocumentRefused):
    """Only invoices in pounds sterling are taken."""

    code = "CURRENCY_UNSUPPORTED"


@dataclass(frozen=True, slots=True)
class PartyOnPaper:
    """A party as the document names it; None where it does not."""

    name: str | None = None
    company_number: str | None = None
    """Companies House number, eight characters, upper case."""
    vat_number: str | None = None
    """``GB`` + nine digits, no spaces."""


@dataclass(frozen=True, slots=True)
class InvoiceOnPaper:
    """The fields that a document states. None means that it does not say, never a guess."""

    invoice_number: str | None = None
    issue_date: date | None = None
    due_date: date | None = None
    payment_terms_days: int | None = None
    currency: str | None = None
    net: Pence | None = None
    vat: Pence | None = None
    total: Pence | None = None
    """The gross invoice total."""
    amount_paid: Pence | None = None
    amount_due: Pence | None = None
    """What is asked for now (BT-115), where the document says so beside the total."""
    seller: PartyOnPaper = PartyOnPaper()
    buyer: PartyOnPaper = PartyOnPaper()
    sort_code: str | None = None
    """Six digits."""
    account_number: str | None = None
    """Eight digits."""
    purchase_order: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of a document. ``doubts`` lists machine codes that a person must look at,
    such as ``TOTALS_DO_NOT_ADD_UP``, ``XML_AND_PAGE_DISAGREE:total`` or ``NO_TEXT_LAYER``."""

    kind: DocumentKind
    reader: str
    """Name and version, e.g. ``fintokenx-text/2``: stands on the vision_runs row."""
    confidence_bps: int
    """0 … 10,000."""
    fields: InvoiceOnPaper
    doubts: tuple[str, ...]
    text: str
    """The text layer or the XML, archived as ocr_extract."""


class DocumentReader(Protocol):
    """Pure and synchronous: run it off the event loop. Never runs or fetches anything a document names."""

    def inspect(self, content: bytes) -> DocumentKind:
        """Decide by content what this is and whether we take it. :raises DocumentRefused: a named subclass"""
        ...

    def read(self, content: bytes, given_up: Event | None = None) -> Reading:
        """Read the fields. Once ``given_up`` is set nobody waits for them: it ends soon, with any fault.

        :raises DocumentRefused: not an invoice, unsupported currency, unreadable
        """
        ...
