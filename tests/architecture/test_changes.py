"""What a door returns is part of an entry: Changes that nobody takes are a change that is never made (issue 10 D10)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from tests.architecture.house import PACKAGE, Copy, nodes, sources

ON_PURPOSE: Final[dict[str, str]] = {}
"""Places that drop one, and why."""


def doors(package: Path) -> set[str]:
    """Names of functions that return Changes, or one beside something else."""
    return {
        node.name
        for _path, tree in sources(package)
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.returns is not None
        and "Changes" in {getattr(each, "attr", getattr(each, "id", "")) for each in ast.walk(node.returns)}
    }


def dropped(package: Path) -> list[str]:
    """Calls of doors whose answer goes nowhere."""
    known = doors(package) - also_without(package)
    found = []
    for path, tree in sources(package):
        for node in nodes(tree):
            if not isinstance(node, ast.Expr):
                continue
            call = node.value.value if isinstance(node.value, ast.Await) else node.value
            if isinstance(call, ast.Call):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                if name in known:
                    found.append(f"{path.relative_to(package).as_posix()}:{node.lineno} {name}")
    return found


def also_without(package: Path) -> set[str]:
    """Names that some other function has, too, which returns none: a call by name alone does not tell them apart."""
    return {
        node.name
        for _path, tree in sources(package)
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (
            node.returns is None
            or "Changes" not in {getattr(each, "attr", getattr(each, "id", "")) for each in ast.walk(node.returns)}
        )
    }


def test_no_changes_are_dropped() -> None:
    assert [place for place in dropped(PACKAGE) if place.split(":")[0] not in ON_PURPOSE] == []


def test_dropped_changes_are_caught(copy: Copy) -> None:
    line = (
        "async def odd(tx, caller):\n"
        "    await invoice.committed(tx, caller, reference='FXI-1')\n"
        "    await compliance.raise_alert(tx, caller, cause='X', resource='y', severity=None)"
    )
    with copy.planted({"lifecycle/settlement/service/matching.py": line}):
        found = [each.split(" ")[1] for each in dropped(copy.src / "fintokenx")]
    assert found == ["committed", "raise_alert"]


def test_the_doors_are_found() -> None:
    assert {"raise_alert", "open_case", "advance", "collected", "transfer"} <= doors(PACKAGE)
