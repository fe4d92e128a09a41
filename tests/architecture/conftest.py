"""A copy of the house, made once, in which tests plant faults."""

from __future__ import annotations

import pytest

from tests.architecture.house import Copy


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy of the sources; what a test plants in it, it takes out again."""
    return Copy(tmp_path_factory.mktemp("house"))
