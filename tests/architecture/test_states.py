"""A state or an event is a member of its machine's enum: text is for transitions.py and the SQL (issue 10 D8)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from fintokenx.app.modules import MODULES
from fintokenx.kernel.machine import AnyMachine, machine
from fintokenx.parties.auth.transitions import SessionEvent, SessionState
from tests.architecture.house import PACKAGE, Copy, nodes, sources
from tests.support import ROOT

FOLDERS: Final = ("parties", "lifecycle", "observers", "desks")
OTHER_WORDS: Final = {
    "lifecycle/settlement/carries.py": "FIAT_RETRY and CHAIN_REFUSED are actions, too",
    "lifecycle/settlement/http.py": "NEW and SAME are what an officer says of a line",
    "lifecycle/settlement/ports.py": "what a bank says of a payment",
    "lifecycle/settlement/service/collecting.py": "SETTLED is the reason for a burn, too",
    "lifecycle/settlement/service/line_identity.py": "NEW and SAME are verdicts about lines",
    "lifecycle/settlement/service/reads.py": "REFUND_DUE is what stands against an erasure",
    "lifecycle/settlement/service/payments.py": "FIAT_RETRY is an action, too",
    "parties/kyc/ports.py": "CLEAR, REFER and FAIL are verdicts of providers",
    "parties/kyc/types.py": "CLEAR, REFER and FAIL are verdicts of gates",
}
"""Where a word that is also a state means something else."""


def machines() -> list[AnyMachine]:
    """Of all modules, as they declare them."""
    return [one for module in MODULES for one in module.machines]


def loose(package: Path) -> list[str]:
    """Texts in modules that are the name of a state, and what is compared with a state or handed to a machine."""
    states = {str(state) for one in machines() for state in one.states}
    found = []
    for path, tree in sources(package):
        place = path.relative_to(package).as_posix()
        if not place.startswith(FOLDERS) or path.name in ("transitions.py", "__init__.py"):
            continue
        told = {id(node.value) for node in nodes(tree) if isinstance(node, ast.keyword) and node.arg == "examples"}
        told |= {id(node) for each in nodes(tree) if id(each) in told for node in ast.walk(each)}
        for node in nodes(tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or id(node) in told:
                continue
            if node.value in states and node.value.isupper() and place not in OTHER_WORDS:
                found.append(f"{place}:{node.lineno} {node.value}")
        found += [f"{place}:{line} {text}" for line, text in handed_over(tree)]
    return found


def handed_over(tree: ast.Module) -> list[tuple[int, str]]:
    """Texts that are compared with a ``.state``, or given to a machine's ``next``."""
    found = []
    for node in nodes(tree):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "state":
            asked = list(node.comparators)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "next":
            asked = [*node.args, *(keyword.value for keyword in node.keywords)]
        for each in asked:
            found += [
                (text.lineno, text.value)
                for text in ast.walk(each)
                if isinstance(text, ast.Constant) and isinstance(text.value, str)
            ]
    return found


def test_no_state_or_event_is_written_as_text() -> None:
    assert loose(PACKAGE) == []


@pytest.mark.parametrize(
    "line",
    ['KEPT = ("FIAT_FINAL",)', 'def odd(x):\n    return x.state == "anything"', 'def odd(m, x):\n    m.next(x, "go")'],
)
def test_a_state_as_text_is_caught(copy: Copy, line: str) -> None:
    with copy.planted({"lifecycle/marketplace/service.py": line}):
        assert loose(copy.src / "fintokenx")


IMPORTS: Final = (
    "from fintokenx.lifecycle.settlement.transitions import DISBURSEMENT, DisbursementEvent, DisbursementState"
)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("DisbursementState.FIAT_FINL", 'has no attribute "FIAT_FINL"'),
        ('DISBURSEMENT.next("FIAT_FINAL", DisbursementEvent.FUND)', "incompatible type"),
        ("DISBURSEMENT.next(DisbursementState.FIAT_FINAL, DisbursementState.CLOSED)", "incompatible type"),
    ],
)
def test_a_mistyped_state_is_a_type_error(tmp_path: Path, line: str, said: str) -> None:
    """As make check runs it."""
    (tmp_path / "mistyped.py").write_text(f"{IMPORTS}\n{line}\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", tmp_path / "mistyped.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said in checked.stdout, checked.stdout + checked.stderr


def test_a_machine_whose_enums_and_lines_differ_is_refused() -> None:
    lines = [("", "open", "ACTIVE", "SESSION_OPEN")]
    with pytest.raises(ValueError, match="no line has REVOKED"):
        machine("session", SessionState, SessionEvent, lines)
    with pytest.raises(ValueError, match="'OPEN' is not a valid SessionState"):
        machine("session", SessionState, SessionEvent, [("", "open", "OPEN", "SESSION_OPEN")])
