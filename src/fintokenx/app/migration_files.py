"""The files of migrations/: their order, whose each is, and what refuses one that is not as it must be (ADR 0023)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final


class MigrationRefused(Exception):
    """The database stays as it was; the message names the file."""


class MigrationMisnamed(MigrationRefused):
    """A file is not named after a moment (UTC) and its subject, or a repeatable one after its place and subject."""


class MigrationWithoutModule(MigrationRefused):
    """The first line of a file does not say whose it is."""


class MigrationOfUnknownModule(MigrationRefused):
    """A file is of a module that the platform does not have."""


class MigrationOfForeignTable(MigrationRefused):
    """A file changes a table of another module."""


_NAME: Final = re.compile(r"^(\d{8}T\d{4})_[a-z0-9]+(?:-[a-z0-9]+)*\.sql$")
_REPEATABLE_NAME: Final = re.compile(r"^\d{2}_[a-z0-9]+(?:-[a-z0-9]+)*\.sql$")
_MODULE: Final = re.compile(r"\A-- module: ([a-z_]+)\n")
_THEN_FUNCTIONS: Final = "\n-- then: functions and policies\n"

_TABLE: Final = r"(?:app|ops|fx)\.\w+"
_CREATED: Final = re.compile(rf"\bcreate\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?({_TABLE})", re.IGNORECASE)
_CHANGED: Final = (
    re.compile(rf"\b(?:alter|drop)\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?({_TABLE})", re.IGNORECASE),
    re.compile(rf"\bcreate\s+(?:unique\s+)?index\b[^;]*?\son\s+(?:only\s+)?({_TABLE})", re.IGNORECASE),
    re.compile(
        rf"\b(?:create|alter|drop)\s+(?:or\s+replace\s+)?(?:constraint\s+)?(?:trigger|policy|rule)\b"
        rf"[^;]*?\s(?:on|to)\s+({_TABLE})",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\b(?:grant|revoke)\s+(?:all|select|insert|update|delete|truncate|references|trigger|maintain)\b"
        rf"[^;]*?\son\s+(?:table\s+)?({_TABLE}(?:\s*,\s*{_TABLE})*)\s+(?:to|from)\b",
        re.IGNORECASE,
    ),
)
_BY_FUNCTION: Final = re.compile(r"\bfx\.(?:protect\(|admit_readers\(|may_be_asked\('[^']*',)\s*'(\w+)'", re.IGNORECASE)
_SAID_OWNER: Final = re.compile(r"(?:\bfx\.protect\(|\binsert into fx\.tables values \()'(\w+)', '(\w+)'")


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One of them, as it was read."""

    path: Path
    text: str
    module: str
    """Whose it is, by its first line; whose the tables are that it makes."""

    @property
    def name(self) -> str:
        """Under which the database remembers it."""
        return self.path.name

    @property
    def then_functions(self) -> bool:
        """Whether the functions and policies that need no module's table are applied right after it."""
        return _THEN_FUNCTIONS in self.text

    @property
    def _statements(self) -> str:
        return re.sub(r"--.*", "", self.text)

    @property
    def makes(self) -> list[str]:
        """The tables that it creates, with their schemas."""
        return [table.lower() for table in _CREATED.findall(self._statements)]

    @property
    def changes(self) -> list[str]:
        """The tables, with their schemas, that it alters, indexes, guards, or opens to somebody."""
        text = self._statements
        lists = [found for pattern in _CHANGED for found in pattern.findall(text)]
        named = [table.strip().lower() for tables in lists for table in tables.split(",")]
        return named + [f"app.{table}" for table in _BY_FUNCTION.findall(text)]

    @property
    def says_owner(self) -> list[tuple[str, str]]:
        """Table of schema app and module, as it is written to fx.tables."""
        return _SAID_OWNER.findall(self._statements)


def once(folder: Path) -> list[MigrationFile]:
    """The files that run once, in their order.

    :raises MigrationMisnamed: a name is not ``20261201T1000_what-it-is.sql``, a moment that there is, in UTC
    :raises MigrationWithoutModule: no header
    """
    paths = sorted(path for path in folder.glob("*.sql") if path.name != "bootstrap.sql")
    for path in paths:
        matched = _NAME.match(path.name)
        if matched is None or not _is_moment(matched[1]):
            raise MigrationMisnamed(path.name)
    return [_read(path) for path in paths]


def repeatable(folder: Path) -> list[MigrationFile]:
    """The files that are applied again whenever they change, in their order.

    :raises MigrationMisnamed: a name is not ``10_what-it-is.sql``
    :raises MigrationWithoutModule: no header
    """
    paths = sorted((folder / "repeatable").glob("*.sql"))
    for path in paths:
        if not is_repeatable(path.name):
            raise MigrationMisnamed(path.name)
    return [_read(path) for path in paths]


def is_repeatable(name: str) -> bool:
    """Whether a file of this name is applied again whenever it changes."""
    return _REPEATABLE_NAME.match(name) is not None


def check_ownership(files: Collection[MigrationFile], modules: Collection[str]) -> None:
    """Each file is of a module that there is, and makes and changes tables of that one alone.

    :raises MigrationOfUnknownModule: there is none of this name
    :raises MigrationOfForeignTable: a table of another module is changed, made a second time or given away
    """
    owner: dict[str, str] = {}
    for file in files:
        if file.module not in modules:
            raise MigrationOfUnknownModule(f"{file.name}: {file.module}")
        for table in file.makes:
            owner.setdefault(table, file.module)
    for file in files:
        for table in (*file.makes, *file.changes):
            if owner.get(table, file.module) != file.module:
                raise MigrationOfForeignTable(f"{file.name} of {file.module}: {table} of {owner[table]}")
        for table, said in file.says_owner:
            if said != file.module:
                raise MigrationOfForeignTable(f"{file.name} of {file.module}: app.{table} is given to {said}")


def _read(path: Path) -> MigrationFile:
    text = path.read_text(encoding="utf-8")
    said = _MODULE.match(text)
    if said is None:
        raise MigrationWithoutModule(path.name)
    return MigrationFile(path, text, said[1])


def _is_moment(stamp: str) -> bool:
    try:
        datetime.strptime(stamp, "%Y%m%dT%H%M")  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True
