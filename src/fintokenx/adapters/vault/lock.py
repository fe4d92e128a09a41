"""A lock between threads and processes of one machine, as long as a ``with`` block."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fintokenx.kernel.vault import VaultUnavailable

LOCK_TIMEOUT_SECONDS: Final = 10


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock ``path``, alone. :raises VaultUnavailable: another holder keeps it too long"""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise VaultUnavailable("another process holds the lock")
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """A flock belongs to the open file, so it keeps threads of one process apart as well."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
