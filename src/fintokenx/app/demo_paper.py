"""The invoice that the demo plays with: as its truth or our own reader states it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from fintokenx.adapters.documents import IsolatedReader
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper

DISCOUNT_BPS: Final = 150


class StoryFailed(Exception):
    """The story did not end as it should; the message says where."""


@dataclass(frozen=True, slots=True)
class Paper:
    """What the seller will declare, as it stands on the document."""

    path: Path
    number: str
    issued: date
    due: date
    total: Pence
    seller: tuple[str, str]
    buyer: tuple[str, str]
    seller_account: tuple[str, str]

    @classmethod
    def read(cls, path: Path) -> Paper:
        """From the truth beside the document (``.json``) where there is one, else as our own reader reads it.

        :raises StoryFailed: it does not state enough to be declared
        """
        truth = path.with_suffix(".json")
        if truth.exists():
            return cls._from_truth(path, json.loads(truth.read_text()))
        try:
            return cls._from_reading(path, IsolatedReader().read(path.read_bytes()).fields)
        except Refused as refusal:
            raise StoryFailed(f"{path.name} cannot be taken: {refusal.title()} [{refusal.code}]") from refusal

    @classmethod
    def _from_truth(cls, path: Path, truth: dict[str, Any]) -> Paper:
        issued = date.fromisoformat(truth["issue_date"])
        due = truth.get("due_date") or truth.get("implied_due_date")
        days = truth.get("payment_terms_days") or 30
        seller, buyer = truth["seller"], truth["buyer"]
        return cls(
            path=path,
            number=truth["invoice_number"],
            issued=issued,
            due=date.fromisoformat(due) if due else issued + timedelta(days=days),
            total=Pence(truth.get("balance_due_pence", truth["total_pence"])),
            seller=(seller["name"], seller["company_number"] or "19999001"),
            buyer=(buyer["name"], buyer["company_number"] or "19999002"),
            seller_account=(seller["sort_code"].replace("-", ""), seller["account_number"]),
        )

    @classmethod
    def _from_reading(cls, path: Path, fields: InvoiceOnPaper) -> Paper:
        if fields.issue_date is None or fields.total is None or not fields.invoice_number or not fields.seller.name:
            raise StoryFailed(f"{path.name} does not state its number, date, total and seller; nothing to declare")
        return cls(
            path=path,
            number=fields.invoice_number,
            issued=fields.issue_date,
            due=fields.due_date or fields.issue_date + timedelta(days=fields.payment_terms_days or 30),
            total=fields.total,
            seller=(fields.seller.name, fields.seller.company_number or "19999001"),
            buyer=(fields.buyer.name or "The Buyer Ltd", fields.buyer.company_number or "19999002"),
            seller_account=(fields.sort_code or "990777", fields.account_number or "20000077"),
        )

    def declaration(self, obligor_id: str) -> dict[str, Any]:
        """What its seller declares, as the API wants it."""
        return {
            "obligor_id": obligor_id,
            "invoice_number": self.number,
            "issue_date": self.issued.isoformat(),
            "maturity_date": self.due.isoformat(),
            "face_value_pence": self.total.value,
            "asking_discount_bps": DISCOUNT_BPS,
        }
