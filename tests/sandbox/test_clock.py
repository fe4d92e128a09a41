"""The settable clock, also seen from another process."""

import multiprocessing
import sys
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from fintokenx.kernel.clock import Clock, SystemClock
from fintokenx.sandbox.clock import ClockAlreadySet, ClockBackwards, ClockFileDamaged, ClockTooFar, SandboxClock

WEEK = timedelta(days=7)


def test_an_untouched_clock_tells_the_machine_time(tmp_path: Path) -> None:
    clock: Clock = SandboxClock(tmp_path / "clock.json")
    before, now, after = SystemClock().now(), clock.now(), SystemClock().now()
    assert before - timedelta(microseconds=1) <= now <= after + timedelta(microseconds=1)
    assert now.tzinfo is UTC


def test_an_advanced_clock_runs_on_from_there(tmp_path: Path) -> None:
    clock = SandboxClock(tmp_path / "clock.json")
    target = clock.now() + WEEK
    clock.advance_to(target)
    first = clock.now()
    assert target <= first < target + timedelta(seconds=5)
    deadline = time.monotonic() + 5
    while clock.now() <= first and time.monotonic() < deadline:
        pass
    assert clock.now() > first


def test_going_back_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    clock = SandboxClock(tmp_path / "clock.json")
    clock.advance_to(clock.now() + WEEK)
    before = clock.now()
    with pytest.raises(ClockBackwards) as refusal:
        clock.advance_to(before - timedelta(seconds=1))
    assert (refusal.value.code, refusal.value.status) == ("CLOCK_BACKWARDS", 422)
    assert clock.now() >= before


def test_a_time_to_which_no_deadline_could_be_added_is_refused(tmp_path: Path) -> None:
    """It would stay for ever: business time never goes back."""
    clock = SandboxClock(tmp_path / "clock.json")
    for much in (datetime(2100, 1, 1, 0, 0, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(ClockTooFar):
            clock.advance_to(much)
        with pytest.raises(ClockTooFar):
            clock.start_at(much)
    clock.advance_to(datetime(2099, 12, 31, tzinfo=UTC))


def test_a_new_system_may_start_in_the_past_but_only_once(tmp_path: Path) -> None:
    clock = SandboxClock(tmp_path / "clock.json")
    start = datetime(2025, 1, 2, 9, 0, 0, 123_456, tzinfo=UTC)
    clock.start_at(start)
    assert start <= clock.now() < start + timedelta(seconds=5)
    with pytest.raises(ClockAlreadySet):
        clock.start_at(start)
    with pytest.raises(ClockBackwards):
        clock.advance_to(start - WEEK)


def test_two_changes_in_a_row_are_both_seen(tmp_path: Path) -> None:
    """Even within one tick of the file system's own clock."""
    writer, reader = SandboxClock(tmp_path / "c"), SandboxClock(tmp_path / "c")
    for _ in range(200):
        target = writer.now() + timedelta(hours=1)
        writer.advance_to(target)
        assert reader.now() >= target


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"offset_microseconds": "1"}', b"\xff\xfe\xfd", b"1"])
def test_a_damaged_file_is_an_error_and_not_a_time(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clock.json"
    path.write_bytes(content)
    with pytest.raises(ClockFileDamaged, match=r"clock\.json"):
        SandboxClock(path).now()


def test_a_vanished_file_is_an_error_because_time_would_jump_back(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    clock = SandboxClock(path)
    clock.advance_to(clock.now() + WEEK)
    clock.now()
    path.unlink()
    with pytest.raises(ClockFileDamaged):
        clock.now()


def _advance_by_hours(path: Path, times: int, together: Barrier) -> None:
    clock = SandboxClock(path)
    together.wait(30)
    done = 0
    while done < times:
        try:
            clock.advance_to(clock.now() + timedelta(hours=1))
        except ClockBackwards:  # the others were quicker
            continue
        done += 1
    if clock.now() < SystemClock().now():
        sys.exit(3)


def test_processes_share_the_time_and_it_never_goes_back(tmp_path: Path) -> None:
    """Two writers race while a reader watches."""
    path = tmp_path / "clock.json"
    clock = SandboxClock(path)
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    writers = [context.Process(target=_advance_by_hours, args=(path, 300, together)) for _ in range(2)]
    start = last = clock.now()
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        now = clock.now()
        assert now >= last
        last = now
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert clock.now() - start >= timedelta(hours=300)
    clock.advance_to(clock.now() + WEEK)
