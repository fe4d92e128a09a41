"""The generated documents follow the code; `make check` compares those that are committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fintokenx.app import docs
from fintokenx.app.catalogue import ACTIONS, MACHINES
from tests.architecture.house import PACKAGE, ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with true documents and our migrations."""
    for name in ("migrations", "src", ".importlinter"):
        (tmp_path / name).symlink_to(ROOT / name)
    docs.write(tmp_path)
    return tmp_path


def test_fresh_documents_have_not_drifted(checkout: Path) -> None:
    assert docs.check(checkout) == []
    assert docs.write(checkout) == []


def test_every_machine_action_and_table_is_printed(checkout: Path) -> None:
    assert len(list((checkout / "docs/machines").glob("*.md"))) == len(MACHINES)
    actions = (checkout / "docs/actions.md").read_text()
    assert [action.name for action in ACTIONS if f"| `{action.name}` |" not in actions] == []
    owned = (checkout / "docs/tables.md").read_text()
    assert [table.name for table in docs.tables(ROOT / "migrations") if f"| `{table.full_name}` |" not in owned] == []


def test_every_module_and_contract_is_on_the_architectures_page(checkout: Path) -> None:
    page = (checkout / "docs/architecture.md").read_text()
    folders = [path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("manifest.py")]
    assert [folder for folder in folders if f"(../src/fintokenx/{folder})" not in page] == []
    contracts = [line for line in (ROOT / ".importlinter").read_text().splitlines() if line.startswith("name = ")]
    assert [line for line in contracts if f"| {line.removeprefix('name = ')} |" not in page] == []


def test_edited_missing_and_stale_documents_are_caught_and_mended(checkout: Path) -> None:
    edited, missing, stale = (checkout / "docs" / name for name in ("actions.md", "tables.md", "machines/gone.md"))
    edited.write_text(edited.read_text().replace("yes", "no"))
    missing.unlink()
    stale.write_text("A machine that is gone.\n")
    assert docs.check(checkout) == sorted([edited, missing, stale])
    docs.write(checkout)
    assert docs.check(checkout) == []
