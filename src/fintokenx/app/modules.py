"""Every module, observer and desk, from the lowest up: the only list. What each is stands in its ``manifest.py``."""

from __future__ import annotations

from typing import Final

from fintokenx.app.parts import Parts
from fintokenx.audit import manifest as audit
from fintokenx.desks.buyer import manifest as buyer
from fintokenx.desks.explorer import manifest as explorer_page
from fintokenx.desks.operations import manifest as operations
from fintokenx.lifecycle.chainwork import manifest as chainwork
from fintokenx.lifecycle.explorer import manifest as explorer
from fintokenx.lifecycle.invoice import manifest as invoice
from fintokenx.lifecycle.ledger import manifest as ledger
from fintokenx.lifecycle.marketplace import manifest as marketplace
from fintokenx.lifecycle.settlement import manifest as settlement
from fintokenx.lifecycle.tokenisation import manifest as tokenisation
from fintokenx.observers.notification import manifest as notification
from fintokenx.parties.auth import manifest as auth
from fintokenx.parties.compliance import manifest as compliance
from fintokenx.parties.kyc import manifest as kyc
from fintokenx.parties.partner import manifest as partner
from fintokenx.web.module import Module

MODULES: Final[tuple[Module[Parts], ...]] = (
    audit.MODULE, partner.MODULE, auth.MODULE, compliance.MODULE, kyc.MODULE, ledger.MODULE, invoice.MODULE,
    chainwork.MODULE, tokenisation.MODULE, explorer.MODULE, marketplace.MODULE, settlement.MODULE, notification.MODULE,
    operations.MODULE, buyer.MODULE, explorer_page.MODULE,
)  # fmt: skip
