"""The command line against a whole running system, over real HTTP (must-show 3)."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fintokenx.app.redteam import ATTACKS_MIN
from tests.story.house import running, superuser

pytestmark = [pytest.mark.anyio, pytest.mark.soak]


def redteam(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`fintokenx redteam …` in a process of its own, on the system started last."""
    command = [sys.executable, "-m", "fintokenx.app.cli", "redteam", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


async def test_the_command_attacks_a_running_system_and_anybody_can_check_its_report(tmp_path: Path) -> None:
    report, other = tmp_path / "report.json", tmp_path / "other.json"
    async with running(datetime(2026, 6, 2, 9, tzinfo=UTC)) as system:
        ran = redteam("bypass", "--report", str(report), "--json")
        said = json.loads(ran.stdout)
        assert (ran.returncode, said["broken"]) == (0, []), ran.stderr + ran.stdout
        assert len(said["attacks"]) >= ATTACKS_MIN
        assert said["archived_as"].startswith("rtr_")

        assert redteam("verify", str(report)).returncode == 0
        other.write_bytes(report.read_bytes().replace(b"refused", b"Refused", 1))
        refused = redteam("verify", str(other))
        assert (refused.returncode, "digest" in refused.stderr) == (1, True)
        past = json.loads(redteam("history", "--json").stdout)
        assert [run["id"] for run in past["runs"]] == [said["archived_as"]]

        part = redteam("bypass", "--only", "RT-03")
        assert part.returncode == 2, "a part of the catalogue is no run"
        assert redteam("bypass", "--only", "RT-99999").returncode == 2
        async with superuser(system) as connection:
            await connection.execute("create policy second on app.subjects for select to fx_app using (true)")
        holed = redteam("bypass", "--only", "RT-02", "--only", "catalogue")
        assert (holed.returncode, "RT-02" in holed.stderr, "RT-91" in holed.stderr) == (1, True, True)
        system.platform.stop()
        away = redteam("bypass", "--only", "RT-03")
        assert (away.returncode, "does not answer" in away.stderr) == (2, True)
