"""No orphan fact and no orphan job: what is told has a teller, what is promised has a keeper (architecture §6)."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fintokenx.app import wiring
from fintokenx.app.docs import facts
from fintokenx.app.modules import MODULES
from tests.architecture.house import PACKAGE, Copy, modules, nodes, sources, strings


class Nothing:
    """Stands for everything that a handler is built on; building one must do nothing with it."""

    def __getattr__(self, _name: str) -> Nothing:
        return Nothing()

    def __call__(self, *_arguments: object) -> Nothing:
        return Nothing()


def kept() -> set[str]:
    """The names of all jobs that have a handler."""
    nothing: Any = Nothing()
    return {job.name for job in wiring.jobs(nothing, nothing)}


def promised(package: Path, keepers: set[str]) -> dict[str, str]:
    """Job names that code mentions (name → place), but for the tables of handlers and the names of actors.

    A job name is whatever looks like one, `<module>.<job>`, so that names kept in constants count too; `<module>.html`
    is a page's template.
    """
    prefixes = {name.rsplit(".", 1)[-1] for name in modules()} | {name.split(".")[0] for name in keepers}
    found = {}
    for path, tree in sources(package):
        not_jobs = {id(key) for node in nodes(tree) if isinstance(node, ast.Dict) for key in node.keys}
        not_jobs |= {id(node) for maker in ("system", "Job") for call in calls(tree, maker) for node in call.args}
        for text in strings(tree):
            prefix, _, job = str(text.value).partition(".")
            if id(text) not in not_jobs and prefix in prefixes and job.isidentifier() and job != "html":
                found[str(text.value)] = f"{path.relative_to(package).as_posix()}:{text.lineno}"
        for call in (*calls(tree, "enqueue"), *calls(tree, "Afterwards"), *calls(tree, "Periodic")):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    found[argument.value] = f"{path.relative_to(package).as_posix()}:{argument.lineno}"
    return found


def calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """Every call of a function or method of this name."""
    return [
        node
        for node in nodes(tree)
        if isinstance(node, ast.Call) and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]


def told(package: Path) -> set[str]:
    """Names of facts that are made somewhere."""
    return {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for path, tree in sources(package)
        if path.name != "events.py"
        for node in nodes(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }


def untold(names: Iterable[str], package: Path) -> list[str]:
    """Facts that nobody ever tells."""
    return sorted(set(names) - told(package))


def test_every_promised_job_has_a_handler() -> None:
    keepers = kept()
    assert {name: place for name, place in promised(PACKAGE, keepers).items() if name not in keepers} == {}
    assert {later.job for later in wiring.reactions().afterwards} <= keepers
    assert {job.name for job in wiring.periodic()} <= keepers


def test_every_handler_is_asked_for() -> None:
    """By a fact, by the clock or by a command."""
    keepers = kept()
    assert keepers - promised(PACKAGE, keepers).keys() == set()


def test_every_fact_is_told_by_somebody() -> None:
    assert untold((fact.name() for fact in facts()), PACKAGE) == []


def test_every_reaction_is_on_the_wiring_page() -> None:
    wired = {module.name for module in MODULES if module.in_step or module.afterwards}
    assert wired == {path.parent.name for path in PACKAGE.rglob("reactions.py")}


def test_no_two_facts_have_one_name() -> None:
    """Names are published: two facts of one name would be one to a subscriber."""
    names = [fact.name() for fact in facts()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("line", "job"),
    [
        ('STRAY = "settlement.nobody_keeps_this"', "settlement.nobody_keeps_this"),
        ('def stray(tx):\n    tx.enqueue("setlement.disburse", {}, dedupe_key="1")', "setlement.disburse"),
    ],
)
def test_a_promise_that_nobody_keeps_is_caught(copy: Copy, line: str, job: str) -> None:
    keepers = kept()
    with copy.planted({"lifecycle/settlement/service/funding.py": line}):
        assert job in promised(copy.src / "fintokenx", keepers).keys() - keepers


def test_a_fact_that_nobody_tells_is_caught() -> None:
    assert untold(["InvoiceConfirmed", "NobodyTellsThis"], PACKAGE) == ["NobodyTellsThis"]
