"""Credentials in versions: fetched at boot, followed while the platform runs, nothing told once the vault is away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.credentials import (
    OVERLAP,
    REMEMBERED_SECONDS,
    InForce,
    VaultCredential,
    date_first_versions,
    fetch,
    in_force,
    put_in_force,
)
from fintokenx.kernel.vault import VaultUnavailable

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 6, 2, 12, tzinfo=UTC)
NAME = "sumsub/app-token"


class Office:
    """A vault, two clocks, and the credential under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = LocalVault(folder, os.urandom)
        self.clock = FixedClock(NOON)
        self.seconds = 1000.0
        self.credential = VaultCredential(self.vault, NAME, self.clock, machine_seconds=lambda: self.seconds)

    async def rotate(self, version: int, value: str) -> None:
        before = await in_force(self.vault, NAME)
        await self.vault.put_secret(f"{NAME}/v{version}", value)
        await put_in_force(self.vault, NAME, InForce(version, f"{NAME}/v{version}", self.clock.now(), before.stored_as))


@pytest.fixture
async def office(tmp_path: Path) -> Office:
    opened = Office(tmp_path / "vault")
    await opened.vault.put_secret(NAME, "first")
    return opened


async def test_a_new_version_is_used_within_seconds_and_no_sooner(office: Office) -> None:
    assert await office.credential.value() == "first"
    await office.rotate(2, "second")
    assert await office.credential.value() == "first"
    office.seconds += REMEMBERED_SECONDS
    assert await office.credential.value() == "second"


async def test_once_the_vault_is_away_nothing_is_told_though_it_is_still_known(office: Office) -> None:
    assert await office.credential.value() == "first"
    (office.folder / "down").touch()
    assert await office.credential.value() == "first"
    office.seconds += REMEMBERED_SECONDS
    for ask in (office.credential.value, office.credential.accepted):
        with pytest.raises(VaultUnavailable):
            await ask()
    (office.folder / "down").unlink()
    assert await office.credential.value() == "first"


async def test_a_vault_that_is_away_from_the_start_gives_nothing(office: Office) -> None:
    (office.folder / "down").touch()
    with pytest.raises(VaultUnavailable):
        await office.credential.value()


async def test_the_version_before_is_accepted_for_a_day_and_the_one_before_that_never(office: Office) -> None:
    await office.rotate(2, "second")
    office.clock.set(NOON + timedelta(hours=1))
    await office.rotate(3, "third")
    assert await office.credential.accepted() == ("third", "second")
    office.clock.set(NOON + timedelta(hours=1) + OVERLAP - timedelta(microseconds=1))
    assert await office.credential.accepted() == ("third", "second")
    office.clock.set(NOON + timedelta(hours=1) + OVERLAP)
    assert await office.credential.accepted() == ("third",)


async def test_the_date_of_a_first_version_is_written_once(office: Office) -> None:
    await date_first_versions(office.vault, (NAME,), NOON)
    await date_first_versions(office.vault, (NAME,), NOON + timedelta(days=9))
    assert await in_force(office.vault, NAME) == InForce(1, NAME, NOON)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"version": "x", "stored_as": "a", "since": None})])
async def test_a_version_that_is_unreadable_closes_the_credential(office: Office, text: str) -> None:
    await office.vault.put_secret(f"{NAME}/version", text)
    with pytest.raises(VaultUnavailable):
        await office.credential.value()


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_the_log_says_what_was_fetched_by_name_and_never_the_value(
    logged: list[dict[str, object]], office: Office
) -> None:
    """P-20: once at the first look and once per change, not at every use."""
    await fetch(office.vault, NAME)
    for _ in range(3):
        await office.credential.value()
    await office.rotate(2, "second")
    office.seconds += REMEMBERED_SECONDS
    await office.credential.value()
    told = [(line["event"], line["resource"], line.get("version")) for line in logged]
    assert told == [("vault_fetched", NAME, version) for version in (None, 1, 2)]
    assert "first" not in repr(logged)
    assert "second" not in repr((logged, office.credential))
