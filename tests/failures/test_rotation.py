"""Every provider credential is replaced under a running platform; it goes on with the new ones, unrestarted (P-21)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fintokenx.app import inspect, providers
from fintokenx.kernel.credentials import in_force
from tests.failures.house import TENANT, House

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def cli(house: House, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """The real command line on the house's system."""
    command = [sys.executable, "-m", "fintokenx.app.cli", *arguments, "--system", house.system.name]
    with house.at_home():
        return subprocess.run(command, capture_output=True, text=True, input=text, timeout=60, check=False)


@pytest.mark.soak
async def test_two_rotations_of_everything_need_no_restart(house: House) -> None:
    """Two, because the mock servers take the version before the present one, and none before that."""
    listed = await house.take_listed()
    process = house.platform_pid
    refused = cli(house, "vault", "rotate", "sumsub/app-token")
    assert refused.returncode == 1
    assert "0 platform administrators" in " ".join(refused.stderr.split())
    with house.at_home():
        await inspect.create_staff(house.system, TENANT, "platform_admin", "Pia Admin", "pia@failures.example")
    for _ in range(2):
        for name in providers.credential_names():
            done = cli(house, "vault", "rotate", name)
            assert done.returncode == 0, done.stderr
    given = cli(house, "vault", "rotate", "sumsub/webhook-secret", "--from-file", "-", text="chosen by a person\n")
    assert given.stdout == "sumsub/webhook-secret is at version 4\n"
    with house.at_home():
        vault = house.system.vault()
    now = await in_force(vault, "sumsub/webhook-secret")
    assert await vault.secret(now.stored_as) == "chosen by a person"
    rows = json.loads(cli(house, "vault", "list", "--json").stdout)
    assert {row["name"]: (row["version"], row["age_days"], row["state"]) for row in rows} == {
        name: (4 if name == "sumsub/webhook-secret" else 3, 0, "in force") for name in providers.credential_names()
    }
    payment = await house.fund(listed)
    await house.payment_is(payment, "CLOSED")
    before = len((await house.log("sumsub"))["webhooks"])
    await house.approve(await house.apply("seller"))
    answered = list((await house.log("sumsub"))["webhooks"])[before:]
    assert answered
    assert {webhook["status"] for webhook in answered} == {200}
    assert house.platform_pid == process


async def test_bad_rotations_are_one_clear_line(house: House) -> None:
    for arguments, words in (
        (("db/pin-key",), "no such credential"),
        (("sumsub/app-token", "--from-file", "/nowhere"), "cannot be read"),
        (("sumsub/app-token", "--by", "sub_nobody"), "no active platform administrator"),
    ):
        refused = cli(house, "vault", "rotate", *arguments)
        assert refused.returncode == 1
        assert words in " ".join(refused.stderr.split())
        assert "Traceback" not in refused.stderr
