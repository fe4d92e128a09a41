"""The platform's command line with two changes: it reads documents within itself, since a process for each takes a
second or two and these tests are not about reading; and it calls a chain stalled after six seconds instead of ten."""

from __future__ import annotations

import threading
from typing import Any, Final

from fintokenx.adapters.documents import TextReader
from fintokenx.app import wiring
from fintokenx.app.cli import main

STALL_SECONDS: Final = 6.0


class OneAtATime(TextReader):
    """PDFium is not thread-safe."""

    _lock = threading.Lock()

    def inspect(self, content: bytes) -> Any:
        with self._lock:
            return super().inspect(content)

    def read(self, content: bytes) -> Any:
        with self._lock:
            return super().read(content)


def start() -> None:
    """Do what the command line says, so changed."""
    wiring.IsolatedReader = OneAtATime  # type: ignore[assignment, misc]
    wiring.STALL_SECONDS = STALL_SECONDS  # type: ignore[misc]
    main()


if __name__ == "__main__":
    start()
