"""Invoices, what is declared about them, and how they may be refused."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.errors import Forbidden, Invalid, NotFound, Refused
from fintokenx.kernel.money import Pence
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.lifecycle.invoice.transitions import InvoiceState

SEALED: Final = {("buyer_confirmations", "ip_sealed"): SealedColumn("ip", ("confirmed_by",))}
"""The sealed columns of invoice."""


class UnknownInvoice(NotFound):
    """There is no such invoice that you may see."""


class UnknownDocument(NotFound):
    """There is no such document that you may see."""


class DocumentNotAsRecorded(Refused):
    """The stored bytes are not those on record; they are not shown, and we look into it."""

    code = "DOCUMENT_NOT_AS_RECORDED"
    status = 500


class MaturityInPast(Invalid):
    """The invoice is due today or earlier: there is nothing left to finance."""

    code = "MATURITY_IN_PAST"


class MaturityBeforeIssue(Invalid):
    """The due date is not after the issue date."""

    code = "MATURITY_BEFORE_ISSUE"


TENOR_DAYS_MAX = 365
"""The longest paper that any programme takes today."""


class TenorTooLong(Invalid):
    """The invoice is due more than a year after its date: no programme takes such paper."""

    code = "TENOR_TOO_LONG"


class IssuedInFuture(Invalid):
    """The issue date lies in the future."""

    code = "ISSUED_IN_FUTURE"


class SameParty(Invalid):
    """Seller and buyer are the same company."""

    code = "ORIGINATOR_IS_OBLIGOR"


class ObligorUnknown(Invalid):
    """The buyer is not a registered, active buyer."""

    code = "OBLIGOR_NOT_ACTIVE"


class ObligorIsNoBuyer(Invalid):
    """The company named as the buyer is registered here in another role; name its subject with the role buyer."""

    code = "OBLIGOR_NOT_A_BUYER"


class DuplicateInvoice(Refused):
    """This invoice has been submitted before."""

    code = "DUPLICATE_INVOICE"
    status = 409

    def __init__(self, kind: str, reference: str, *, own: bool) -> None:
        """``reference`` is the invoice that was there first; the refusal names it to its own seller only."""
        self.kind = kind
        self.reference = reference
        super().__init__(kind, kind=kind, **({"existing_reference": reference} if own else {}))


class OnBehalfOfSeller(Invalid):
    """An administrator submits on behalf of a seller; say which one."""

    code = "ON_BEHALF_OF_REQUIRED"


class NumberUnreadable(Invalid):
    """An invoice number has a letter of the Latin alphabet or a digit at least."""

    code = "INVOICE_NUMBER_UNREADABLE"


class AlreadyConfirmed(Refused):
    """This invoice has been confirmed before."""

    code = "ALREADY_CONFIRMED"
    status = 409


class PageChanged(Refused):
    """The page is not what you were shown; please read it again before you confirm."""

    code = "PAGE_CHANGED"
    status = 409


class NotYourInvoice(Forbidden):
    """The link is for another invoice."""

    code = "LINK_FOR_ANOTHER_INVOICE"


class MoreThanOutstanding(Refused):
    """The amount is nothing, or more than is still owed on the invoice."""

    code = "MORE_THAN_OUTSTANDING"
    status = 409


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a seller says about the document that it uploads."""

    obligor_id: str
    invoice_number: str
    issue_date: date
    maturity_date: date
    face_value: Pence
    asking_discount_bps: int | None
    """None: what the tenant's terms ask for."""


@dataclass(frozen=True, slots=True)
class Document:
    """A stored artefact. ``sha256`` is the hex digest of its clear bytes."""

    type: str
    storage_ref: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class KeptDocument(Document):
    """An artefact of an invoice, under its id."""

    id: str


@dataclass(frozen=True, slots=True)
class VisionRun:
    """What a reader made of a document, as it is kept. ``findings`` are codes; ``fields`` are JSON values."""

    model: str
    confidence_bps: int
    extracted_fields: dict[str, Any]
    findings: list[str]
    ran_at: Instant


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an invoice waits or was rejected, in words that its seller may read."""

    code: str
    field: str | None
    """Of the declaration, where one is meant."""
    text: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as it stands. Amounts in pence; ``document_sha256`` is hex."""

    tenant_id: str
    reference: str
    originator_id: str
    obligor_id: str
    invoice_number: str
    face_value: Pence
    collected: Pence
    currency: str
    issue_date: date
    tenor_days: int
    maturity_date: date
    asking_discount_bps: int
    state: InvoiceState
    token_reference: str | None
    document_sha256: str
    created_at: Instant

    @property
    def outstanding(self) -> Pence:
        """Face less what has been collected."""
        return self.face_value - self.collected


class ReviewReason(StrEnum):
    """Why a person looks at an invoice, the worst first; what exactly was found stands on the vision run."""

    FIELD_MISMATCH = "FIELD_MISMATCH"
    XML_AND_PAGE_DISAGREE = "XML_AND_PAGE_DISAGREE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    NO_TEXT_LAYER = "NO_TEXT_LAYER"
    DOCUMENT_DOUBTFUL = "DOCUMENT_DOUBTFUL"


_NOT_ALPHANUMERIC: Final = re.compile(r"[^0-9A-Z]")


def normalised_number(invoice_number: str) -> str:
    """``INV-00417``, ``inv 00417`` and ``INV00417`` are one number (IN-07); empty when nothing can be compared."""
    return _NOT_ALPHANUMERIC.sub("", unicodedata.normalize("NFKC", invoice_number).upper())
