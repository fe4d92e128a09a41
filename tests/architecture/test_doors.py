"""Other modules come in by the front door."""

from __future__ import annotations

import pytest

from tests.architecture.doors import trespasses
from tests.architecture.house import Copy

FAULTS = {
    "a foreign store": (
        "lifecycle/settlement/service/funding.py",
        "from fintokenx.lifecycle.invoice import store as foreign",
        "fintokenx.lifecycle.settlement.service.funding -> fintokenx.lifecycle.invoice.store",
    ),
    "a foreign service": (
        "parties/kyc/service/gates.py",
        "import fintokenx.parties.auth.service.subjects",
        "fintokenx.parties.kyc.service.gates -> fintokenx.parties.auth.service.subjects",
    ),
    "a foreign type, hidden in a function": (
        "lifecycle/marketplace/service.py",
        "def hidden() -> None:\n    from fintokenx.lifecycle.tokenisation.types import Token  # noqa",
        "fintokenx.lifecycle.marketplace.service -> fintokenx.lifecycle.tokenisation.types",
    ),
    "a desk in a service": (
        "desks/buyer/pages.py",
        "from fintokenx.lifecycle.invoice.service import submit",
        "fintokenx.desks.buyer.pages -> fintokenx.lifecycle.invoice.service.submit",
    ),
    "the application past a desk's door": (
        "app/wiring.py",
        "from fintokenx.desks.buyer.pages import show",
        "fintokenx.app.wiring -> fintokenx.desks.buyer.pages",
    ),
    "an adapter in a service": (
        "adapters/sumsub/client.py",
        "from fintokenx.parties.kyc.service import gates",
        "fintokenx.adapters.sumsub.client -> fintokenx.parties.kyc.service.gates",
    ),
    "an adapter at a module's root": (
        "adapters/sumsub/client.py",
        "from fintokenx.parties.kyc import must_be_active",
        "fintokenx.adapters.sumsub.client -> fintokenx.parties.kyc",
    ),
    "the application in a store": (
        "app/wiring.py",
        "from fintokenx.lifecycle.ledger import store",
        "fintokenx.app.wiring -> fintokenx.lifecycle.ledger.store",
    ),
    "a mock server in the kernel": (
        "sandbox/providers/modes.py",
        "from fintokenx.kernel.settings import Settings",
        "fintokenx.sandbox.providers.modes -> fintokenx.kernel.settings",
    ),
}


def test_modules_are_entered_by_their_doors() -> None:
    """Root, events and ports for modules; ports for adapters; entry points too for the wiring page."""
    assert trespasses() == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_trespass_is_caught(copy: Copy, fault: str) -> None:
    path, line, trespass = FAULTS[fault]
    with copy.planted({path: line}):
        assert trespass in copy.run("-m", "tests.architecture.doors").stdout.splitlines()
