"""Child processes of a local system: started detached, found again by a later command, never mistaken for others.

A process id alone does not name a process, because the kernel gives it out again. Everywhere here a process
is named by its id and the moment it started.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05
_PROC = Path("/proc")


class ChildFailed(RuntimeError):
    """A child process did not start, died, or did not become ready; the message ends with its log's tail."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One living process (zombies are not listed)."""

    pid: int
    group: int
    started: str
    """When it started, as an opaque text that is only compared for equality; unique per boot together with pid."""
    command: str
    """Its command line; whatever the process itself made of it."""


def process_table() -> dict[int, ProcessRow]:
    """Every living process of this machine by its id, as far as we may see them."""
    if (_PROC / "self" / "stat").exists():
        rows = (_row_from_proc(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
        return {row.pid: row for row in rows if row is not None}
    return _table_from_ps()


def process_row(pid: int) -> ProcessRow | None:
    """The living process with this id, if there is one."""
    return _row_from_proc(pid) if (_PROC / "self" / "stat").exists() else _table_from_ps().get(pid)


def _row_from_proc(pid: int) -> ProcessRow | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
        command = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    # The name in brackets may itself hold spaces and brackets, so count from the last bracket on (proc(5)).
    fields = stat[stat.rindex(")") + 2 :].split()
    state, group, threads, started_ticks = fields[0], int(fields[2]), int(fields[17]), fields[19]
    # A first thread that has ended reads as a zombie while others still hold the sockets open.
    if state in "ZX" and threads <= 1:
        return None
    text = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return ProcessRow(pid=pid, group=group, started=started_ticks, command=text)


def _table_from_ps() -> dict[int, ProcessRow]:
    """The same from ``ps``, for systems without /proc; start times are then whole seconds."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,pgid=,state=,lstart=,command="],
        capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    table = {}
    for line in listing.stdout.splitlines():
        pid, group, state, *rest = line.split(None, 8)
        if not state.startswith("Z"):
            command = rest[5] if len(rest) > 5 else ""
            table[int(pid)] = ProcessRow(int(pid), int(group), " ".join(rest[:5]), command)
    return table


def _boot_id() -> str:
    path = _PROC / "sys" / "kernel" / "random" / "boot_id"
    return path.read_text().strip() if path.exists() else ""


def wait_until(condition: Callable[[], bool], deadline_seconds: float) -> bool:
    """Poll until ``condition`` holds; False when it still does not after ``deadline_seconds``."""
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def log_tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log file, for an error message; empty when there is no log yet."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now. Another process may take it before you do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """A background process with a log and a pid file, ``<run_dir>/<name>.log`` and ``.pid``.

    It runs in a session of its own and outlives us. Another ``Child`` of the same name and folder, in this
    process or in a later one, is the same child: it can ask whether it lives, and stop it.
    """

    def __init__(self, name: str, run_dir: Path) -> None:
        self.name = name
        self.log = run_dir / f"{name}.log"
        self._pid_file = run_dir / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        """Start it; its output is appended to the log. ``env`` replaces the whole environment.

        :raises ChildFailed: it runs already, or the command cannot be executed
        """
        if self.alive:
            raise ChildFailed(f"{self.name} runs already as process {self.pid}")
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise ChildFailed(f"{self.name} cannot be started: {error}") from error
        self._write_pid_file(self._process.pid)

    def _write_pid_file(self, pid: int) -> None:
        row = process_row(pid)
        if row is None:  # it died at once; `alive` says so and the log says why
            return
        record = {"pid": pid, "started": row.started, "boot_id": _boot_id()}
        fresh = self._pid_file.with_suffix(".pid.new")
        fresh.write_text(json.dumps(record))
        fresh.replace(self._pid_file)

    @property
    def pid(self) -> int | None:
        """Its process id, while it lives."""
        if self._process is not None:
            self._process.poll()  # reap it, or it would stay behind as a zombie as long as we live
        try:
            record = json.loads(self._pid_file.read_text())
            pid, started, boot_id = int(record["pid"]), record["started"], record["boot_id"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        row = process_row(pid)
        ours = row is not None and row.started == started and boot_id == _boot_id()
        return pid if ours else None

    @property
    def alive(self) -> bool:
        """Whether the very process that was started still runs (a recycled process id does not count)."""
        return self.pid is not None

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Ask the child and all its process group to end (SIGTERM); whoever remains after the time is killed."""
        self._end(signal.SIGTERM, timeout_seconds)

    def kill(self) -> None:
        """End the child and its process group at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL, 5.0)

    def _end(self, first: signal.Signals, timeout_seconds: float) -> None:
        group = self.pid
        if group is None:
            self._pid_file.unlink(missing_ok=True)
            return
        # While one member lives the kernel keeps the group's number, so it names the same group until the end.
        _signal_group(group, first)
        if not wait_until(lambda: self._group_is_gone(group), timeout_seconds):
            _signal_group(group, signal.SIGKILL)
            if not wait_until(lambda: self._group_is_gone(group), 5.0):
                raise ChildFailed(f"{self.name} (process group {group}) does not die")
        self._pid_file.unlink(missing_ok=True)

    def _group_is_gone(self, group: int) -> bool:
        if self._process is not None:
            self._process.poll()
        return all(row.group != group for row in process_table().values())

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        return log_tail(self.log, lines)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def wait_http_ready(url: str, deadline_seconds: float, child: Child) -> None:
    """Return when ``url`` answers with a 2xx status.

    :raises ChildFailed: the child died, or the time is over; with the last answer and the log's tail
    """
    import httpx  # here: whoever only asks what runs needs no HTTP client

    deadline = time.monotonic() + deadline_seconds
    last = "no answer yet"
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if not child.alive:
                raise ChildFailed(f"{child.name} died before {url} answered\n{child.log_tail()}")
            try:
                answer = client.get(url)
            except httpx.HTTPError as error:
                last = repr(error)
            else:
                if answer.is_success:
                    return
                last = f"status {answer.status_code}"
            time.sleep(POLL_SECONDS)
    raise ChildFailed(f"{child.name}: {url} not ready after {deadline_seconds:g} s ({last})\n{child.log_tail()}")
