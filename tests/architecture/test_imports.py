"""Who may know whom: the contracts hold, and each of them can break."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from tests.architecture.house import ROOT, SRC, Copy, contracts, run_on

LINT = ("-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))")
MODULE = '"""A module."""\n'


@dataclass(frozen=True)
class Fault:
    """What is planted, the contract that must break, and what its report must name."""

    contract: str
    files: dict[str, str]
    named: str = field(default="")


def module_at(folder: str) -> dict[str, str]:
    """The files of an empty module."""
    return {f"{folder}/{name}.py": MODULE for name in ("__init__", "service", "store", "types")}


FAULTS = {
    "an up-call": Fault(
        "life",
        {"lifecycle/invoice/service/submit.py": "from fintokenx.lifecycle import settlement"},
        "fintokenx.lifecycle.invoice.service.submit -> fintokenx.lifecycle.settlement",
    ),
    "an up-call hidden in a function": Fault(
        "life",
        {"lifecycle/ledger/service.py": "def hidden() -> None:\n    from fintokenx.lifecycle import marketplace"},
        "fintokenx.lifecycle.ledger.service -> fintokenx.lifecycle.marketplace",
    ),
    "an up-call under TYPE_CHECKING": Fault(
        "life",
        {
            "lifecycle/invoice/store.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from fintokenx.lifecycle.tokenisation import Token"
        },
        "fintokenx.lifecycle.invoice.store -> fintokenx.lifecycle.tokenisation",
    ),
    "an engine that knows what it drives": Fault(
        "life",
        {"lifecycle/chainwork/jobs/chain_round.py": "from fintokenx.lifecycle.tokenisation import Kind"},
        "fintokenx.lifecycle.chainwork.jobs.chain_round -> fintokenx.lifecycle.tokenisation",
    ),
    "a stage that knows the engine above it": Fault(
        "life",
        {"lifecycle/invoice/service/confirm.py": "from fintokenx.lifecycle import chainwork"},
        "fintokenx.lifecycle.invoice.service.confirm -> fintokenx.lifecycle.chainwork",
    ),
    "tokens that know who looks at them": Fault(
        "life",
        {"lifecycle/tokenisation/service/reads.py": "from fintokenx.lifecycle.explorer import Viewer"},
        "fintokenx.lifecycle.tokenisation.service.reads -> fintokenx.lifecycle.explorer",
    ),
    "an explorer that knows the market": Fault(
        "life",
        {"lifecycle/explorer/service/holder.py": "from fintokenx.lifecycle import marketplace"},
        "fintokenx.lifecycle.explorer.service.holder -> fintokenx.lifecycle.marketplace",
    ),
    "an undeclared sixth stage": Fault("life", module_at("lifecycle/refinancing"), "refinancing"),
    "an undeclared folder": Fault("folders", {"helpers/__init__.py": MODULE}, "helpers"),
    "a module that knows an adapter": Fault(
        "folders",
        {"parties/kyc/service/gates.py": "from fintokenx.adapters.sumsub import SumsubClient"},
        "fintokenx.parties.kyc.service.gates -> fintokenx.adapters.sumsub",
    ),
    "a stage that knows the sandbox": Fault(
        "folders",
        {"lifecycle/settlement/jobs.py": "from fintokenx.sandbox.clock import SandboxClock"},
        "fintokenx.lifecycle.settlement.jobs -> fintokenx.sandbox.clock",
    ),
    "a kernel that knows the record": Fault(
        "folders",
        {"kernel/money.py": "from fintokenx import audit"},
        "fintokenx.kernel.money -> fintokenx.audit",
    ),
    "a record that knows a stage": Fault(
        "folders",
        {"audit/store.py": "from fintokenx.lifecycle.invoice.events import InvoiceConfirmed"},
        "fintokenx.audit.store -> fintokenx.lifecycle.invoice.events",
    ),
    "compliance that knows kyc": Fault(
        "parties",
        {"parties/compliance/service.py": "from fintokenx.parties import kyc"},
        "fintokenx.parties.compliance.service -> fintokenx.parties.kyc",
    ),
    "an observer that knows a desk": Fault(
        "folders",
        {"observers/notification/service.py": "from fintokenx.desks import buyer"},
        "fintokenx.observers.notification.service -> fintokenx.desks.buyer",
    ),
    "a design system that knows a desk": Fault(
        "folders",
        {"web/pages.py": "from fintokenx.desks.buyer import pages"},
        "fintokenx.web.pages -> fintokenx.desks.buyer.pages",
    ),
    "a desk that knows another": Fault(
        "desks",
        {"desks/explorer/pages.py": "from fintokenx.desks.buyer import page_content"},
        "fintokenx.desks.explorer.pages -> fintokenx.desks.buyer",
    ),
    "a desk that goes around a door": Fault(
        "desk-doors",
        {"desks/buyer/pages.py": "def hidden() -> None:\n    from fintokenx.lifecycle.invoice.service import submit"},
        "fintokenx.desks.buyer.pages -> fintokenx.lifecycle.invoice.service.submit",
    ),
    "operations that know a job of a module": Fault(
        "desk-doors",
        {"desks/operations/halt.py": "from fintokenx.lifecycle.chainwork.jobs.blocks import BlockWatch"},
        "fintokenx.desks.operations.halt -> fintokenx.lifecycle.chainwork.jobs.blocks",
    ),
    "a desk that reads a store": Fault(
        "desk-doors",
        {"desks/explorer/pages.py": "from fintokenx.parties.auth import store"},
        "fintokenx.desks.explorer.pages -> fintokenx.parties.auth.store",
    ),
    "a kernel that renders": Fault(
        "no-web", {"kernel/money.py": "from jinja2 import Template"}, "fintokenx.kernel.money -> jinja2"
    ),
    "a kernel that knows a route": Fault(
        "no-web",
        {"kernel/caller.py": "def hidden() -> None:\n    from fastapi import Request  # noqa"},
        "fintokenx.kernel.caller -> fastapi",
    ),
    "an observer that knows another": Fault(
        "observers",
        {
            **module_at("observers/second"),
            "observers/notification/service.py": "from fintokenx.observers import second",
        },
        "fintokenx.observers.notification.service -> fintokenx.observers.second",
    ),
    "an adapter that knows another": Fault(
        "adapters",
        {"adapters/fps/client.py": "from fintokenx.adapters.ais import OpenBankingClient"},
        "fintokenx.adapters.fps.client -> fintokenx.adapters.ais",
    ),
    "an exchange that knows a vendor": Fault(
        "adapters",
        {"adapters/outbound/circuit.py": "from fintokenx.adapters.sumsub import webhook"},
        "fintokenx.adapters.outbound.circuit -> fintokenx.adapters.sumsub",
    ),
    "an undeclared adapter": Fault("adapters", {"adapters/post_office/__init__.py": MODULE}, "post_office"),
    "a stray file in a module": Fault("inside", {"lifecycle/invoice/utils.py": MODULE}, "utils"),
    "a service that knows its jobs": Fault(
        "inside",
        {"lifecycle/marketplace/service.py": "from fintokenx.lifecycle.marketplace import jobs"},
        "fintokenx.lifecycle.marketplace.service -> fintokenx.lifecycle.marketplace.jobs",
    ),
    "a route that reads the store": Fault(
        "one-call",
        {"lifecycle/invoice/http/api.py": "from fintokenx.lifecycle.invoice import store"},
        "fintokenx.lifecycle.invoice.http.api -> fintokenx.lifecycle.invoice.store",
    ),
    "a module on the network": Fault(
        "network",
        {"parties/kyc/service/gates.py": "def hidden() -> None:\n    import httpx  # noqa"},
        "fintokenx.parties.kyc.service.gates -> httpx",
    ),
    "a module with a database driver of its own": Fault(
        "database",
        {"parties/partner/store.py": "import asyncpg"},
        "fintokenx.parties.partner.store -> asyncpg",
    ),
    "a mock server that knows its client": Fault(
        "strangers",
        {"sandbox/providers/bank.py": "from fintokenx.adapters.fps import ClearBankClient"},
        "fintokenx.sandbox.providers.bank -> fintokenx.adapters.fps",
    ),
    "a cycle": Fault(
        "acyclic",
        {"adapters/chain/rpc.py": "from fintokenx.adapters.chain import client"},
        "No cycles are allowed in fintokenx.adapters.chain.",
    ),
}


def test_the_contracts_hold() -> None:
    report = run_on(SRC, *LINT)
    assert report.returncode == 0, report.stdout + report.stderr


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(copy: Copy, name: str) -> None:
    fault = FAULTS[name]
    with copy.planted(fault.files):
        report = copy.run(*LINT)
    assert report.returncode == 1, report.stdout + report.stderr
    assert f"{contracts()[f'importlinter:contract:{fault.contract}']['name']} BROKEN" in report.stdout
    assert fault.named in report.stdout.split("Broken contracts")[1]


def test_no_contract_makes_an_exception() -> None:
    """An upward need is a fact or belongs above both; it is never an ignored import."""
    parser = contracts()
    assert [name for name in parser.sections() if parser.has_option(name, "ignore_imports")] == []


def test_every_contract_has_a_planted_fault() -> None:
    declared = {name.split(":")[2] for name in contracts().sections() if ":" in name}
    assert declared == {fault.contract for fault in FAULTS.values()}


def test_an_import_by_name_at_run_time_is_caught_by_ruff() -> None:
    """Contracts cannot see it."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", "--stdin-filename"]
    planted = 'import importlib\n\nimportlib.import_module("fintokenx.lifecycle.settlement")\n'
    report = subprocess.run(
        [*command, "src/fintokenx/kernel/money.py", "-"],
        cwd=ROOT,
        input=planted,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 1
    assert "TID251" in report.stdout
