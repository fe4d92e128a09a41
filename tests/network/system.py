"""A local system with a wire between its platform and its chain, and a platform that tests may have altered."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from fintokenx.app.local import LocalSystem, home
from fintokenx.kernel.settings import Settings
from fintokenx.sandbox.processes import Child, wait_http_ready
from tests.network.lossy import LossyWire
from tests.support import ROOT


@dataclass(frozen=True, slots=True)
class WiredSystem(LocalSystem):
    """``launcher`` is the module that stands in for the command line when the platform is started."""

    wire: LossyWire
    launcher: str

    def _write_settings(self, database_port: int, ports: dict[str, int]) -> Settings:
        settings = LocalSystem._write_settings(self, database_port, ports)
        self.wire.upstream = settings.chain_rpc_urls[0]
        wired = settings.model_copy(update={"chain_rpc_urls": (self.wire.url,)})
        wired.save(self.settings_path)
        return wired

    def _start(self, child: Child, command: str, ready_url: str) -> None:
        if command == "serve" and not child.alive:
            environment = {**os.environ, "FX_HOME": str(home()), "PYTHONUNBUFFERED": "1"}
            child.start(
                [sys.executable, "-m", self.launcher, command, "--system", self.name], env=environment, cwd=ROOT
            )
            wait_http_ready(ready_url, 60, child)
        else:
            LocalSystem._start(self, child, command, ready_url)
