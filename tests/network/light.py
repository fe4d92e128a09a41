"""The platform's command line with one change: it calls a chain stalled after six seconds instead of ten."""

from __future__ import annotations

from typing import Final

from fintokenx.app import assembly, outside
from fintokenx.app.cli import main

STALL_SECONDS: Final = 6.0


def start() -> None:
    """Do what the command line says, so changed."""
    assembly.STALL_SECONDS = outside.STALL_SECONDS = STALL_SECONDS  # type: ignore[misc]
    main()


if __name__ == "__main__":
    start()
