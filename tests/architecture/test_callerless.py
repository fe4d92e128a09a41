"""Doors without a caller are opened only by those who have asked who calls (P-04, issue 9 A28).

Which doors those are is reviewed (``WITHOUT_CALLER`` of the red team, ``SHARED_INSIDE``). Here each place that opens
one is looked at: it stands in a function that is handed the caller, and so is knocked at by test_guards; or in a
helper of such functions in the same file; or it is one of ``ASK_FIRST``, which find out who calls.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from fintokenx.app.redteam import doors
from fintokenx.kernel.db import Tx
from fintokenx.parties import auth
from tests.architecture.house import PACKAGE, SHARED_INSIDE, Copy, nodes, sources

pytestmark = pytest.mark.anyio

ASK_FIRST: Final = {
    "app/inspect.py _officer": "makes a caller of the officer who is named on the command line",
    "desks/buyer/pages.py _opened": "the link's secret makes the caller",
    "desks/explorer/pages.py _page": "the page's link makes the caller",
    "desks/explorer/pages.py ask": "the page's link makes the caller",
    "parties/auth/service/authenticator.py _key": "the API key makes the caller",
}
"""Places where nobody is known yet, and what makes somebody known."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Use:
    """One call of one door, within these functions (the outermost first)."""

    door: str
    inside: tuple[Function, ...]
    line: int


def _calls(tree: ast.AST, inside: tuple[Function, ...] = ()) -> Iterator[tuple[ast.Call, tuple[Function, ...]]]:
    if isinstance(tree, Function):
        inside = (*inside, tree)
    if isinstance(tree, ast.Call):
        yield tree, inside
    for child in ast.iter_child_nodes(tree):
        yield from _calls(child, inside)


def _uses(tree: ast.Module, listed: Iterable[str]) -> list[Use]:
    """Calls of listed doors: as ``module.door``, as ``file.door`` within a service, or by the bare name."""
    homes: dict[str, set[str]] = {}
    for door in listed:
        *folders, home, name = door.split(".")
        homes.setdefault(name, set()).update({home, "service"}, folders[-1:] if "service" in folders else ())
    found = []
    for call, inside in _calls(tree):
        match call.func:
            case ast.Attribute(value=ast.Name(id=home), attr=name) if home in homes.get(name, ()):
                found.append(Use(name, inside, call.lineno))
            case ast.Name(id=name) if name in homes:
                found.append(Use(name, inside, call.lineno))
    return found


def _takes_caller(functions: tuple[Function, ...]) -> bool:
    return any(given.arg == "caller" for one in functions for given in (*one.args.args, *one.args.kwonlyargs))


def _is_helped(tree: ast.Module, functions: tuple[Function, ...], known: frozenset[str]) -> bool:
    """Whether the functions are handed the caller, are listed, or help only such in their file."""
    if _takes_caller(functions) or any(one.name in known for one in functions):
        return True
    private = [one.name for one in functions if one.name.startswith("_") and not one.name.startswith("__")]
    if not private:
        return False
    callers = [
        inside
        for call, inside in _calls(tree)
        if private[0] in (getattr(call.func, "id", None), getattr(call.func, "attr", None))
        and not any(one.name == private[0] for one in inside)
    ]
    return bool(callers) and all(_is_helped(tree, inside, known) for inside in callers)


def opened_by_strangers(package: Path) -> list[str]:
    """Every place that opens a door without a caller and has not asked who calls."""
    listed = {**doors.WITHOUT_CALLER, **SHARED_INSIDE}
    found = []
    for path, tree in sources(package):
        place = path.relative_to(package).as_posix()
        owner = "fintokenx." + place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        module = owner.partition(".service")[0]
        known = frozenset(door.rsplit(".", 1)[1] for door in listed if door.startswith(module + "."))
        for use in _uses(tree, listed):
            name = use.inside[-1].name if use.inside else "(the file)"
            if f"{place} {name}" not in ASK_FIRST and not _is_helped(tree, use.inside, known):
                found.append(f"{place}:{use.line}: {name} opens {use.door}")
    return found


def test_only_who_has_asked_opens_a_door_without_a_caller() -> None:
    assert opened_by_strangers(PACKAGE) == []


def test_places_that_ask_first_are_there() -> None:
    there = {
        f"{path.relative_to(PACKAGE).as_posix()} {node.name}"
        for path, tree in sources(PACKAGE)
        for node in nodes(tree)
        if isinstance(node, Function)
    }
    assert ASK_FIRST.keys() <= there


@pytest.mark.parametrize(
    ("path", "lines", "caught"),
    [
        ("parties/kyc/http.py", "async def stray(tx):\n    return await auth.find_subject(tx, '')", "find_subject"),
        ("lifecycle/marketplace/service.py", "async def stray(tx):\n    return await kyc.designated_account(tx, '')",
         "designated_account"),
        ("lifecycle/marketplace/service.py",
         "async def _read(tx):\n    await auth.subject(tx, '')\n\nasync def stray(tx):\n    await _read(tx)",
         "subject"),
    ],
)  # fmt: skip
def test_a_planted_stranger_is_caught(copy: Copy, path: str, lines: str, caught: str) -> None:
    with copy.planted({path: lines}):
        [found] = opened_by_strangers(copy.src / "fintokenx")
    assert found.startswith(path)
    assert found.endswith(f"opens {caught}")


async def test_a_planted_door_without_a_caller_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def email_of(tx: Tx, subject_id: str) -> None:
        await tx.value("select 1 where $1", subject_id)

    monkeypatch.setattr(auth, "email_of", email_of, raising=False)
    monkeypatch.setattr(auth, "__all__", [*auth.__all__, "email_of"])
    assert await doors.faults_of({}) == ["fintokenx.parties.auth.email_of: asks for no caller, and is not reviewed"]
