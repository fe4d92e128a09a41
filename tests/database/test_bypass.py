"""Reading across tenants: two steps, a fingerprint first, and no other way (TI-07, TI-08, AD-19, Q24)."""

from __future__ import annotations

import json
from datetime import timedelta

import asyncpg
import pytest

from tests.database.administrators import (
    REASON,
    SEEN,
    administrator,
    moved,
    open_bypass,
    record,
    seen,
)
from tests.database.bypass_house import Place, place
from tests.database.things import A, B, verify

pytestmark = pytest.mark.anyio
__all__ = ["place"]


async def test_a_committed_grant_shows_the_tenant_that_has_it_and_is_named_in_both_trails(place: Place) -> None:
    """An entry in the trail of the admin session's tenant, and one in that of the tenant whose rows show."""
    entry_id = await place.grant()
    assert await seen(place.platform) == 2
    entry, where_seen = await place.fingerprints()
    assert entry["id"] == entry_id
    assert (entry["tenant_id"], where_seen["tenant_id"]) == (A, B)
    for one in (entry, where_seen):
        assert (one["actor"], one["actor_role"]) == (place.people.ann, "platform_admin")
        assert (one["resource"], one["on_behalf_of"]) == (place.session, place.people.seller[A])
        assert json.loads(one["diff"])["facts"] == [
            {"fact": "RbacBypass", "admin_session": place.session, "question": "thing", "reason": REASON,
             "reference": "tnt_b_1", "tenants": [B]}
        ]  # fmt: skip
    assert (await verify(place.world)).faults == ()


async def test_a_grant_is_spent_by_the_next_transaction_and_shows_nothing_to_any_other(place: Place) -> None:
    """Before: six reading transactions after one entry."""
    await place.grant()
    assert [await seen(place.platform) for _ in range(3)] == [2, 0, 0]
    assert len(await place.fingerprints()) == 2


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_no_rollback_gives_a_spent_grant_back(place: Place, end: str) -> None:
    await place.grant()
    await place.platform.execute("begin read only; set local fx.bypass_rls = true; set local role fx_bypass")
    assert await place.platform.fetchval(SEEN) == 2
    await place.platform.execute(end)
    assert await seen(place.platform) == 0


async def test_a_grant_is_spent_by_a_transaction_that_reads_nothing(place: Place) -> None:
    await place.grant()
    await place.platform.execute("select 1")
    assert await seen(place.platform) == 0


BESIDE = f"set local fx.bypass_rls = true; set local role fx_bypass; declare kept cursor with hold for {SEEN}; commit"


async def test_a_cursor_held_beyond_its_transaction_is_gone_with_the_close(place: Place) -> None:
    await place.grant()
    await place.platform.execute(f"begin read only; {BESIDE}")
    await place.platform.execute("select fx.close_bypass()")
    with pytest.raises(asyncpg.InvalidCursorNameError):
        await place.platform.execute("fetch all from kept")


async def test_a_cursor_held_beyond_the_fingerprints_own_transaction_holds_nothing(place: Place) -> None:
    """What it holds is read at COMMIT, when the entry is linked already."""
    await place.platform.execute("begin")
    await open_bypass(place.world, place.platform, place.session)
    await place.platform.execute(BESIDE)
    assert await place.platform.fetchval("fetch all from kept") == 0


async def test_a_question_that_nobody_can_ask_is_refused(place: Place) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with place.platform.transaction():
            await open_bypass(place.world, place.platform, place.session, question="everything")
    assert refused.value.sqlstate == "FX032"


async def test_what_nobody_has_leaves_its_entry_and_shows_nobodys_rows(place: Place) -> None:
    async with place.platform.transaction():
        await open_bypass(place.world, place.platform, place.session, reference="nobodys")
    assert await seen(place.platform) == 0
    [entry] = await place.fingerprints()
    assert json.loads(entry["diff"])["facts"][0]["tenants"] == []


@pytest.mark.parametrize("guc", ["TRUE", "true", "'TrUe'"])
async def test_the_setting_may_be_spelled_in_any_case(place: Place, guc: str) -> None:
    await place.grant()
    assert await seen(place.platform, guc=guc) == 2


@pytest.mark.parametrize("guc", ["TRUE", None, "FALSE", "'1'", "''"])
async def test_without_a_grant_role_and_setting_show_nothing(place: Place, guc: str | None) -> None:
    assert await seen(place.platform, guc=guc) == 0


async def test_the_setting_alone_shows_nothing(place: Place) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await seen(place.platform, role=False)


@pytest.mark.parametrize("guc", [None, "FALSE", "'1'", "''", "'true '"])
async def test_a_grant_without_the_setting_shows_nothing(place: Place, guc: str | None) -> None:
    await place.grant()
    assert await seen(place.platform, guc=guc) == 0


async def test_a_grant_without_the_role_shows_nothing(place: Place) -> None:
    await place.grant()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await seen(place.platform, role=False)


async def test_a_grant_gives_nothing_in_its_own_transaction(place: Place) -> None:
    """The hole of the one-step form: read, then ROLLBACK, and the evidence is gone."""
    transaction = place.platform.transaction()
    await transaction.start()
    await open_bypass(place.world, place.platform, place.session)
    await place.platform.execute("set constraints all immediate")  # links the entry early
    await place.platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
    assert await place.platform.fetchval(SEEN) == 0
    with pytest.raises(asyncpg.PostgresError):  # and it cannot be made a reading transaction afterwards
        await place.platform.execute("set transaction read only; set transaction read write")
    await transaction.rollback()
    assert await seen(place.platform) == 0
    assert await place.fingerprints() == []


async def test_a_grant_that_was_rolled_back_gives_nothing(place: Place) -> None:
    transaction = place.platform.transaction()
    await transaction.start()
    await open_bypass(place.world, place.platform, place.session)
    await transaction.rollback()
    assert await seen(place.platform) == 0


async def test_a_grant_that_was_rolled_back_to_a_savepoint_gives_nothing(place: Place) -> None:
    async with place.platform.transaction():
        inner = place.platform.transaction()
        await inner.start()
        await open_bypass(place.world, place.platform, place.session)
        await place.platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
        assert await place.platform.fetchval(SEEN) == 0
        await inner.rollback()
        await place.platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
        assert await place.platform.fetchval(SEEN) == 0
    assert await seen(place.platform) == 0
    assert await place.fingerprints() == []


async def test_a_savepoint_inside_the_reading_transaction_changes_nothing(place: Place) -> None:
    await place.grant()
    async with place.platform.transaction(readonly=True):
        inner = place.platform.transaction()
        await inner.start()
        await place.platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
        assert await place.platform.fetchval(SEEN) == 2
        await inner.rollback()  # the setting and the role go with it
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await place.platform.fetchval(SEEN)


async def test_a_grant_is_for_one_connection(place: Place) -> None:
    await place.grant()
    other = await place.world.connect("fx_platform")
    assert await seen(other) == 0
    await other.close()


async def test_a_process_that_has_the_same_number_later_has_no_grant(place: Place) -> None:
    await place.grant()
    superuser = await place.world.connect("postgres")
    await superuser.execute("update ops.bypass_grants set backend_start = backend_start - interval '1 hour'")
    await superuser.close()
    assert await seen(place.platform) == 0


async def test_a_grant_runs_out_by_the_databases_clock(place: Place) -> None:
    await place.grant()
    superuser = await place.world.connect("postgres")
    lasts = await superuser.fetchval("select expires_at - granted_at from ops.bypass_grants")
    await superuser.execute(
        "update ops.bypass_grants set granted_at = granted_at - interval '61 s',"
        " expires_at = expires_at - interval '61 s'"
    )
    await superuser.close()
    assert lasts <= timedelta(seconds=60)
    assert await seen(place.platform) == 0


async def test_nothing_is_seen_after_the_grant_is_closed(place: Place) -> None:
    await place.grant()
    assert await seen(place.platform) == 2
    assert await place.platform.fetchval("select fx.close_bypass()") == 1
    assert await seen(place.platform) == 0


async def test_nothing_is_seen_once_the_admin_session_is_closed(place: Place) -> None:
    await place.grant()
    row = moved(A, place.session, "OPEN", "CLOSED", closed_at=place.world.clock.now())
    await record(place.world, administrator(A, place.people.ann), "ADMIN_SESSION_CLOSE", row)
    assert await seen(place.platform) == 0


async def test_a_second_grant_ends_the_first_and_leaves_its_own_entry(place: Place) -> None:
    first, second = await place.grant(), await place.grant()
    superuser = await place.world.connect("postgres")
    live = await superuser.fetch("select entry_id from ops.bypass_grants where closed_at is null")
    await superuser.close()
    assert [row["entry_id"] for row in live] == [second]
    assert {row["id"] for row in await place.fingerprints() if row["tenant_id"] == A} == {first, second}


async def test_foreign_rows_are_seen_in_a_reading_transaction_only(place: Place) -> None:
    await place.grant()
    async with place.platform.transaction():
        await place.platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
        assert await place.platform.fetchval(SEEN) == 0


async def test_the_bypass_writes_nothing(place: Place) -> None:
    await place.grant()
    for statement in (
        "update app.things set note = 'x'",
        "delete from app.things",
        "insert into app.things (tenant_id, id, state, amount_pence) values ('tnt_b', 'y', 'SHUT', 1)",
        "select * into app.copied from app.things",
        "create temporary table copied as select * from app.things",
        "select fx.change('aud_1', now(), 'THING_NOTE', 'a', 'system', null, 'r', '', '{\"facts\":[],\"rows\":[]}')",
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            async with place.platform.transaction():
                await place.platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
                await place.platform.execute(statement)
        assert refused.value.sqlstate == "42501"


@pytest.mark.parametrize("role", ["fx_app", "fx_worker", "fx_sealer", "fx_auditor"])
async def test_no_other_login_has_any_part_of_it(place: Place, role: str) -> None:
    connection = await place.world.connect(role)
    for statement in (
        "set role fx_bypass",
        "set role fx_fingerprint",
        "select fx.open_bypass('aud_x', now(), 'ads_x', 'thing', 'x', 'req')",
        "select fx.close_bypass()",
        "select fx.bypass_tenants()",
        "insert into ops.bypass_grants select * from ops.bypass_grants",
        "select count(*) from ops.bypass_grants",
        "select fx.is_administrator('sub_x')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_the_setting_means_nothing_to_the_serving_role(place: Place) -> None:
    """TI-07: while an administrator reads, nobody else sees more."""
    await place.grant()
    connection = await place.world.connect("fx_app")
    await connection.execute("set fx.bypass_rls = true")
    assert await connection.fetchval(SEEN) == 0
    async with connection.transaction():
        await connection.execute("select set_config('fx.pin', $1, true)", place.world.pins.pin(A))
        assert await connection.fetchval(SEEN) == 2
    await connection.close()


async def test_the_superuser_does_not_pass_as_an_administrator(place: Place) -> None:
    await place.grant()
    superuser = await place.world.connect("postgres")
    assert await seen(superuser) == 0
    await superuser.close()


async def test_an_administrators_connection_sees_nothing_by_itself(place: Place) -> None:
    for table in ("app.things", "app.audit_entries", "app.admin_sessions", "ops.bypass_grants", "ops.jobs"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await place.platform.fetchval(f"select count(*) from {table}")
