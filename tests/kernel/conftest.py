"""The world of these tests has two small tables of its own."""

from collections.abc import Iterator

import pytest
import structlog

from tests.database.things import things_template, world

__all__ = ["things_template", "world"]


@pytest.fixture(autouse=True)
def _brief_logs() -> Iterator[None]:
    """structlog's default draws every exception with all its locals, which takes seconds per fault."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()
