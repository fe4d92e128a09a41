"""docs/failures.md is the table that the other tests here walk."""

from __future__ import annotations

from fintokenx.app.providers import PROVIDERS
from tests.failures import matrix


def test_the_document_says_what_is_tested() -> None:
    assert matrix.DOCUMENT.read_text(encoding="utf-8") == matrix.document(), "python -m tests.failures.matrix"


def test_no_row_stands_twice() -> None:
    ids = [row.id for row in matrix.MATRIX]
    assert len(ids) == len(set(ids))


def test_every_provider_in_the_list_is_tried_failing() -> None:
    assert matrix.without_rows(provider.name for provider in PROVIDERS) == []


def test_a_provider_that_nobody_has_tried_failing_is_named() -> None:
    """The twin."""
    assert matrix.without_rows(["bank", "post_office"]) == ["post_office"]
