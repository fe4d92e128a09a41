"""The field's own words stand where the thing lives, so that whoever searches for one finds it (issue 10)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.house import PACKAGE, ROOT

LIVES_IN: Final = {
    "outbox": "kernel/jobs/__init__.py",
    "idempotency": "web/edge.py",
    "row-level security": "kernel/db.py",
    "crypto-shredding": "kernel/sealing.py",
    "nonce": "lifecycle/chainwork/jobs/gaps.py",
    "reconciliation": "lifecycle/settlement/service/statement_lines.py",
    "concentration limit": "lifecycle/marketplace/service.py",
    "circuit breaker": "adapters/outbound/__init__.py",
}
IN_A_TITLE: Final = ("outbox", "idempotent", "crypto-shredding", "nonces", "circuit breaker")


def docstring(path: Path) -> str:
    """What a file says of itself, on one line."""
    return " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").lower().split())


@pytest.mark.parametrize(("word", "place"), LIVES_IN.items())
def test_a_word_of_the_field_is_found_where_the_thing_lives(word: str, place: str) -> None:
    assert word in docstring(PACKAGE / place)


def test_decisions_are_titled_in_words_of_the_field() -> None:
    titles = " ".join(path.read_text().splitlines()[0].lower() for path in (ROOT / "docs/adr").glob("*.md"))
    assert [word for word in IN_A_TITLE if word not in titles] == []
