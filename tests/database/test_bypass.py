"""Reading across tenants: two steps, a fingerprint first, and no other way (TI-07, TI-08, AD-19, Q24)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, system
from tests.database.administrators import (
    HOME,
    REASON,
    SEEN,
    People,
    admin_session,
    administrator,
    moved,
    open_bypass,
    record,
    seen,
    settle,
)
from tests.database.things import A, B, all_entries, change, noted, verify
from tests.support import World

pytestmark = pytest.mark.anyio


@dataclass
class Place:
    """A settled world with an open BYPASS session of ann's, and her own connection."""

    world: World
    people: People
    session: str
    platform: asyncpg.Connection

    async def grant(self) -> str:
        """Step 1, committed; the entry's id."""
        async with self.platform.transaction():
            return await open_bypass(self.world, self.platform, self.session)

    async def fingerprints(self) -> list[asyncpg.Record]:
        """The RBAC_BYPASS entries of the whole record."""
        return [row for row in await all_entries(self.world) if row["action"] == "RBAC_BYPASS"]


@pytest.fixture
async def place(world: World) -> AsyncIterator[Place]:
    people = await settle(world)
    session = await admin_session(world, people)
    platform = await world.connect("fx_platform")
    yield Place(world, people, session, platform)
    await platform.close()


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


async def entry_gone(place: Place, superuser: asyncpg.Connection, entry_id: str) -> None:
    await superuser.execute("alter table app.audit_entries disable trigger all")
    await superuser.execute("delete from app.audit_entries where id = $1", entry_id)


async def test_a_grant_without_its_entry_gives_nothing(place: Place) -> None:
    """Forged by a superuser even: no fingerprint, no rows (TI-08)."""
    entry_id = await place.grant()
    superuser = await place.world.connect("postgres")
    await entry_gone(place, superuser, entry_id)
    await superuser.close()
    assert await seen(place.platform) == 0


Spoil = Callable[[Place], Awaitable[str]]


async def not_approved(place: Place) -> str:
    return await admin_session(place.world, place.people, until="REQUESTED")


async def not_open(place: Place) -> str:
    return await admin_session(place.world, place.people, until="APPROVED")


async def closed(place: Place) -> str:
    return await admin_session(place.world, place.people, until="CLOSED")


async def to_act(place: Place) -> str:
    return await admin_session(place.world, place.people, purpose="ACT")


async def expired(place: Place) -> str:
    place.world.clock.set(place.world.clock.now() + timedelta(minutes=15))
    return place.session


async def elsewhere(place: Place) -> str:
    return await admin_session(place.world, place.people, tenant_id=B)


async def frozen(place: Place, who: str) -> str:
    row = audit.update(
        "subjects", key={"tenant_id": HOME, "id": who}, before={"state": "ACTIVE", "frozen_from": None},
        after={"state": "FROZEN", "frozen_from": "ACTIVE"},
    )  # fmt: skip
    freezer = Caller(HOME, Role.MLRO, "sub_mlro")
    await record(place.world, freezer, "SUBJECT_FREEZE", row)
    return place.session


async def requester_frozen(place: Place) -> str:
    return await frozen(place, place.people.ann)


async def approver_frozen(place: Place) -> str:
    return await frozen(place, place.people.bob)


async def nobodys(place: Place) -> str:
    return "ads_nobodys"


@pytest.mark.parametrize(
    ("spoil", "sqlstate"),
    [
        (not_approved, "FX031"), (not_open, "FX031"), (closed, "FX031"), (to_act, "FX031"), (expired, "FX031"),
        (elsewhere, "FX031"), (nobodys, "FX031"), (requester_frozen, "FX030"), (approver_frozen, "FX031"),
    ],
)  # fmt: skip
async def test_only_an_open_bypass_session_of_two_active_administrators_gives_a_grant(
    place: Place, spoil: Spoil, sqlstate: str
) -> None:
    session = await spoil(place)
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with place.platform.transaction():
            await open_bypass(place.world, place.platform, session)
    assert refused.value.sqlstate == sqlstate
    assert await place.fingerprints() == []


@pytest.mark.parametrize("pin", ["", "tnt_a.9999999999." + "0" * 64])
async def test_no_pin_no_grant(place: Place, pin: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with place.platform.transaction():
            await place.platform.execute("select set_config('fx.pin', $1, true)", pin)
            await place.platform.execute(
                "select fx.open_bypass('aud_x', $1, $2, 'thing', 'x', 'req')", place.world.clock.now(), place.session
            )
    assert refused.value.sqlstate == "FX031"


@pytest.mark.parametrize("on_behalf_of", [None, "sub_somebody_else"])
async def test_the_entry_cannot_be_made_by_hand(place: Place, on_behalf_of: str | None) -> None:
    """AD-19; and nobody but fx.open_bypass writes one, so an entry always stands for a grant."""
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(place.world, administrator(A, place.people.ann, on_behalf_of), "RBAC_BYPASS")
    assert refused.value.sqlstate == ("FX007" if on_behalf_of is None else "FX031")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(place.world, administrator(A, place.people.ann, place.people.seller[A]), "RBAC_BYPASS")
    assert refused.value.sqlstate == "FX032"


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": "too short"}, {"reason": " " * 30}, {"purpose": "LOOK"}, {"on_behalf_of": None},
    ],
)  # fmt: skip
async def test_an_admin_session_says_for_whom_and_why(place: Place, wrong: dict[str, str | None]) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await admin_session(place.world, place.people, until="REQUESTED", **wrong)


async def test_an_admin_session_for_nobody_is_asked_for_and_never_opened(place: Place) -> None:
    """Asking does not tell whether there is such a customer."""
    nobody = "sub_" + "0" * 26
    await admin_session(place.world, place.people, until="APPROVED", on_behalf_of=nobody)
    with pytest.raises(asyncpg.PostgresError, match="for nobody of its tenant") as refused:
        await admin_session(place.world, place.people, on_behalf_of=nobody)
    assert refused.value.sqlstate == "FX033"


async def test_four_eyes_and_fifteen_minutes_are_the_databases_own_rule(place: Place) -> None:
    ann, now = administrator(A, place.people.ann), place.world.clock.now()
    asked = await admin_session(place.world, place.people, until="REQUESTED")
    with pytest.raises(asyncpg.CheckViolationError):
        row = moved(A, asked, "REQUESTED", "APPROVED", approved_by=place.people.ann, approved_at=now)
        await record(place.world, ann, "ADMIN_SESSION_APPROVE", row)
    approved = await admin_session(place.world, place.people, until="APPROVED")
    with pytest.raises(asyncpg.CheckViolationError):
        late = now + timedelta(minutes=15, seconds=1)
        row = moved(A, approved, "APPROVED", "OPEN", opened_at=now, expires_at=late)
        await record(place.world, ann, "ADMIN_SESSION_OPEN", row)


async def test_nobody_is_named_in_an_admin_session_but_who_records_it(place: Place) -> None:
    """One administrator alone with the other's name is one pair of eyes."""
    ann, bob, now = place.people.ann, place.people.bob, place.world.clock.now()
    asked = await admin_session(place.world, place.people, until="REQUESTED")
    approved = await admin_session(place.world, place.people, until="APPROVED")
    in_the_others_name = (
        (ann, "ADMIN_SESSION_APPROVE", moved(A, asked, "REQUESTED", "APPROVED", approved_by=bob, approved_at=now)),
        (bob, "ADMIN_SESSION_OPEN",
         moved(A, approved, "APPROVED", "OPEN", opened_at=now, expires_at=now + timedelta(minutes=15))),
    )  # fmt: skip
    for actor, action, row in in_the_others_name:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await record(place.world, administrator(A, actor), action, row)
        assert refused.value.sqlstate == "FX033"
    with pytest.raises(asyncpg.PostgresError) as refused:
        await admin_session(place.world, place.people, until="REQUESTED", requested_by=bob)
    assert refused.value.sqlstate == "FX033"


@pytest.mark.parametrize("years", [-11, 11])
async def test_an_entry_that_lies_about_its_time_opens_nothing(place: Place, years: int) -> None:
    """Neither an older hour in an expired session, nor a session that is opened in the far future."""
    now = place.world.clock.now()
    if years > 0:
        later = now + timedelta(days=365 * years)
        session = await admin_session(place.world, place.people, until="APPROVED")
        row = moved(A, session, "APPROVED", "OPEN", opened_at=later, expires_at=later + timedelta(minutes=15))
        await record(place.world, administrator(A, place.people.ann), "ADMIN_SESSION_OPEN", row)
        at = now
    else:
        session = place.session
        superuser = await place.world.connect("postgres")
        await superuser.execute("update ops.admin_doors set opened_clock = opened_clock - interval '16 minutes'")
        await superuser.close()
        at = now
    with pytest.raises(asyncpg.PostgresError) as refused:
        async with place.platform.transaction():
            await place.platform.execute("select set_config('fx.pin', $1, true)", place.world.pins.pin(A))
            await place.platform.execute("select fx.open_bypass('aud_x', $1, $2, 'thing', 'x', 'req')", at, session)
    assert refused.value.sqlstate == "FX031"
    assert await place.fingerprints() == []


async def test_what_was_approved_cannot_become_something_else(place: Place) -> None:
    approved = await admin_session(place.world, place.people, until="APPROVED", purpose="ACT")
    now = place.world.clock.now()
    row = audit.update(
        "admin_sessions", key={"tenant_id": A, "id": approved},
        before={"state": "APPROVED", "purpose": "ACT", "opened_at": None, "expires_at": None},
        after={"state": "OPEN", "purpose": "BYPASS", "opened_at": now, "expires_at": now + timedelta(minutes=5)},
    )  # fmt: skip
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(place.world, administrator(A, place.people.ann), "ADMIN_SESSION_OPEN", row)
    assert refused.value.sqlstate == "FX033"


async def test_only_an_active_administrator_of_the_platform_has_admin_sessions(place: Place) -> None:
    made_up = People("sub_" + "a" * 26, place.people.bob, place.people.seller)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await admin_session(place.world, made_up)
    assert refused.value.sqlstate == "FX030"


# Each condition matters by itself: without it, what a test above refuses is let through.
TWINS = {
    "and g.xid is distinct from pg_current_xact_id_if_assigned()": "same transaction",
    "and g.closed_at is null": "closed",
    "and g.lxid = fx.own_lxid()": "second transaction",
    "g.backend_pid = pg_backend_pid() and": "other connection",
    "and g.expires_at > clock_timestamp()": "expired",
    "or current_setting('transaction_read_only') <> 'on'": "writing transaction",
    "and s.state = 'OPEN'": "session closed",
}


async def weaken(world: World, *conditions: str) -> None:
    """Re-make fx.bypass_tenants without some of its conditions."""
    superuser = await world.connect("postgres")
    body = str(await superuser.fetchval("select pg_get_functiondef('fx.bypass_tenants'::regproc)"))
    for condition in conditions:
        assert condition in body
        body = body.replace(condition, "")
    await superuser.execute(body)
    await superuser.close()


async def let_through(place: Place, case: str) -> int:
    """What the attack of a twin sees."""
    platform, world = place.platform, place.world
    if case == "same transaction":
        async with platform.transaction():
            await open_bypass(world, platform, place.session)
            await platform.execute("set constraints all immediate")
            await platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
            return int(await platform.fetchval(SEEN))
    await place.grant()
    match case:
        case "second transaction":
            assert await seen(platform) == 2
        case "closed":
            await platform.execute("select fx.close_bypass()")
        case "other connection":
            other = await world.connect("fx_platform")
            superuser = await world.connect("postgres")
            await superuser.execute(
                "update ops.bypass_grants set backend_start ="
                " (select backend_start from pg_stat_activity where pid = $1)",
                other.get_server_pid(),
            )
            await superuser.close()
            try:
                return await seen(other)
            finally:
                await other.close()
        case "expired":
            superuser = await world.connect("postgres")
            await superuser.execute(
                "update ops.bypass_grants set granted_at = granted_at - interval '1 h',"
                " expires_at = expires_at - interval '1 h'"
            )
            await superuser.close()
        case "writing transaction":
            async with platform.transaction():
                await platform.execute("set local fx.bypass_rls = true; set local role fx_bypass")
                return int(await platform.fetchval(SEEN))
        case "session closed":
            row = moved(A, place.session, "OPEN", "CLOSED", closed_at=world.clock.now())
            await record(world, administrator(A, place.people.ann), "ADMIN_SESSION_CLOSE", row)
            place.session = await admin_session(world, place.people)  # for the next time; the grant was the old one's
    return await seen(platform)


@pytest.mark.parametrize(("condition", "case"), TWINS.items(), ids=TWINS.values())
async def test_without_a_condition_its_attack_succeeds(place: Place, condition: str, case: str) -> None:
    assert await let_through(place, case) == 0
    # What else refuses the same attack goes too, or the condition itself would not be tried.
    besides = {"same transaction": {"writing transaction", "second transaction"}, "writing transaction": set()}
    also = besides.get(case, {"second transaction"}) - {case}
    await weaken(place.world, condition, *(name for name, of in TWINS.items() if of in also))
    assert await let_through(place, case) == 2


# Acting for a customer (AD-16): the database wants the session, whatever the service thinks.


async def test_an_administrator_acts_for_a_customer_in_an_open_session_only(place: Place) -> None:
    world, people = place.world, place.people
    company = audit.update(
        "subjects", key={"tenant_id": A, "id": people.seller[A]}, before={"state": "CREATED"},
        after={"state": "ONBOARDING"},
    )  # fmt: skip
    for_seller = administrator(A, people.ann, people.seller[A])
    for caller, sqlstate in (
        (administrator(A, people.ann), "FX007"),
        (for_seller, "FX031"),
        (administrator(A, people.bob, people.seller[A]), "FX031"),
        (administrator(A, "sub_" + "a" * 26, people.seller[A]), "FX030"),
        (administrator(A, people.ann, people.seller[B]), "FX031"),
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await record(world, caller, "ONBOARDING_OPEN", company)
        assert refused.value.sqlstate == sqlstate
    session = await admin_session(world, people, purpose="ACT")
    entry_id = await record(world, for_seller, "ONBOARDING_OPEN", company)
    [entry] = [row for row in await all_entries(world) if row["id"] == entry_id]
    assert (entry["actor"], entry["on_behalf_of"]) == (people.ann, people.seller[A])
    row = moved(A, session, "OPEN", "CLOSED", closed_at=world.clock.now())
    await record(world, administrator(A, people.ann), "ADMIN_SESSION_CLOSE", row)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(world, for_seller, "ONBOARDING_SUBMIT")
    assert refused.value.sqlstate == "FX031"


async def test_an_act_session_that_ran_out_allows_nothing(place: Place) -> None:
    await admin_session(place.world, place.people, purpose="ACT")
    place.world.clock.set(place.world.clock.now() + timedelta(minutes=15))
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(place.world, administrator(A, place.people.ann, place.people.seller[A]), "ONBOARDING_SUBMIT")
    assert refused.value.sqlstate == "FX031"


@pytest.mark.parametrize(("action", "role"), [("SUBMIT_INVOICE", Role.SELLER), ("SESSION_END", Role.SELLER)])
async def test_nobody_but_an_administrator_acts_on_behalf_of_anybody(place: Place, action: str, role: Role) -> None:
    seller = place.people.seller[A]
    posing = Caller(A, role, seller, on_behalf_of=seller)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await record(place.world, posing, action)
    assert refused.value.sqlstate == "FX007"


async def test_the_rest_of_the_world_is_as_it_was(place: Place) -> None:
    """What is done without an administrator pays for none of this."""
    async with place.world.database.transaction(A) as tx:
        await change(tx, "THING_NOTE", noted(A, f"{A}_1", None, "x"))
    await record(place.world, system(A, "test"), "THING_NOTE")
