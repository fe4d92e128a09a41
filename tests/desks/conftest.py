"""What the tests in a browser share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.desks.browser import SCREENSHOTS


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """Where pictures go; None in a run that takes none."""
    return SCREENSHOTS if request.config.getoption("--screenshots") else None
