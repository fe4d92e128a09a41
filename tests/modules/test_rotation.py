"""Rotating a credential: only an administrator, on the record, safe to cut short anywhere; an old one is an alert."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fintokenx.app.providers import credential_names
from fintokenx.desks.operations import rotation, watch
from fintokenx.kernel import jobs
from fintokenx.kernel.caller import Caller, Role, WrongRole, system
from fintokenx.kernel.credentials import date_first_versions, in_force
from fintokenx.kernel.db import Tx
from fintokenx.kernel.vault import Vault, VaultUnavailable
from fintokenx.parties import auth
from tests.modules.parties_house import HERE, House, house
from tests.support import World

pytestmark = pytest.mark.anyio
NAME = "sumsub/webhook-secret"


class Killed(BaseException):
    """The process is gone."""


@dataclass
class CutShort:
    """The vault until the given write, at which the process is killed. Everything else is the real one."""

    real: Vault
    writes_left: int

    async def put_secret(self, name: str, value: str) -> None:
        if not self.writes_left:
            raise Killed
        self.writes_left -= 1
        await self.real.put_secret(name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@dataclass
class Work:
    """A job of the home tenant, run by hand."""

    world: World
    caller: Caller
    completed: int = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self.world.database.transaction(HERE) as tx:
            yield tx

    @asynccontextmanager
    async def completing(self) -> AsyncIterator[Tx]:
        async with self.transaction() as tx:
            yield tx
        self.completed += 1


@dataclass
class Office:
    """An installation with a credential, an administrator, and what stands in the record."""

    world: World
    house: House
    admin: Caller

    async def rotate(self, value: str, *, vault: Any = None, caller: Caller | None = None) -> int:
        now = await rotation.rotate_credential(
            self.world.database,
            vault or self.house.vault,
            caller or self.admin,
            name=NAME,
            value=value,
            names=credential_names(),
            entropy=os.urandom,
        )
        return now.version

    async def in_use(self) -> str:
        return await self.house.vault.secret((await in_force(self.house.vault, NAME)).stored_as)

    async def recorded(self) -> list[tuple[int, str]]:
        admin = await self.world.connect("postgres")
        try:
            rows = await admin.fetch("select version, rotated_by from app.credential_versions order by version")
            entries = await admin.fetchval(
                "select count(*) from app.audit_entries where action = 'PROVIDER_CRED_ROTATE'"
            )
        finally:
            await admin.close()
        assert entries == len(rows)
        return [(row["version"], row["rotated_by"]) for row in rows]

    async def alerts(self) -> list[tuple[str, str, int]]:
        admin = await self.world.connect("postgres")
        try:
            rows = await admin.fetch("select cause, resource, occurrences from app.alerts order by resource")
        finally:
            await admin.close()
        return [tuple(row) for row in rows]

    async def watched(self) -> Work:
        work: Any = Work(self.world, system(HERE, watch.JOB))
        check = watch.credentials_are_young(self.world.database, self.house.vault, self.world.clock, credential_names())
        await watch.Watch((check,)).look(work, {})
        return work  # type: ignore[no-any-return]


@pytest.fixture
async def office(world: World, tmp_path: Path) -> Office:
    built = house(world, tmp_path)
    await built.open_tenants()
    for name in credential_names():
        await built.vault.put_secret(name, "the first value")
    await date_first_versions(built.vault, credential_names(), world.clock.now())
    person = await built.subject(Role.PLATFORM_ADMIN, "pia@x.example")
    return Office(world, built, Caller(HERE, Role.PLATFORM_ADMIN, person.id, subject_id=person.id))


async def test_a_rotation_is_in_force_recorded_and_names_who_did_it(office: Office) -> None:
    assert await office.rotate("the second value") == 2
    assert await office.rotate("the third value") == 3
    assert await office.in_use() == "the third value"
    assert await office.recorded() == [(2, office.admin.actor), (3, office.admin.actor)]


async def test_no_value_stands_in_the_database_and_old_ones_leave_the_vault(office: Office) -> None:
    for value in ("the second value", "the third value", "the fourth value"):
        await office.rotate(value)
    admin = await office.world.connect("postgres")
    try:
        text = await admin.fetchval("select string_agg(e::text, '') from app.audit_entries e")
    finally:
        await admin.close()
    assert "PROVIDER_CRED_ROTATE" in text
    assert "value" not in text.replace("values", "")
    assert await office.house.vault.secret(NAME) == rotation.OVERWRITTEN
    before = (await in_force(office.house.vault, NAME)).before
    assert before is not None
    assert await office.house.vault.secret(before) == "the third value"


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.PLATFORM_ADMIN}))
async def test_no_other_role_rotates(office: Office, role: Role) -> None:
    """AD-20: 403, before anything is stored."""
    caller = Caller(HERE, role, "sub_" + "0" * 26, subject_id="sub_" + "0" * 26)
    with pytest.raises(WrongRole) as refused:
        await office.rotate("the second value", caller=caller)
    assert refused.value.status == 403
    with pytest.raises(WrongRole):
        async with office.world.database.transaction(HERE) as tx:
            await auth.rotate_credential(tx, caller, name=NAME, version=2, stored_as=f"{NAME}/v2-x")
    assert await office.recorded() == []


async def test_the_database_refuses_the_entry_of_another_role_too(office: Office) -> None:
    async with office.world.database.transaction(HERE) as tx:
        with pytest.raises(asyncpg.PostgresError, match="may not record PROVIDER_CRED_ROTATE"):
            await tx.value(
                "select fx.change($1, $2, 'PROVIDER_CRED_ROTATE', 'system:x', 'system', null, 'credential/x', 'r',"
                ' \'{"facts":[],"rows":[]}\')',
                tx.ids.new("aud"),
                tx.at,
            )


async def test_an_administrator_is_a_person_that_is_one_now(office: Office) -> None:
    other = await office.house.subject(Role.MLRO, "mia@x.example")
    for subject_id in (other.id, "sub_" + "0" * 26):
        with pytest.raises(auth.NotAnAdministrator):
            await office.rotate(
                "another value", caller=Caller(HERE, Role.PLATFORM_ADMIN, subject_id, subject_id=subject_id)
            )
    with pytest.raises(WrongRole):
        await office.rotate("another value", caller=Caller(HERE, Role.PLATFORM_ADMIN, "key_1"))
    assert await office.recorded() == []


@pytest.mark.parametrize("bad", ["", "short", " led by space", "ended by line\n", "two\nlines of it", "x" * 5000])
async def test_what_is_no_credential_is_refused(office: Office, bad: str) -> None:
    with pytest.raises(rotation.BadCredential):
        await office.rotate(bad)
    with pytest.raises(rotation.UnknownCredential):
        await rotation.rotate_credential(
            office.world.database,
            office.house.vault,
            office.admin,
            name="db/pin-key",
            value="a good value",
            names=credential_names(),
            entropy=os.urandom,
        )


@pytest.mark.parametrize(
    ("writes", "recorded", "in_use"),
    [(0, 0, "the first value"), (1, 1, "the first value"), (2, 1, "the second value")],
    ids=["before the value is stored", "recorded, not changed over", "changed over"],
)
async def test_a_rotation_that_is_cut_short_is_safe_and_can_be_run_again(
    office: Office, writes: int, recorded: int, in_use: str
) -> None:
    await office.rotate("the real first")  # so that there is an older value to overwrite, the last write
    vault = CutShort(office.house.vault, writes)
    with pytest.raises(Killed):
        await office.rotate("the second value", vault=vault)
    assert await office.in_use() == ("the real first" if in_use == "the first value" else in_use)
    assert len(await office.recorded()) == 1 + recorded
    again = await office.rotate("the value of the second run")
    assert again == 3 + recorded
    assert await office.in_use() == "the value of the second run"
    assert [version for version, _ in await office.recorded()] == list(range(2, again + 1))


async def test_the_watch_finishes_a_rotation_that_was_cut_short(office: Office) -> None:
    with pytest.raises(Killed):
        await office.rotate("the second value", vault=CutShort(office.house.vault, 1))
    states = await rotation.credential_states(office.world.database, office.house.vault, HERE, credential_names())
    held = {each.name: each for each in states}
    assert not held[NAME].is_finished
    await office.watched()
    assert await office.in_use() == "the second value"


async def test_of_two_rotations_at_once_the_recorded_one_is_in_force(office: Office) -> None:
    values = [f"value number {number}" for number in range(6)]
    ends = await asyncio.gather(*(office.rotate(value) for value in values), return_exceptions=True)
    won = {end: value for end, value in zip(ends, values, strict=True) if isinstance(end, int)}
    assert all(isinstance(end, int | auth.RotatedMeanwhile) for end in ends)
    await office.watched()
    recorded = await office.recorded()
    assert await office.in_use() == won[recorded[-1][0]]


async def test_a_credential_of_more_than_92_days_is_one_alert(office: Office) -> None:
    """P-21. The check runs every day; the alert is raised once, and not for the one that was rotated."""
    start = office.world.clock.now()
    office.world.clock.set(start + timedelta(days=92))
    await office.watched()
    assert await office.alerts() == []
    await office.rotate("the second value")
    office.world.clock.set(start + timedelta(days=92, microseconds=1))
    for _ in range(3):
        await office.watched()
    expected = [("CREDENTIAL_OLD", f"credential/{name}", 1) for name in sorted(credential_names()) if name != NAME]
    assert await office.alerts() == expected


async def test_a_value_that_the_vault_has_lost_is_an_alert(office: Office) -> None:
    async with office.world.database.transaction(HERE) as tx:
        await auth.rotate_credential(tx, office.admin, name=NAME, version=2, stored_as=f"{NAME}/v2-gone")
    await office.watched()
    assert await office.alerts() == [("CREDENTIAL_LOST", f"credential/{NAME}", 1)]


async def test_a_check_that_cannot_look_does_not_keep_back_what_another_found(office: Office) -> None:
    async def away(_work: jobs.Work) -> list[watch.Found]:
        raise VaultUnavailable("away")

    async def finds(_work: jobs.Work) -> list[watch.Found]:
        return [watch.Found("CREDENTIAL_OLD", "credential/x", watch.compliance.Severity.NOTICE)]

    work: Any = Work(office.world, system(HERE, watch.JOB))
    with pytest.raises(VaultUnavailable):
        await watch.Watch((watch.Check((), away), watch.Check((), finds))).look(work, {})
    assert work.completed == 0
    assert await office.alerts() == [("CREDENTIAL_OLD", "credential/x", 1)]


async def test_a_recorded_version_stays_as_it_is(office: Office) -> None:
    await office.rotate("the second value")
    admin = await office.world.connect("postgres")
    try:
        for statement in ("update app.credential_versions set version = 9", "delete from app.credential_versions"):
            with pytest.raises(asyncpg.PostgresError):
                await admin.execute(statement)
    finally:
        await admin.close()
