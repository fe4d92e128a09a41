"""What a process that reads a document has and may do, and who ends it (IN-06): with a worker that obeys the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fintokenx.adapters.documents import IsolatedReader
from fintokenx.adapters.documents.workers import WAY, ForkedWorkers, Job, SpawnedWorkers, WorkerEnded, Workers
from fintokenx.lifecycle.invoice.ports import DamagedDocument
from fintokenx.sandbox.processes import wait_until

HOSTILE = "tests.adapters.hostile_worker"
MEBIBYTE = 1024 * 1024
ROOT = Path(__file__).resolve().parents[2]
MILLRACE = (ROOT / "samples" / "invoices" / "millrace-foods.xml").read_bytes()
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the server that forks runs on Linux only")


@pytest.fixture(params=[pytest.param(ForkedWorkers, marks=on_linux), SpawnedWorkers], ids=["forked", "spawned"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Both ways of making a process, from a platform that holds a secret and an open file."""
    monkeypatch.setenv("FX_SECRET", "in the environment")
    made = request.param(HOSTILE)
    yield made
    made.close()


@pytest.fixture
def forked() -> Iterator[ForkedWorkers]:
    made = ForkedWorkers(HOSTILE)
    yield made
    made.close()


def asked(workers: Workers, deed: str, *, seconds: float = 60, megabytes: int = 1024) -> Any:
    job = Job(b"{}", deed.encode(), megabytes * MEBIBYTE, processor_seconds=10)
    return json.loads(workers.ask(job, seconds=seconds))


def children_of(pid: int) -> list[int]:
    """Living ones."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state not in "ZX":
            found.append(int(entry.name))
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def in_thread(workers: Workers, deed: str) -> tuple[threading.Thread, list[Any]]:
    """Ask beside the test; what comes of it, an answer or what was raised."""
    outcome: list[Any] = []

    def ask() -> None:
        try:
            outcome.append(asked(workers, deed))
        except (WorkerEnded, TimeoutError) as ended:
            outcome.append(ended)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, outcome


def test_a_process_has_one_socket_and_no_environment_and_can_open_nothing(workers: Workers) -> None:
    found = asked(workers, "look")
    assert found["environment"] == {}
    assert found["environment_at_start"].keys() <= {"PYTHONPATH", "LC_CTYPE"}
    assert len(found["descriptors"]) == 1
    assert {"read a file", "write a file", "list a folder", "open a connection", "make a pipe"} <= set(found["refused"])
    assert found["threads"] == 1
    assert found["leads_session"]


@on_linux
def test_no_process_of_the_same_user_may_look_into_one(forked: ForkedWorkers) -> None:
    assert asked(forked, "look")["ptrace_by_others"] == 0


def test_memory_is_bounded_and_both_ways_leave_the_same(workers: Workers) -> None:
    """Of 512 MiB the interpreter and its libraries take about a hundred, forked or not."""
    assert 350 < asked(workers, "eat", megabytes=512) < 480


def test_two_documents_do_not_see_each_other(workers: Workers) -> None:
    """Neither one after the other nor side by side."""
    assert asked(workers, "first") == ["first"]
    running = [in_thread(workers, name) for name in ("second", "third", "fourth")]
    for thread, _ in running:
        thread.join()
    assert [outcome for _, outcome in running] == [[["second"]], [["third"]], [["fourth"]]]


def test_a_process_that_ends_badly_or_says_too_much_is_no_answer(workers: Workers) -> None:
    for deed in ("crash", "exit", "raise", "endless", "huge"):
        with pytest.raises(WorkerEnded):
            asked(workers, deed)
    assert asked(workers, "next") == ["next"]


@on_linux
def test_a_process_that_hangs_is_ended_in_time_and_leaves_nothing(forked: ForkedWorkers) -> None:
    asked(forked, "warm")
    with pytest.raises(TimeoutError):
        asked(forked, "hang", seconds=0.5)
    server = forked.server_pid
    assert server is not None
    assert wait_until(lambda: not children_of(server), 10)
    assert asked(forked, "next") == ["next"]
    assert forked.server_pid == server


@on_linux
def test_a_process_that_nobody_waits_for_any_more_is_ended_and_so_is_the_wait_for_one() -> None:
    """A job whose time is up lets go of its reader: the process ends long before the reader's own twenty seconds."""
    reader = IsolatedReader(workers_max=1, timeout_seconds=600, worker=HOSTILE)
    given_up = threading.Event()
    threads = [threading.Thread(target=_read_in_vain, args=(reader, given_up)) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        forked = reader._workers
        assert isinstance(forked, ForkedWorkers)
        assert wait_until(lambda: bool(forked.server_pid and children_of(forked.server_pid)), 30)
        given_up.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert wait_until(lambda: not children_of(forked.server_pid or 0), 10)
    finally:
        reader.close()


def _read_in_vain(reader: IsolatedReader, given_up: threading.Event) -> None:
    with pytest.raises(DamagedDocument):
        reader.read(b"hang", given_up)


def test_processor_time_is_bounded_by_the_kernel(workers: Workers) -> None:
    job = Job(b"{}", b"spin", 1024 * MEBIBYTE, processor_seconds=1)
    with pytest.raises(WorkerEnded):
        workers.ask(job, seconds=120)


@on_linux
def test_what_a_process_started_ends_with_it(forked: ForkedWorkers) -> None:
    child = asked(forked, "leave a child")
    assert child == 0 or wait_until(lambda: not lives(child), 10)


@on_linux
def test_a_process_that_is_killed_is_no_answer_and_its_server_goes_on(forked: ForkedWorkers) -> None:
    asked(forked, "warm")
    server = forked.server_pid
    assert server is not None
    thread, outcome = in_thread(forked, "hang")
    assert wait_until(lambda: bool(children_of(server)), 10)
    os.kill(children_of(server)[0], signal.SIGKILL)
    thread.join()
    assert isinstance(outcome[0], WorkerEnded)
    assert asked(forked, "next") == ["next"]
    assert forked.server_pid == server


@on_linux
def test_a_server_that_is_killed_takes_its_children_along_and_the_document_is_read_by_the_next(
    forked: ForkedWorkers,
) -> None:
    asked(forked, "warm")
    server = forked.server_pid
    assert server is not None
    thread, outcome = in_thread(forked, "slow")
    assert wait_until(lambda: bool(children_of(server)), 10)
    [child] = children_of(server)
    os.kill(server, signal.SIGKILL)
    thread.join()
    assert outcome == ["done"]
    assert forked.server_pid not in (None, server)
    assert not lives(child)


@on_linux
def test_no_process_outlives_a_platform_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.adapters.platform_that_reads"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as platform:
        assert platform.stdout is not None
        server = int(platform.stdout.readline())
        assert wait_until(lambda: bool(children_of(server)), 60)
        children = children_of(server)
        platform.kill()
    assert wait_until(lambda: not any(lives(pid) for pid in (server, *children)), 10)


@on_linux
def test_a_reader_that_is_closed_or_forgotten_leaves_no_server() -> None:
    for end in (lambda made: made.close(), lambda _made: None):
        made = ForkedWorkers(HOSTILE)
        asked(made, "warm")
        server = made.server_pid
        assert server is not None
        end(made)
        del made
        assert wait_until(lambda pid=server: not lives(pid), 10)  # type: ignore[misc]


@on_linux
def test_garbage_is_a_damaged_document() -> None:
    """The hostile worker answers JSON, and not what a reading is."""
    with pytest.raises(DamagedDocument, match="it cannot be read safely"):
        IsolatedReader(worker=HOSTILE).read(MILLRACE)


def test_a_spawned_process_reads_what_a_forked_one_reads() -> None:
    assert IsolatedReader(way="spawn").read(MILLRACE) == IsolatedReader(way=WAY).read(MILLRACE)


def test_nothing_is_loaded_or_opened_while_a_document_is_read() -> None:
    """The process of a document can open no file, so what it needs must be there: codecs and modules included."""
    program = f"""
import sys
from pathlib import Path
from fintokenx.adapters.documents.isolated import ORDER, Order
from fintokenx.adapters.documents.reader import Limits
from fintokenx.adapters.documents.worker import answer, rehearse
rehearse()
order = ORDER.dump_json(Order(task="read", limits=Limits()))
samples = [path.read_bytes() for path in sorted(Path({str(ROOT / "samples")!r}).rglob("*.*")) if path.suffix != ".py"]
assert len(samples) > 8
opened = []
sys.addaudithook(lambda event, told: opened.append(told) if event in ("open", "import", "os.listdir") else None)
for content in samples:
    answer(order, content)
sys.exit(repr(opened) if opened else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
