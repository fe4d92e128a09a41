"""A worker that does what the document says: what a file might make a process do that it has taken over.

Loaded by the same server, forked and confined by the same code as the real worker.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from fintokenx.adapters.documents.confined import LENGTH
from fintokenx.adapters.documents.worker import main
from fintokenx.adapters.documents.workers import ANSWER_BYTES_MAX

AT_START = dict(os.environ)
SEEN: list[str] = []
os.dup2(2, 100)  # left open by whatever was loaded before the document came
BLOCK = 8 * 1024 * 1024


def look() -> Any:
    """What a process has and may do."""
    return {
        "environment": dict(os.environ),
        "environment_at_start": AT_START,
        "descriptors": [each for each in range(4096) if _is_open(each)],
        "threads": threading.active_count(),
        "leads_session": os.getsid(0) == os.getpid(),
        "refused": [name for name, attempt in ATTEMPTS.items() if _is_refused(attempt)],
        "ptrace_by_others": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),  # PR_GET_DUMPABLE
    }


ATTEMPTS: dict[str, Callable[[], Any]] = {
    "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "write a file": lambda: os.open("/tmp/fx-hostile", os.O_WRONLY | os.O_CREAT),
    "list a folder": lambda: os.listdir("/"),
    "open a connection": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "make a pipe": os.pipe,
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
}
if os.getuid() == 0:  # root may raise limits again; a platform runs as somebody else
    del ATTEMPTS["raise a limit"]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _is_refused(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except (OSError, ValueError):
        return True
    return False


def eat() -> int:
    """How many MiB more it can have."""
    held = []
    try:
        while True:
            held.append(bytes(BLOCK))
    except MemoryError:
        return len(held) * BLOCK // (1024 * 1024)


def leave_a_child() -> int:
    """Its process id; 0 where none may be made."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid == 0:
        time.sleep(600)
    return pid


def claim_an_endless_answer() -> None:
    """The answer is the only thing that it can write."""
    [connection] = [each for each in range(4096) if _is_open(each)]
    os.write(connection, LENGTH.pack(1 << 60))
    time.sleep(600)


DEEDS: dict[str, Callable[[], Any]] = {
    "look": look,
    "eat": eat,
    "leave a child": leave_a_child,
    "endless": claim_an_endless_answer,
    "huge": lambda: "x" * ANSWER_BYTES_MAX,
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(0),
    "hang": lambda: time.sleep(600),
    "spin": lambda: all(True for _ in iter(int, 1)),
    "slow": lambda: time.sleep(1.5) or "done",
    "raise": lambda: 1 // 0,
}


def answer(_order: bytes, content: bytes) -> bytes:
    """Do it."""
    told = content.decode()
    SEEN.append(told)
    deed = DEEDS.get(told, lambda: SEEN)
    return json.dumps(deed()).encode()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        raise SystemExit("one role")
    main(answer)
