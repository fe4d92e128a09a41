"""The settable clock of local and sandbox: the machine's time plus an offset that all processes share (P-22).

The offset lives in one small file. It only ever grows, so business time runs on and never goes back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fintokenx.kernel.clock import Instant, to_wire
from fintokenx.kernel.errors import Refused

LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ClockBackwards(Refused):
    """Business time never goes back."""

    code = "CLOCK_BACKWARDS"
    status = 422


class ClockTooFar(Refused):
    """Business time ends with the year 2100 here: deadlines are added to it, and it never goes back."""

    code = "CLOCK_TOO_FAR"
    status = 422


class ClockAlreadySet(Refused):
    """This clock has been set already; it can only be advanced."""

    code = "CLOCK_ALREADY_SET"
    status = 409


class ClockFileDamaged(RuntimeError):
    """The clock's file is not one that this class wrote, or it vanished: the time of business is not known."""


class SandboxClock:
    """A :class:`~fintokenx.kernel.clock.Clock` that people may advance; as long as nobody did, the machine's.

    Any number of processes may hold one on the same ``path``: what one of them sets, all see at their next
    :meth:`now`, which costs one ``stat`` while nothing changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._offset_microseconds = 0

    def now(self) -> Instant:
        """The business time, UTC, whole microseconds.

        :raises ClockFileDamaged: the file cannot be understood, or was there before and is gone
        """
        return self._from_microseconds(_machine_microseconds() + self._offset())

    def advance_to(self, instant: Instant) -> None:
        """Let it be ``instant`` now, for every process that shares the clock.

        :raises ClockBackwards: it is later than that already
        :raises ClockTooFar: beyond what this clock shows
        """
        if instant > LATEST:
            raise ClockTooFar
        with self._locked():
            now = self.now()
            if instant < now:
                raise ClockBackwards(f"it is {to_wire(now)} already")
            self._write(_microseconds(instant) - _machine_microseconds())

    def start_at(self, instant: Instant) -> None:
        """Begin at ``instant``, which may lie in the past: for a system in which nothing has happened yet.

        :raises ClockAlreadySet: the clock's file exists
        :raises ClockTooFar: beyond what this clock shows
        """
        if instant > LATEST:
            raise ClockTooFar
        with self._locked():
            if self._path.exists():
                raise ClockAlreadySet()
            self._write(_microseconds(instant) - _machine_microseconds())

    def _offset(self) -> int:
        try:
            state = os.stat(self._path)
        except FileNotFoundError:
            if self._seen is not None:
                raise ClockFileDamaged(f"{self._path} is gone; without it time would jump back") from None
            return 0
        version = (state.st_mtime_ns, state.st_ino)
        if version != self._seen:
            self._offset_microseconds = self._read()
            self._seen = version
        return self._offset_microseconds

    def _read(self) -> int:
        try:
            offset = json.loads(self._path.read_bytes())["offset_microseconds"]
        except (ValueError, KeyError, TypeError) as error:
            raise ClockFileDamaged(f"{self._path} is damaged: {error!r}") from error
        if type(offset) is not int:
            raise ClockFileDamaged(f"{self._path} is damaged: the offset is not a whole number")
        return offset

    def _write(self, offset_microseconds: int) -> None:
        """Put the new offset in place as a whole, or not at all."""
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("w") as file:
            json.dump({"offset_microseconds": offset_microseconds}, file)
            file.flush()
            os.fsync(file.fileno())
        # File systems stamp with a coarse clock and use inodes again, so two quick changes could look alike to
        # a reader. A stamp that always grows makes every version distinct.
        if self._path.exists():
            stamp = max(fresh.stat().st_mtime_ns, self._path.stat().st_mtime_ns + 1_000)
            os.utime(fresh, ns=(stamp, stamp))
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(self._path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _from_microseconds(self, microseconds: int) -> Instant:
        try:
            return _EPOCH + timedelta(microseconds=microseconds)
        except OverflowError as error:
            raise ClockFileDamaged(f"{self._path} is damaged: no such time") from error


def _machine_microseconds() -> int:
    return time.time_ns() // 1_000


def _microseconds(instant: Instant) -> int:
    return (instant - _EPOCH) // _MICROSECOND
