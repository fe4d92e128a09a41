"""The platform's end of the wire to the processes that read documents: one process per document, ended in time.

On Linux they are forked by a server that has the reader loaded (`ForkedWorkers`), elsewhere each is a fresh
interpreter (`SpawnedWorkers`). What a process may do is the same for both; `confined` says it.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from fintokenx.adapters.documents.confined import HEADER, LENGTH

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""A text layer has 400,000 characters at most and an XML 2 MiB: JSON makes less than this of both."""

LOOK_SECONDS: Final = 0.2
"""How often one looks whether somebody still waits for the answer."""

Way = Literal["fork", "spawn"]
WAY: Final[Way] = "fork" if sys.platform == "linux" else "spawn"
"""Forking after libraries were loaded is safe where they start no thread, which holds for ours on Linux only."""


class WorkerEnded(Exception):
    """The process ended without an answer, or gave one that is too long."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is asked, and what it may take."""

    order: bytes
    content: bytes
    address_space_bytes: int
    processor_seconds: int
    given_up: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the answer any more: the process is then ended within ``LOOK_SECONDS``."""

    def asked_on(self, connection: socket.socket, deadline: float) -> bytes:
        """Send it and wait for the answer. ``deadline`` in monotonic seconds.

        :raises TimeoutError: no answer by then
        :raises WorkerEnded: it ended first, or nobody waits any more
        """
        header = HEADER.pack(self.address_space_bytes, self.processor_seconds, len(self.order), len(self.content))
        try:
            for part in (header + self.order, self.content):
                connection.settimeout(_left(deadline))
                connection.sendall(part)
            [length] = LENGTH.unpack(_received(connection, LENGTH.size, deadline, self.given_up))
            if length > ANSWER_BYTES_MAX:
                raise WorkerEnded("an answer of more than we take")
            return _received(connection, length, deadline, self.given_up)
        except TimeoutError:
            raise
        except OSError as fault:
            raise WorkerEnded("no answer") from fault


class Workers(Protocol):
    """A process for each document. Safe to call from several threads."""

    def prepare(self) -> None:
        """Start now what would otherwise start with the first document."""
        ...

    def ask(self, job: Job, *, seconds: float) -> bytes:
        """What a process of its own answers. :raises TimeoutError, WorkerEnded: see :class:`Job`"""
        ...

    def close(self) -> None:
        """End what runs."""
        ...


class SpawnedWorkers:
    """A fresh interpreter for each document."""

    def __init__(self, module: str) -> None:
        self._module = module

    def prepare(self) -> None:
        """Nothing: each document pays for its own start."""

    def ask(self, job: Job, *, seconds: float) -> bytes:
        """As `Workers.ask`; the interpreter's start counts."""
        deadline = time.monotonic() + seconds
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = _started(self._module, "one", theirs)
            try:
                return job.asked_on(ours, deadline)
            finally:
                process.kill()
                process.wait()

    def close(self) -> None:
        """Nothing runs between documents."""


class ForkedWorkers:
    """A child of a server that has everything loaded. The server is started when needed and again when it died."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._starting = threading.Lock()
        self._servers: list[_Server] = []
        weakref.finalize(self, _end_all, self._servers)

    def prepare(self) -> None:
        """Start the server; it loads the reader while we do other things."""
        self._server()

    def ask(self, job: Job, *, seconds: float) -> bytes:
        """As `Workers.ask`; a server's start counts. When the server dies, the document is tried once more."""
        deadline = time.monotonic() + seconds
        server = self._server()
        try:
            return server.ask(job, deadline)
        except WorkerEnded:
            if not server.hung_up:
                raise
        return self._server().ask(job, deadline)

    def close(self) -> None:
        """End the server and with it every child."""
        with self._starting:
            _end_all(self._servers)

    @property
    def server_pid(self) -> int | None:
        """The process id of the server that runs, if one does."""
        return next((server.process.pid for server in self._servers if not server.hung_up), None)

    def _server(self) -> _Server:
        with self._starting:
            if not self._servers or self._servers[-1].hung_up:
                _end_all(self._servers)
                self._servers.append(_Server.start(self._module))
            return self._servers[-1]


@dataclass(frozen=True, slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    control: socket.socket

    @classmethod
    def start(cls, module: str) -> _Server:
        # One message, one descriptor, whoever else sends at the same moment.
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            return cls(_started(module, "server", theirs), control)

    def ask(self, job: Job, deadline: float) -> bytes:
        """Closing our end is what ends the child, whether it has answered, is late or has gone mad."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self.control, [b"\0"], [theirs.fileno()])
                except OSError as fault:
                    raise WorkerEnded("the server is gone") from fault
            return job.asked_on(ours, deadline)

    @property
    def hung_up(self) -> bool:
        """Whether it has ended: a process that ends closes its end of the control socket before its children's."""
        poller = select.poll()
        try:
            poller.register(self.control, 0)
        except ValueError:  # closed by us
            return True
        return bool(poller.poll(0))

    def end(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()


def _end_all(servers: list[_Server]) -> None:
    while servers:
        servers.pop().end()


def _started(module: str, role: str, stdin: socket.socket) -> subprocess.Popen[bytes]:
    """A fresh interpreter that knows where our packages lie and nothing else of us: no environment, no descriptor
    but its socket, and of the server standard error, so that a fault in its start is seen."""
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-B", "-P", "-m", module, role],
        stdin=stdin.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=None if role == "server" else subprocess.DEVNULL,
        env={"PYTHONPATH": paths},
        cwd=os.sep,
        start_new_session=True,
    )


def _received(connection: socket.socket, length: int, deadline: float, given_up: threading.Event) -> bytes:
    content = bytearray()
    while len(content) < length:
        if given_up.is_set():
            raise WorkerEnded("nobody waits any more")
        connection.settimeout(min(_left(deadline), LOOK_SECONDS))
        try:
            part = connection.recv(min(length - len(content), 1 << 20))
        except TimeoutError:
            continue
        if not part:
            raise WorkerEnded("no answer")
        content += part
    return bytes(content)


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def workers(module: str, way: Way) -> Workers:
    """The workers of this machine, or of the way that is asked for. ``module`` is run with ``one`` or ``server``."""
    return ForkedWorkers(module) if way == "fork" else SpawnedWorkers(module)
