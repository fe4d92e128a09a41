"""A shop whose jobs have lanes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from threading import Event

import pytest

from fintokenx.kernel.jobs import (
    Handler,
    Job,
    Lane,
)
from fintokenx.lifecycle.invoice.ports import DocumentKind, DocumentRefused, Reading
from tests.kernel.shop import Shop
from tests.support import World


def declared(handlers: dict[str, Handler], lanes: dict[str, Lane], *, seconds_max: float = 60) -> list[Job]:
    return [Job(name, do, lanes.get(name, Lane.OUTBOUND), seconds_max) for name, do in handlers.items()]


@pytest.fixture
async def shop(world: World) -> AsyncIterator[Shop]:
    opened = Shop(world)
    yield opened
    await opened.close()


class SlowReader:
    """A reader that blocks its thread for so long, unless nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.given_up = 0

    def inspect(self, content: bytes) -> DocumentKind:
        raise NotImplementedError

    def read(self, content: bytes, given_up: Event | None = None) -> Reading:
        assert given_up is not None
        self.given_up += given_up.wait(self.seconds)
        raise DocumentRefused("read")
