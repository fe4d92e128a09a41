"""Rows of modules as their tables take them: one factory per noun, valid as it is, any column changed by name.

For tests that begin in the middle. Whoever tests how a row comes about uses the module that makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.money import Pence
from tests.support.harness.database import World, may_carry_anything

SEED: Final = "TEST_SEED"
"""The action under which tests put rows of other modules into any state; ``let_tests_seed`` makes it."""


def tenant(tenant_id: str, *, at: datetime, **columns: Any) -> audit.RowChange:
    """An open tenant."""
    row = {
        "tenant_id": tenant_id, "display_name": "A", "theme": {}, "plan": "partner", "scope_rules": {},
        "mail_from": "invoices@a.example", "collections_account_name": "A Collections",
        "collections_sort_code": "040004", "collections_account_number": "12345678", "asking_discount_bps": 180,
        "state": "ACTIVE", "opened_at": at,
    }  # fmt: skip
    return audit.insert("tenants", row | columns)


def subject(tenant_id: str, subject_id: str, role: str, *, at: datetime, **columns: Any) -> audit.RowChange:
    """A company that is active and was cleared ``at``."""
    row = {
        "tenant_id": tenant_id, "id": subject_id, "role": role, "legal_name": f"A {role} Ltd", "state": "ACTIVE",
        "created_at": at, "cleared_at": at,
    }  # fmt: skip
    return audit.insert("subjects", row | columns)


def onboarding_file(
    tenant_id: str, file_id: str, *, subject_id: str, company_name: str, at: datetime, **columns: Any
) -> audit.RowChange:
    """A file that nobody has handed in yet."""
    row = {
        "tenant_id": tenant_id, "subject_id": subject_id, "id": file_id, "form_version": "2026-06", "state": "DRAFT",
        "company_name": company_name, "company_number": "01234567", "opened_at": at,
    }  # fmt: skip
    return audit.insert("onboarding_files", row | columns)


def designated_account(
    tenant_id: str,
    account_id: str,
    *,
    subject_id: str,
    file_id: str,
    account_name: str,
    sort_code: str,
    account_number: str,
    at: datetime,
) -> audit.RowChange:
    """The account to which a subject is paid."""
    row = {
        "tenant_id": tenant_id, "subject_id": subject_id, "id": account_id, "file_id": file_id,
        "account_name": account_name, "sort_code": sort_code, "account_number": account_number, "designated_at": at,
    }  # fmt: skip
    return audit.insert("designated_accounts", row)


def invoice_values(
    tenant_id: str, reference: str, *, originator_id: str, obligor_id: str, face: Pence, at: datetime, **columns: Any
) -> dict[str, Any]:
    """The columns of ``invoice``, for whoever needs them again."""
    row = {
        "tenant_id": tenant_id, "reference": reference, "originator_id": originator_id, "obligor_id": obligor_id,
        "invoice_number": reference, "invoice_number_normalised": reference.replace("-", ""),
        "face_value_pence": face, "collected_pence": 0, "currency": "GBP", "issue_date": date(2026, 6, 1),
        "tenor_days": 60, "maturity_date": date(2026, 7, 31), "asking_discount_bps": 180, "state": "CONFIRMED",
        "token_reference": None, "document_sha256": hashlib.sha256(reference.encode()).hexdigest(), "created_at": at,
    }  # fmt: skip
    return row | columns


def invoice(
    tenant_id: str, reference: str, *, originator_id: str, obligor_id: str, face: Pence, at: datetime, **columns: Any
) -> audit.RowChange:
    """An invoice of June that its buyer has confirmed; due in 60 days."""
    parties = {"originator_id": originator_id, "obligor_id": obligor_id}
    return audit.insert("invoices", invoice_values(tenant_id, reference, **parties, face=face, at=at, **columns))


def token(of_invoice: Mapping[str, Any], reference: str, *, token_id_hex: str, at: datetime) -> audit.RowChange:
    """A token that was asked for, of the invoice with this row."""
    nothing = ("contract_address", "holder_subject_id", "holder_wallet", "minted_at", "burned_at", "burn_tx")
    row = {
        "tenant_id": of_invoice["tenant_id"], "reference": reference, "invoice_reference": of_invoice["reference"],
        "obligor_id": of_invoice["obligor_id"], "token_id_hex": token_id_hex,
        "face_pence": of_invoice["face_value_pence"], "due_date": of_invoice["maturity_date"],
        "document_sha256": of_invoice["document_sha256"], "state": "REQUESTED", "requested_at": at,
        **dict.fromkeys(nothing),
    }  # fmt: skip
    return audit.insert("tokens", row)


def wallet(tenant_id: str, wallet_id: str, *, subject_id: str, address: str, at: datetime) -> audit.RowChange:
    """A custody wallet that the chain does not know yet."""
    row = {
        "tenant_id": tenant_id, "id": wallet_id, "subject_id": subject_id, "address": address,
        "key_name": f"custody/{subject_id}", "claims": 0, "claims_expire_at": None, "state": "CREATED",
        "created_at": at, "registered_at": None,
    }  # fmt: skip
    return audit.insert("wallets", row)


def token_slice(
    tenant_id: str, slice_id: str, *, token_reference: str, index: int, face: Pence, holder: str, address: str
) -> audit.RowChange:
    """A lender's part of a token."""
    row = {
        "tenant_id": tenant_id, "id": slice_id, "token_reference": token_reference, "index": index,
        "face_pence": face, "holder_subject_id": holder, "holder_wallet": address,
    }  # fmt: skip
    return audit.insert("slices", row)


async def let_tests_seed(world: World, states: Mapping[str, Iterable[str]], *actions: str) -> None:
    """Let SEED put rows of these machines into any of these states, and the system record ``actions``."""
    admin = await world.connect("postgres")
    known_states = {machine: list(known) for machine, known in states.items()}
    pairs = [(m, a, b) for m, known in known_states.items() for a in ("", *known) for b in known if a != b]
    await admin.executemany(
        "insert into fx.machine_transitions (machine, from_state, event, to_state, action)"
        f" values ($1, $2, 'seed', $3, '{SEED}')",
        pairs,
    )
    for action in (SEED, *actions):
        await admin.execute(
            "insert into app.audit_actions values ($1, false, '{system}', 'forbidden') on conflict do nothing", action
        )
    await may_carry_anything(admin, SEED)
    await admin.close()
