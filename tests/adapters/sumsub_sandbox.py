"""One mock Sumsub for the tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.adapters.sumsub_house import (
    Sandbox,
    running_sandbox,
)


@pytest.fixture(scope="module")
async def shared_sandbox() -> AsyncIterator[Sandbox]:
    async with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.forget()
    return shared_sandbox
