"""Which sessions and entries open the way across tenants, and which do not (TI-07, TI-08, AD-16, AD-19)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, system
from tests.database.administrators import (
    HOME,
    SEEN,
    People,
    admin_session,
    administrator,
    moved,
    open_bypass,
    record,
    seen,
)
from tests.database.bypass_house import Place, place
from tests.database.things import A, B, all_entries, change, noted
from tests.support import World

pytestmark = pytest.mark.anyio
__all__ = ["place"]


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
