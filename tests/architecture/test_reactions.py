"""No orphan fact and no orphan job: what is told has a teller, what is promised has a keeper (architecture §6)."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from typing import Any

from fintokenx.app import wiring
from fintokenx.app.docs import facts
from tests.architecture.house import PACKAGE, Copy, modules, sources, strings

HOME = ("tnt_any",)


class Nothing:
    """Stands for everything that a handler is built on; building one must do nothing with it."""

    def __getattr__(self, _name: str) -> Nothing:
        return Nothing()


def kept() -> set[str]:
    """The names of all jobs that have a handler."""
    nothing: Any = Nothing()
    return set(wiring.handlers(*(nothing for _ in signature(wiring.handlers).parameters)))


def promised(package: Path) -> dict[str, str]:
    """Job names that code mentions anywhere, but for the tables of handlers: name → place."""
    prefixes = tuple(f"{name.rsplit('.', 1)[-1]}." for name in modules())
    found = {}
    for path, tree in sources(package):
        declared = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
        for text in strings(tree):
            value = str(text.value)
            head, _, tail = value.partition(".")
            if id(text) not in declared and f"{head}." in prefixes and tail.isidentifier():
                found[value] = f"{path.relative_to(package).as_posix()}:{text.lineno}"
    return found


def told(package: Path) -> set[str]:
    """Names of facts that are made somewhere."""
    return {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for path, tree in sources(package)
        if path.name != "events.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }


def untold(names: Iterable[str], package: Path) -> list[str]:
    """Facts that nobody ever tells."""
    return sorted(set(names) - told(package))


def test_every_promised_job_has_a_handler() -> None:
    keepers = kept()
    assert {name: place for name, place in promised(PACKAGE).items() if name not in keepers} == {}
    assert {later.job for later in wiring.reactions().afterwards} <= keepers
    assert {job.name for job in wiring.periodic(HOME)} <= keepers


def test_every_handler_is_asked_for() -> None:
    """By a fact, by the clock or by a command."""
    assert kept() - promised(PACKAGE).keys() == set()


def test_every_fact_is_told_by_somebody() -> None:
    assert untold((fact.name() for fact in facts()), PACKAGE) == []


def test_every_reaction_is_on_the_wiring_page() -> None:
    wired = {module.__name__ for module in wiring.REACTING}
    written = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("reactions.py")}
    assert wired == written


def test_a_fact_hears_itself_named_once() -> None:
    """Names are published: two facts of one name would be one to a subscriber."""
    names = [fact.name() for fact in facts()]
    assert len(set(names)) == len(names)


def test_a_promise_without_a_keeper_and_an_untold_fact_are_caught(copy: Copy) -> None:
    with copy.planted({"lifecycle/settlement/service/funding.py": 'STRAY = "settlement.nobody_keeps_this"'}):
        planted = promised(copy.src / "fintokenx")
    assert "settlement.nobody_keeps_this" in planted.keys() - kept()
    assert untold(["NobodyTellsThis"], PACKAGE) == ["NobodyTellsThis"]
