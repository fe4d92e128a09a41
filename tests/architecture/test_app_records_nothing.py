"""app starts the process and knows everybody; it holds no rule. What records an entry or raises an alert belongs to a
module or a desk (issue 10 D5)."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.house import PACKAGE, Copy, nodes, sources

RECORDS = {"audit.change", "compliance.raise_alert", "compliance.clear_alert", "compliance.open_case"}


def recorders(package: Path) -> list[str]:
    """Every call in app that records; the red team's attacks apart, which try to."""
    return [
        f"{path.relative_to(package).as_posix()}:{node.lineno}: {ast.unparse(node.func)}"
        for path, tree in sources(package)
        if path.relative_to(package).parts[0] == "app" and "redteam" not in path.parts
        for node in nodes(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in RECORDS
    ]


def test_app_records_nothing() -> None:
    assert recorders(PACKAGE) == []


def test_a_planted_alert_of_app_is_found(copy: Copy) -> None:
    fault = "async def stray(tx, caller):\n    await compliance.raise_alert(tx, caller, cause='', resource='')"
    with copy.planted({"app/health.py": fault}):
        assert [each.split(": ")[1] for each in recorders(copy.src / "fintokenx")] == ["compliance.raise_alert"]
