"""What the architecture tests share: where the house stands, its order, its sources, and a copy to plant faults in."""

from __future__ import annotations

import ast
import configparser
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "fintokenx"
DEPTH = {"audit": 1, "parties": 2, "lifecycle": 2, "observers": 2}
"""How many folders below the package a module of this chapter lies."""


def contracts() -> configparser.ConfigParser:
    """The import contracts."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    return parser


def _layers(contract: str) -> list[str]:
    lines = contracts()[f"importlinter:contract:{contract}"]["layers"].split()
    return [line.strip("()") for line in reversed(lines)]


SHARED_INSIDE = {
    # Locks and reads that the files of one service share, inside commands that have been guarded.
    "fintokenx.lifecycle.invoice.service.reads.locked": "a lock for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.collections_account": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.designated_account": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.funding": "rows for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.outward": "rows for the files of its service",
    "fintokenx.lifecycle.settlement.service.lines.lock": "a lock for the files of its service",
    "fintokenx.lifecycle.settlement.service.lines.verdicts": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.reads.locked": "a lock for the files of its service",
    "fintokenx.lifecycle.settlement.service.reads.of_instruction": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.payments.locked": "a lock for the files of its service",
    "fintokenx.lifecycle.tokenisation.service.reads.locked_token": "a lock for the files of its service",
    "fintokenx.parties.kyc.service.renewing.cleared_at": "a read for the files of its service",
    "fintokenx.parties.kyc.service.running.started": "rows for the files of its service",
}
"""Functions of services without a caller that are no doors: what they are for."""


def order() -> list[str]:
    """Every module that has tables, lowest first, as the contracts say: a module may know those before it."""
    chapters = {"parties": _layers("parties"), "lifecycle": _layers("life")}
    names = [name for folder in _layers("folders") for name in chapters.get(folder, [folder])]
    at = names.index("observers")
    observers = sorted(path.name for path in (PACKAGE / "observers").iterdir() if (path / "__init__.py").is_file())
    return [*names[:at], *observers, *names[at + 1 :]]


def modules() -> list[str]:
    """The dotted names of the modules: `fintokenx.audit`, `fintokenx.parties.auth` …"""
    found = []
    for chapter, depth in DEPTH.items():
        homes = [PACKAGE / chapter] if depth == 1 else sorted((PACKAGE / chapter).iterdir())
        found += [".".join(home.relative_to(SRC).parts) for home in homes if (home / "__init__.py").is_file()]
    return found


def module_of(path: Path, package: Path = PACKAGE) -> str:
    """Whose file this is: the module's last name, else its folder's (`kernel`, `app` …)."""
    parts = path.relative_to(package).parts
    return parts[DEPTH.get(parts[0], 1) - 1]


def sources(package: Path = PACKAGE) -> Iterator[tuple[Path, ast.Module]]:
    """Every source file and its syntax tree."""
    for path in sorted(package.rglob("*.py")):
        yield path, parsed(path.read_text(encoding="utf-8"))


parsed = functools.lru_cache(maxsize=None)(ast.parse)
"""Equal texts are parsed once; nobody changes a tree."""


@functools.cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Every node of a syntax tree."""
    return tuple(ast.walk(tree))


def strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every string constant (pieces of f-strings too) that is not a docstring or a note below a name."""
    notes = {id(node.value) for node in nodes(tree) if isinstance(node, ast.Expr)}
    for node in nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
            yield node


def tracked(root: Path = ROOT) -> list[Path]:
    """Every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    return [root / name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()]


def text_of(path: Path) -> str | None:
    """The text of a file; None when it is not text."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


class Copy:
    """A copy of the sources in which a fault can be planted; it stands in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.src = folder / "src"
        shutil.copytree(SRC, self.src, ignore=shutil.ignore_patterns("__pycache__"))

    @contextmanager
    def planted(self, files: dict[str, str]) -> Iterator[None]:
        """Append to files that exist, make those that do not; undone at the end. Paths start below the package."""
        before: dict[Path, str | None] = {}
        try:
            for name, fault in files.items():
                path = self.src / "fintokenx" / name
                before[path] = path.read_text(encoding="utf-8") if path.exists() else None
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text((before[path] or "") + "\n" + fault + "\n", encoding="utf-8")
            yield
        finally:
            for path, text in before.items():
                path.unlink() if text is None else path.write_text(text, encoding="utf-8")
            self._remove_empty_folders()

    def _remove_empty_folders(self) -> None:
        for folder, inner, files in os.walk(self.src, topdown=False):
            if not inner and not files:
                Path(folder).rmdir()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program for which this copy is the house."""
        return run_on(self.src, *command)


def run_on(src: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program for which ``src`` holds the package; wide lines, so that no name is broken."""
    environment = {**os.environ, "PYTHONPATH": str(src), "COLUMNS": "400", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
