"""A process that has the reader loaded and forks one child per document; it never sees a document itself.

It starts as a fresh interpreter without an environment and never held a secret, so its children hold none. Each
message on its control socket carries one end of a socket: the child's only descriptor. It ends a child when the
other end of that socket is closed, and ends itself when the platform has ended. Linux only: it needs pidfds, and
elsewhere a fork after certain libraries were loaded is not safe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
from dataclasses import dataclass
from typing import Final, NoReturn

from fintokenx.adapters.documents.confined import Answerer, ends_with, unreadable, work

CONTROL: Final = 0
"""The control socket is standard input."""


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    pidfd: int
    """Readable once it has ended."""
    connection: int
    """Our copy of its socket. Nothing is read from it; it hangs up when the platform no longer waits."""


def serve(answer: Answerer) -> None:
    """Fork a child per message until the platform ends. Call it once everything that ``answer`` needs is loaded."""
    os.environ.clear()
    unreadable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the platform, and its end is ours
    gc.collect()
    gc.freeze()  # a child that collects garbage must not touch, and so copy, every page of ours
    control = socket.socket(fileno=CONTROL)
    platform = os.pidfd_open(os.getppid())
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(platform, select.POLLIN)
    children: dict[int, _Child] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == platform:
                return
            if descriptor == CONTROL:
                told, given, _, _ = socket.recv_fds(control, 1, 1)
                if not told:
                    return
                for connection in given:
                    child = _forked(connection, answer)
                    children[child.pidfd] = children[child.connection] = child
                    poller.register(child.pidfd, select.POLLIN)
                    poller.register(child.connection, 0)
            elif (ending := children.get(descriptor)) is not None:
                _end(ending)
                for each in (ending.pidfd, ending.connection):
                    del children[each]
                    poller.unregister(each)
                    os.close(each)


def _forked(connection: int, answer: Answerer) -> _Child:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(connection, answer, server)
    return _Child(pid, os.pidfd_open(pid), connection)


def _be_child(connection: int, answer: Answerer, server: int) -> NoReturn:
    try:
        os.setsid()
        ends_with(server)
        work(connection, answer)
    finally:
        os._exit(1)


def _end(child: _Child) -> None:
    """Kill whatever remains of it, its own children too. Until it is waited for, its number names nobody else."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError):
            kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
