"""Children are found again, stopped with all they started, and never mistaken for other processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fintokenx.sandbox.processes import Child, ChildFailed, free_port, process_row, wait_http_ready, wait_until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child("sleeper", tmp_path)
    yield child
    child.kill()


def started(child: Child, command: list[str], word: str = "up") -> int:
    """Start it, wait until it said the word, and give its process id."""
    child.start(command)
    assert wait_until(lambda: word in child.log_tail(), 10), child.log_tail()
    pid = child.pid
    assert pid is not None
    return pid


def test_a_child_is_found_and_stopped_by_a_later_command(child: Child, tmp_path: Path) -> None:
    pid = started(child, SLEEPER)
    later = Child("sleeper", tmp_path)
    assert later.pid == pid
    later.stop()
    assert not later.alive
    assert not child.alive
    assert process_row(pid) is None


def test_a_child_runs_only_once(child: Child, tmp_path: Path) -> None:
    started(child, SLEEPER)
    with pytest.raises(ChildFailed, match="runs already"):
        Child("sleeper", tmp_path).start(SLEEPER)


def test_a_child_lives_in_its_own_process_group(child: Child) -> None:
    pid = started(child, SLEEPER)
    assert os.getpgid(pid) == pid != os.getpgid(0)


def test_a_child_that_ignores_the_request_is_killed(child: Child) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    pid = started(child, [sys.executable, "-c", deaf])
    child.stop(timeout_seconds=0.2)
    assert process_row(pid) is None


def test_the_children_of_a_child_end_with_it(child: Child) -> None:
    """Even when the child itself goes first and leaves them behind."""
    parent = (
        "import subprocess, sys, time\n"
        "code = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);'"
        " 'print(\"grandchild up\", flush=True); time.sleep(600)'\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', code])\n"
        "print(grandchild.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    started(child, [sys.executable, "-c", parent], word="grandchild up")
    grandchild = next(int(line) for line in child.log_tail().splitlines() if line.isdigit())
    assert process_row(grandchild) is not None
    child.stop(timeout_seconds=0.5)
    assert process_row(grandchild) is None


def test_a_child_lives_until_its_last_thread_has_ended(child: Child, tmp_path: Path) -> None:
    """The kernel shows it as a zombie as soon as its first thread ends, though its ports are still open."""
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=lambda: (print('up', flush=True), time.sleep(600))).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    pid = started(child, [sys.executable, "-c", code])
    status = Path(f"/proc/{pid}/status")
    assert wait_until(lambda: "State:\tZ" in status.read_text(), 10)
    assert Child("sleeper", tmp_path).alive
    child.stop()
    assert not child.alive


def test_a_recycled_process_id_is_not_ours(child: Child, tmp_path: Path) -> None:
    """The pid file of a dead child names a number that belongs to somebody else by now: who is left alone."""
    started(child, SLEEPER)
    record = json.loads((tmp_path / "sleeper.pid").read_text())
    child.kill()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as stranger:
        try:
            (tmp_path / "sleeper.pid").write_text(json.dumps({**record, "pid": stranger.pid}))
            assert not child.alive
            child.stop()
            child.kill()
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense", '{"pid": "x", "started": "1", "boot_id": ""}'])
def test_a_damaged_pid_file_means_not_alive(child: Child, tmp_path: Path, content: str) -> None:
    (tmp_path / "sleeper.pid").write_text(content)
    assert not child.alive


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"ghost cannot be started.*no/such/program"):
        Child("ghost", tmp_path).start(["/no/such/program"])


def test_a_server_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    server = Child("server", tmp_path)
    server.start([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], cwd=tmp_path)
    try:
        wait_http_ready(f"http://127.0.0.1:{port}/", 20, server)
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        with pytest.raises(ChildFailed, match=r"not ready after 0\.3 s \(status 404"):
            wait_http_ready(f"http://127.0.0.1:{port}/nowhere", 0.3, server)
    finally:
        server.stop()


def test_the_log_of_a_server_that_dies_is_shown_at_once(tmp_path: Path) -> None:
    server = Child("server", tmp_path)
    server.start([sys.executable, "-c", "raise SystemExit('the reason it died')"])
    with pytest.raises(ChildFailed, match=r"(?s)server died before .*the reason it died"):
        wait_http_ready(f"http://127.0.0.1:{free_port()}/", 60, server)
