"""A whole local system in one folder: Postgres, chain, mock servers and the platform, started and stopped together."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fintokenx.app.failed import LocalSystemFailed
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.settings import Environment, Settings
from fintokenx.kernel.vault import Vault
from fintokenx.sandbox.anvil import CHAIN_ID, Anvil
from fintokenx.sandbox.clock import SandboxClock
from fintokenx.sandbox.postgres import EmbeddedPostgres
from fintokenx.sandbox.processes import Child, free_port, wait_http_ready

if TYPE_CHECKING:
    from fintokenx.parties import partner

# Imported where it is needed: chain, modules and HTTP client take seconds to load, and most commands need none of them.

DATABASE: Final = "fintokenx"
OWN_PORTS: Final = ("platform", "anvil")
"""Beside those of the mock servers."""
DEFAULT_PORTS: Final = {"platform": 8080}

Progress = Callable[[str], None]


def project_root() -> Path:
    """The checkout that this code runs from."""
    return Path(__file__).resolve().parents[3]


def home() -> Path:
    """Where local systems live: ``.fintokenx`` in the checkout, or FX_HOME."""
    return Path(os.environ.get("FX_HOME", project_root() / ".fintokenx"))


def current_name() -> str:
    """The system that commands mean when they do not say: the one started last."""
    pointer = home() / "current"
    return pointer.read_text().strip() if pointer.exists() else "local"


class NotSetUp(Exception):
    """There is no such local system yet; `make up` or `make demo` makes one."""


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """One local system. ``name`` is ``local`` (make up), ``demo`` (make demo) or a test's own."""

    name: str

    @property
    def folder(self) -> Path:
        """Everything it owns lies here (but a database that root's server user could not reach)."""
        return home() / self.name

    @property
    def settings_path(self) -> Path:
        """The settings of its platform."""
        return self.folder / "settings.json"

    @property
    def exists(self) -> bool:
        """Whether it was ever set up."""
        return self.settings_path.exists()

    def settings(self) -> Settings:
        """:raises NotSetUp: never set up"""
        if not self.exists:
            raise NotSetUp(self.name)
        return Settings.load(self.settings_path)

    def vault(self) -> Vault:
        """Its key vault, of the kind that it was made with."""
        from fintokenx.app import vaults

        return vaults.opened(vaults.address_in(self.folder / "vault"))

    def clock(self) -> SandboxClock:
        """Its clock: one for platform, mock servers and chain."""
        return SandboxClock(self.folder / "clock.json")

    @property
    def platform(self) -> Child:
        """The platform's process."""
        return Child("platform", self.folder / "run")

    @property
    def mocks(self) -> Child:
        """The mock servers' process."""
        return Child("mocks", self.folder / "run")

    def ports(self) -> dict[str, int]:
        """Chosen once and remembered, so that addresses stay."""
        path = self.folder / "ports.json"
        if path.exists():
            found: dict[str, int] = json.loads(path.read_text())
            return found
        return self._choose_ports({})

    def _choose_ports(self, chosen: dict[str, int]) -> dict[str, int]:
        """Those that are ``chosen`` stay; a provider that came later gets its own."""
        from fintokenx.app import providers

        path = self.folder / "ports.json"
        of_mocks = (name for mock in providers.mocks() for name in (mock.name, *mock.further_ports))
        wanted = (*OWN_PORTS, *of_mocks)
        chosen = {**chosen, **{name: _preferred(name, self.name) for name in wanted if name not in chosen}}
        path.write_text(json.dumps(chosen, indent=2))
        return chosen

    async def postgres(self) -> EmbeddedPostgres:
        """Its Postgres (running or not)."""
        from fintokenx.app import provision

        password = await provision.secret_or_new(self.vault(), provision.password_of(provision.SUPERUSER))
        return EmbeddedPostgres(self.folder / "pg", superuser_password=password)

    def anvil(self, *, genesis: Instant | None = None) -> Anvil:
        """Its chain (running or not)."""
        return Anvil(
            self.folder / "chain" / "state.json",
            self.ports()["anvil"],
            run_dir=self.folder / "run",
            project_root=project_root(),
            genesis_timestamp=int(genesis.timestamp()) if genesis else None,
        )

    async def up(self, progress: Progress, *, start_at: Instant | None = None) -> Settings:
        """Start everything that is not running. A new system's clock starts at ``start_at`` (default: now).

        A start that fails or is interrupted leaves nothing running that it has started.
        """
        was_running = await self._any_part_runs()
        try:
            return await self._up(progress, start_at)
        except BaseException:
            if not was_running:
                await self.down()
            raise

    async def _any_part_runs(self) -> bool:
        if self.platform.alive or self.mocks.alive:
            return True
        if (self.folder / "ports.json").exists() and self.anvil().running:
            return True
        return (self.folder / "pg").exists() and (await self.postgres()).running

    async def _up(self, progress: Progress, start_at: Instant | None) -> Settings:
        from fintokenx.app import providers, provision, vaults, wiring
        from fintokenx.kernel.credentials import date_first_versions

        for part in ("", "vault", "blobs", "chain", "run"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        progress("keys and credentials")
        await vaults.make(self.folder / "vault")
        vault, ports = self.vault(), self._choose_ports(self.ports())
        await provision.credentials(vault)
        progress("Postgres")
        postgres = await self.postgres()
        if not postgres.running:
            postgres.start()
        password = await vault.secret(provision.password_of(provision.SUPERUSER))
        superuser_dsn = postgres.dsn(provision.SUPERUSER, password, "postgres")
        progress("migrations")
        migrations = project_root() / "migrations"
        await provision.database(superuser_dsn, DATABASE, vault, migrations, Environment.LOCAL)
        clock = self.clock()
        if not (self.folder / "clock.json").exists():
            clock.start_at(start_at or datetime.now(UTC))  # noqa: TID251 — a new sandbox clock starts from real time
        await date_first_versions(vault, providers.credential_names(), clock.now())
        await self._start_chain(progress, clock)
        settings = self._write_settings(postgres.port, ports)
        async with wiring.base(settings, pool_size=2) as on:
            await provision.tenants(on.database)
        progress("mock servers")
        self._start(self.mocks, "mocks", f"http://127.0.0.1:{ports['bank']}/control/mode")
        for terms in provision.TENANTS.values():
            await open_collections_account(settings, terms.collections)
        progress("the platform")
        self._start(self.platform, "serve", f"{settings.public_url}/healthz")
        (home() / "current").write_text(self.name)
        return settings

    async def _start_chain(self, progress: Progress, clock: SandboxClock) -> None:
        progress("the chain")
        now = clock.now()
        anvil = self.anvil(genesis=now)
        if not anvil.running:
            await anvil.start(int(now.timestamp()))
        deployment = self.folder / "chain" / "deployment.json"
        if not deployment.exists():
            progress("contracts")
            from fintokenx.adapters.chain import Rpc, deploy

            rpc = Rpc([anvil.rpc_url])
            artifacts = project_root() / "contracts" / "artifacts"
            try:
                deployed = await deploy(
                    rpc, self.vault(), chain_id=CHAIN_ID, artifacts=artifacts, now_unix=int(clock.now().timestamp())
                )
            finally:
                await rpc.aclose()
            deployed.save(deployment)

    def _start(self, child: Child, command: str, ready_url: str) -> None:
        if not child.alive:
            _must_be_free(int(urlsplit(ready_url).port or 0), child.name)
            environment = {**os.environ, "FX_HOME": str(home()), "PYTHONUNBUFFERED": "1"}
            child.start([sys.executable, "-m", "fintokenx.app.cli", command, "--system", self.name], env=environment)
        wait_http_ready(ready_url, 60, child)

    def restart_platform(self) -> None:
        """Start the platform again after it died or was killed."""
        self._start(self.platform, "serve", f"{self.settings().public_url}/healthz")

    async def down(self, progress: Progress = lambda _what: None) -> None:
        """Stop what runs; keep all data."""
        progress("the platform")
        self.platform.stop()
        progress("mock servers")
        self.mocks.stop()
        if (self.folder / "ports.json").exists():
            progress("the chain")
            await self.anvil().stop()
        if (self.folder / "pg").exists():
            progress("Postgres")
            postgres = await self.postgres()
            if postgres.running:
                postgres.stop()

    async def destroy(self) -> None:
        """Stop it and delete everything that it owns."""
        if not self.folder.exists():
            return
        await self.down()
        if (self.folder / "pg").exists():
            (await self.postgres()).destroy()
        shutil.rmtree(self.folder)

    def _write_settings(self, database_port: int, ports: dict[str, int]) -> Settings:
        from fintokenx.app import providers, vaults

        def at(name: str) -> str:
            return f"http://127.0.0.1:{ports[name]}"

        addresses: dict[str, Any] = dict(providers.mock_addresses(ports))
        settings = Settings(
            environment=Environment.LOCAL,
            public_url=at("platform"),
            listen_host="127.0.0.1",
            listen_port=ports["platform"],
            database_url=f"postgresql://127.0.0.1:{database_port}/{DATABASE}",
            vault=vaults.address_in(self.folder / "vault"),
            blobs_url=f"file://{self.folder / 'blobs'}",
            chain_rpc_urls=(at("anvil"),),
            chain_id=CHAIN_ID,
            chain_deployment=str(self.folder / "chain" / "deployment.json"),
            smtp_host="127.0.0.1",
            smtp_port=ports["smtp"],
            log_origin=f"log.fintokenx.example/{self.name}",
            sandbox_clock=str(self.folder / "clock.json"),
            sandbox_control_urls={mock.name: at(mock.name) for mock in providers.mocks()},
            **addresses,
        )
        settings.save(self.settings_path)
        return settings

    def status(self) -> dict[str, Any]:
        """What runs, where."""
        if not self.exists:
            return {"system": self.name, "set_up": False}
        settings = self.settings()
        return {
            "system": self.name,
            "set_up": True,
            "platform": {"running": self.platform.alive, "url": settings.public_url},
            "mock_servers": {"running": self.mocks.alive, "urls": settings.sandbox_control_urls},
            "chain": {"running": self.anvil().running, "url": settings.chain_rpc_urls[0]},
            "clock": self.clock().now().isoformat(),
        }


def _must_be_free(port: int, what: str) -> None:
    with _probe(port) as free:
        if not free:
            raise LocalSystemFailed(
                f"port {port}, which is to serve {what}, is taken by another program: stop that, "
                "or delete ports.json of this system to have others chosen"
            )


async def open_collections_account(settings: Settings, collections: partner.CollectionsAccount) -> None:
    """At the mock bank, the account on which a tenant collects."""
    account = {
        "sort_code": collections.sort_code,
        "account_number": collections.account_number,
        "name": collections.name,
        "balance_pence": 0,
    }
    import httpx

    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as http:
        await http.post(f"{settings.sandbox_control_urls['bank']}/control/accounts", json=account)


def _preferred(name: str, system: str) -> int:
    """8080 for the platform of `make up` when it is free: people remember it."""
    wanted = DEFAULT_PORTS.get(name)
    if wanted and system == "local":
        with _probe(wanted) as free:
            if free:
                return wanted
    return free_port()


@contextmanager
def _probe(port: int) -> Any:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will: a port just left is free
        try:
            probe.bind(("127.0.0.1", port))
            yield True
        except OSError:
            yield False
