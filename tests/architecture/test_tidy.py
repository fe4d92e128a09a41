"""Small things that must stay true of every file, each with a fault that it must catch (P-08, P-22)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.house import PACKAGE, ROOT, nodes, parsed, sources, text_of, tracked

MONEY = re.compile(r"pence|amount|\bface\b|advance|discount|price|fee\b", re.IGNORECASE)
CLOCK_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns",
    "time.gmtime", "time.localtime",
}  # fmt: skip
MACHINE_TIME = {
    "kernel/clock.py": "the one system clock",
    "kernel/db.py": "a tenant pin lives by the database's machine, not by business time",
    "adapters/blobs/store.py": "S3 credentials live by Amazon's clock",
    "app/redteam/attacks/pins.py": "forges tenant pins, which live by the database's machine",
    "app/local.py": "a new sandbox clock starts from real time",
}
RANDOM_MODULES = {"random", "secrets"}
RANDOM_CALLS = {"uuid1", "uuid4", "uuid.uuid1", "uuid.uuid4", "os.urandom"}
ENTROPY_PLACES = ("app/", "sandbox/")
# Spelled in pieces, so that this file does not name them itself.
BANNED_WORDS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK|WI" r"P)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:work|root|home/\w+|Users/\w+|mnt|tmp/\w+_jobs)/")
REGISTRY = re.compile(
    r"--(?:extra-)?index-url[ =]|--find-links[ =]\S+:|^\s*registry\s*=\s*http|\"resolved\":\s*\"https?:|"
    r"//[\w.-]*(?:artifactory|nexus|pypi|pythonhosted|npmjs|registry)[\w.-]*[/:]",
    re.MULTILINE,
)
GENERATED = {"package-lock.json", "runtime.lock", "dev.lock", "contracts.lock"}


def names_in(node: ast.AST) -> str:
    """Every identifier below a node."""
    return " ".join(
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    )


def inexact_money(place: str, tree: ast.Module) -> list[str]:
    """``/``, float(), round() on money; Decimal anywhere; a float that is called pence."""
    found = []
    for node in nodes(tree):
        fault = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and MONEY.search(names_in(node)):
            fault = "divides money"
        elif isinstance(node, ast.Call) and names_in(node.func) in ("float", "round"):
            fault = f"{names_in(node.func)}() of money" if any(MONEY.search(names_in(a)) for a in node.args) else None
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imported = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            fault = "imports decimal" if {"decimal", "fractions"} & set(imported) else None
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            name = names_in(node.target) if isinstance(node, ast.AnnAssign) else node.arg
            inexact = re.search(r"\bfloat\b|\bDecimal\b", ast.unparse(node.annotation))
            fault = "money as a float" if inexact and MONEY.search(name) else None
        if fault:
            found.append(f"{place}:{getattr(node, 'lineno', 0)}: {fault}")
    return found


def asks_the_machine(place: str, tree: ast.Module) -> list[str]:
    """Time and chance that do not come in as arguments."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Call):
            called = ".".join(ast.unparse(node.func).split(".")[-2:])
            timed = called in CLOCK_CALLS and place not in MACHINE_TIME and not place.startswith("sandbox/")
            if timed or (called in RANDOM_CALLS and not place.startswith(ENTROPY_PLACES)):
                found.append(f"{place}:{node.lineno}: {called}()")
        if isinstance(node, ast.Import | ast.ImportFrom) and not place.startswith(ENTROPY_PLACES):
            imported = {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
            found += [f"{place}:{node.lineno}: imports {name}" for name in sorted(RANDOM_MODULES & imported)]
    return found


def imports_by_name(place: str, tree: ast.Module) -> list[str]:
    """Imports that no contract can see."""
    return [
        f"{place}:{node.lineno}: {names_in(node.func)}"
        for node in nodes(tree)
        if isinstance(node, ast.Call)
        and names_in(node.func).split(" ")[0] in ("import_module", "__import__", "resolve_name")
    ]


def untitled(place: str, tree: ast.Module) -> list[str]:
    """Modules that do not open with a sentence that says what lives there."""
    opening = (ast.get_docstring(tree) or "").strip().split("\n\n")[0]
    sentence = len(opening.split()) >= 2 and opening[0].isupper() and re.search(r"[.:]$|[.:]\s", opening)
    return [] if sentence else [f"{place}: opens with no sentence"]


def leftovers(name: str, text: str) -> list[str]:
    """Words and places that must not be committed."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for rule, pattern in (("word", BANNED_WORDS), ("machine path", MACHINE_PATH), ("registry", REGISTRY)):
            if rule == "word" and Path(name).name in GENERATED:
                continue
            if pattern.search(line):
                found.append(f"{name}:{number}: {rule}: {line.strip()[:80]}")
    return found


Rule = Callable[[str, ast.Module], list[str]]
RULES: tuple[Rule, ...] = (inexact_money, asks_the_machine, imports_by_name, untitled)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_source_file_is_tidy(rule: Rule) -> None:
    found = [fault for path, tree in sources() for fault in rule(path.relative_to(PACKAGE).as_posix(), tree)]
    assert found == []


def test_nothing_is_left_over_in_tracked_files() -> None:
    texts = [(path.relative_to(ROOT).as_posix(), text_of(path)) for path in tracked()]
    found = [fault for name, text in texts if text is not None for fault in leftovers(name, text)]
    assert found == []


def test_the_reviewed_exceptions_still_stand_for_something() -> None:
    assert [name for name in MACHINE_TIME if not (PACKAGE / name).is_file()] == []


PLANTED: list[tuple[Rule, str]] = [
    (inexact_money, "half = invoice.face_pence / 2"),
    (inexact_money, "shown = float(amount)"),
    (inexact_money, "shown = round(net_advance_pence, 2)"),
    (inexact_money, "from decimal import Decimal"),
    (inexact_money, "def pay(amount_pence: float) -> None: ..."),
    (asks_the_machine, "from datetime import datetime\nat = datetime.now()"),
    (asks_the_machine, "import datetime\nat = datetime.datetime.utcnow()"),
    (asks_the_machine, "import time\nat = time.time()"),
    (asks_the_machine, "import random"),
    (asks_the_machine, "from uuid import uuid4\nx = uuid4()"),
    (asks_the_machine, "import os\nnonce = os.urandom(16)"),
    (imports_by_name, "import importlib\nimportlib.import_module('x')"),
    (imports_by_name, "from importlib import import_module\nimport_module('x')"),
    (imports_by_name, "__import__('x')"),
    (untitled, "x = 1"),
    (untitled, '"""service"""'),
]


@pytest.mark.parametrize(("rule", "text"), PLANTED)
def test_planted_untidiness_is_caught(rule: Rule, text: str) -> None:
    assert rule("lifecycle/invoice/service.py", parsed(text)) != []


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # TO" + "DO later",
        "# X" + "XX",
        "cd " + "/" + "work/main",
        'open("' + "/" + 'home/somebody/key")',
        "pip install --index" + "-url=x",
        '"resol' + 'ved": "https://somewhere/x.tgz"',
        "see https://" + "pypi.example.internal/simple",
    ],
)
def test_planted_leftovers_are_caught(line: str) -> None:
    assert leftovers("any.md", line) != []


def test_tidy_lines_are_left_alone() -> None:
    good = "total = total_pence // 2\nshare = 'a' / 'b'\nhalf = seconds / 2"
    assert inexact_money("any.py", parsed(good)) == []
    assert leftovers("any.md", "paths such as .fintokenx/pg or https://example.org/wo" + "rk/x") == []
