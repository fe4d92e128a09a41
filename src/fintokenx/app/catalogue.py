"""Every machine and every action of the platform: what the migration loads, the docs print and the tests walk."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Action, Carries, together, with_callers
from fintokenx.audit import carries as audit_carries
from fintokenx.audit import transitions as audit
from fintokenx.kernel.machine import Machine
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.lifecycle import invoice as invoices
from fintokenx.lifecycle.invoice import carries as invoice_carries
from fintokenx.lifecycle.invoice import transitions as invoice
from fintokenx.lifecycle.ledger import carries as ledger_carries
from fintokenx.lifecycle.ledger import transitions as ledger
from fintokenx.lifecycle.marketplace import carries as marketplace_carries
from fintokenx.lifecycle.marketplace import transitions as marketplace
from fintokenx.lifecycle.settlement import carries as settlement_carries
from fintokenx.lifecycle.settlement import transitions as settlement
from fintokenx.lifecycle.tokenisation import carries as tokenisation_carries
from fintokenx.lifecycle.tokenisation import transitions as tokenisation
from fintokenx.observers import notification as notifications
from fintokenx.observers.notification import carries as notification_carries
from fintokenx.observers.notification import transitions as notification
from fintokenx.parties import auth as subjects
from fintokenx.parties import compliance as cases
from fintokenx.parties import kyc as files
from fintokenx.parties.auth import carries as auth_carries
from fintokenx.parties.auth import transitions as auth
from fintokenx.parties.compliance import carries as compliance_carries
from fintokenx.parties.compliance import transitions as compliance
from fintokenx.parties.kyc import carries as kyc_carries
from fintokenx.parties.kyc import transitions as kyc
from fintokenx.parties.partner import carries as partner_carries
from fintokenx.parties.partner import transitions as partner

_MODULES = (
    audit, partner, auth, compliance, kyc, ledger, invoice, tokenisation, marketplace, settlement, notification
)  # fmt: skip

ACTIONS: Final[tuple[Action, ...]] = tuple(action for module in _MODULES for action in module.ACTIONS)
CARRIES: Final[Carries] = together(
    one.CARRIES
    for one in (
        audit_carries, partner_carries, auth_carries, compliance_carries, kyc_carries, ledger_carries, invoice_carries,
        tokenisation_carries, marketplace_carries, settlement_carries, notification_carries,
    )
)  # fmt: skip
"""Which rows the entries of each action may carry, by all modules that record it."""
MACHINES: Final[tuple[Machine, ...]] = with_callers(
    (machine for module in _MODULES for machine in module.MACHINES), CARRIES
)
"""With every action that walks their lines, whichever module it is of."""


def machine(name: str) -> Machine:
    """One of them. :raises KeyError: there is none of this name"""
    return {known.name: known for known in MACHINES}[name]


SEALED: Final[dict[tuple[str, str], SealedColumn]] = {
    **subjects.SEALED, **cases.SEALED, **files.SEALED, **invoices.SEALED, **notifications.SEALED
}  # fmt: skip
"""Every column with personal data, by table and name: what it is called, and whose key it is under (AD-14)."""
