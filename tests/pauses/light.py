"""The platform's command line, but that it reads documents in its own process: one per document takes a second each,
and these tests are not about reading."""

from __future__ import annotations

import threading
from typing import Any

from fintokenx.adapters.documents import TextReader
from fintokenx.app import wiring
from fintokenx.app.cli import main


class OneAtATime(TextReader):
    """PDFium is not thread-safe."""

    _lock = threading.Lock()

    def inspect(self, content: bytes) -> Any:
        with self._lock:
            return super().inspect(content)

    def read(self, content: bytes) -> Any:
        with self._lock:
            return super().read(content)


if __name__ == "__main__":
    wiring.IsolatedReader = OneAtATime  # type: ignore[assignment, misc]
    main()
