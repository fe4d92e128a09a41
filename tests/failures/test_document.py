"""docs/failures.md is the table that the other tests here walk."""

from __future__ import annotations

from tests.failures import matrix


def test_the_document_says_what_is_tested() -> None:
    assert matrix.DOCUMENT.read_text(encoding="utf-8") == matrix.document(), "python -m tests.failures.matrix"


def test_no_row_stands_twice() -> None:
    ids = [row.id for row in matrix.MATRIX]
    assert len(ids) == len(set(ids))
