"""What becomes true of an invoice, for those above."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.bus import Fact


@dataclass(frozen=True, slots=True)
class InvoiceSubmitted(Fact):
    """A seller has uploaded an invoice; it waits to be read."""

    reference: str


@dataclass(frozen=True, slots=True)
class InvoiceAwaitingBuyer(Fact):
    """The document agrees with what was declared; the buyer is to be asked."""

    reference: str
    obligor_id: str


@dataclass(frozen=True, slots=True)
class InvoiceInReview(Fact):
    """Something about the document goes to a person."""

    reference: str
    originator_id: str


@dataclass(frozen=True, slots=True)
class InvoiceRejected(Fact):
    """The document cannot be taken, or a person declined it: the invoice has come to its end."""

    reference: str
    originator_id: str


@dataclass(frozen=True, slots=True)
class InvoiceConfirmed(Fact):
    """The buyer has confirmed the debt."""

    reference: str


@dataclass(frozen=True, slots=True)
class InvoiceDeclined(Fact):
    """The buyer says that this is not its debt."""

    reference: str
    originator_id: str
