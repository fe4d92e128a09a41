"""Holes planted in a system: the run does not pass, and names the attack that got through (must-show 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.redteam.holes_planted import without
from tests.redteam.house import House

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass(frozen=True)
class Hole:
    """``sql`` makes it as the superuser; ``undo`` where it is not the database's own but the cluster's. ``named`` are
    attacks that must get through; ``played`` are more that are run beside them and must not."""

    sql: str
    named: tuple[str, ...]
    undo: str = ""
    played: tuple[str, ...] = ()


OPEN_BYPASS = "fx.open_bypass(text, timestamptz, text, text, text, text)"

UNFIT = "fx.refuse_unfit_administrator(text, boolean, text, text, timestamptz)"

READABLE = "fx.refuse_unreadable(text, timestamptz, text[], json, jsonb)"

CHANGE = "fx.change(text, timestamptz, text, text, text, text, text, text, json)"

HOLES = {
    "a table without FORCE": Hole(
        "alter table app.subjects no force row level security", ("RT-90",), played=("RT-02",)
    ),
    "row security disabled": Hole(
        "alter table app.sessions disable row level security", ("RT-01", "RT-02", "RT-16", "RT-90")
    ),
    "a policy with OR true": Hole(
        "alter policy tenant_only on app.subjects using (tenant_id = (select fx.tenant()) or true)",
        ("RT-01", "RT-02", "RT-52", "RT-91"),
    ),
    "a second permissive policy": Hole(
        "create policy second on app.subjects for select to fx_app using (true)", ("RT-02", "RT-36", "RT-91")
    ),
    "a policy for everybody": Hole(
        "create policy every on app.audit_entries for select using (true)", ("RT-02", "RT-91"), played=("RT-90",)
    ),
    "a bypass policy that asks for no grant": Hole(
        "alter policy bypass_reads on app.subjects using (true)", ("RT-68", "RT-91"), played=("RT-67",)
    ),
    "a bypass that may be read in its own transaction": Hole(
        without("fx.bypass_tenants()", "and g.xid is distinct from pg_current_xact_id_if_assigned()")
        + ";"
        + without("fx.bypass_tenants()", "or current_setting('transaction_read_only') <> 'on'")
        + ";"
        + without("fx.bypass_tenants()", "and g.lxid = fx.own_lxid()"),
        ("RT-69", "RT-80"),
    ),
    "a bypass without an end": Hole(
        without("fx.bypass_tenants()", "and g.expires_at > clock_timestamp()"), ("RT-72",), played=("RT-73",)
    ),
    "a bypass for every connection": Hole(
        without("fx.bypass_tenants()", "g.backend_pid = pg_backend_pid() and")
        + ";"
        + without("fx.bypass_tenants()", "on a.backend_start = g.backend_start", "on true")
        + ";"
        + without("fx.bypass_tenants()", "and g.lxid = fx.own_lxid()"),
        ("RT-71",),
        played=("RT-68",),
    ),
    "a bypass that outlives its admin session": Hole(
        without("fx.bypass_tenants()", "and s.state = 'OPEN'"), ("RT-74",), played=("RT-73",)
    ),
    "a bypass that asks nobody who is logged in": Hole(
        without(OPEN_BYPASS, "session_user <> 'fx_platform'", "false")
        + ";"
        + without(UNFIT, "session_user <> 'fx_platform'", "false"),
        ("RT-77", "RT-79"),
        played=("RT-78",),
    ),
    "an admin session approved by its requester": Hole(
        "alter table app.admin_sessions drop constraint admin_sessions_check", ("RT-75",), played=("RT-76",)
    ),
    "a definer function without search_path": Hole(
        f"alter function {CHANGE} reset search_path", ("RT-92",), played=("RT-93",)
    ),
    "a definer function for everybody that returns rows": Hole(
        "create function fx.everything() returns setof app.subjects language sql security definer set search_path = ''"
        " as $$ select * from app.subjects $$; grant execute on function fx.everything() to public",
        ("RT-92",),
    ),
    "fx_app is a member of fx_bypass": Hole(
        "grant fx_bypass to fx_app", ("RT-13", "RT-93"), "revoke fx_bypass from fx_app"
    ),
    "a serving login is a member of the owner": Hole(
        "grant fx_owner to fx_platform", ("RT-12", "RT-13", "RT-93"), "revoke fx_owner from fx_platform"
    ),
    "a serving login with BYPASSRLS": Hole(
        "alter role fx_platform bypassrls", ("RT-12", "RT-93"), "alter role fx_platform nobypassrls"
    ),
    "UPDATE on the record": Hole("grant update on app.audit_entries to fx_app", ("RT-39", "RT-93"), played=("RT-41",)),
    "a guard that is off": Hole("alter table app.subjects disable trigger a_guard_change", ("RT-28", "RT-94")),
    "a view with its owner's eyes": Hole(
        "create view app.all_subjects as select * from app.subjects; grant select on app.all_subjects to fx_app",
        ("RT-02", "RT-48", "RT-95"),
    ),
    "pins that never expire": Hole(
        without("fx.tenant()", "if parts[2]::bigint < extract(epoch from clock_timestamp()) then return null; end if;"),
        ("RT-05",),
        played=("RT-04", "RT-06"),
    ),
    "pins of retired keys": Hole(without("fx.tenant()", "where retired_at is null"), ("RT-09",), played=("RT-08",)),
    "pins that nobody verifies": Hole(
        without("fx.tenant()", "= decode(parts[3], 'hex')", "is not null"), ("RT-04", "RT-06", "RT-07", "RT-08")
    ),
    "an entry of any role": Hole(
        without(CHANGE, "not (entry_actor_role = any (rule.actor_roles))", "false"), ("RT-26", "RT-78")
    ),
    "entries of any time": Hole(
        without(READABLE, "entry_at is null or entry_at < '2000-01-01Z' or entry_at >= '2101-01-01Z'", "false"),
        ("RT-120",),
        played=("RT-122",),
    ),
    "entries of any spelling": Hole(
        without(READABLE, "or not fx.names_in_order(entry_diff)"), ("RT-121",), played=("RT-120",)
    ),
    "entries of any length": Hole(without(READABLE, "length(c) > 500", "false"), ("RT-122",), played=("RT-121",)),
    "a nonce for nothing": Hole(
        "drop trigger a_goes_to_a_promise on ops.chain_senders", ("RT-123",), played=("RT-124",)
    ),
    "a sender that somebody has added": Hole(
        "insert into ops.chain_senders (sender, next_nonce, mined)"
        " values ('0x00000000000000000000000000000000000000aa', 0, 0)",
        ("RT-156",),
        played=("RT-123",),
    ),
    "a count of the chain that a tenant may tell": Hole(
        "grant execute on function fx.sender_has_mined(text, bigint) to fx_app", ("RT-92", "RT-124"), played=("RT-123",)
    ),
    "entries with any rows": Hole(
        without(CHANGE, "perform fx.refuse_misfit(entry_action, parsed -> 'rows');"), ("RT-125", "RT-126")
    ),
    "a sequence that everybody may read": Hole(
        "grant select on sequence fx.invoice_numbers to fx_app", ("RT-49",), played=("RT-50",)
    ),
    "sessions that may end each other": Hole(
        "grant execute on function pg_terminate_backend(integer, bigint) to public", ("RT-20",), played=("RT-47",)
    ),
    "temporary tables": Hole(
        "do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$",
        ("RT-30", "RT-50"),
    ),
    "a login that makes roles": Hole(
        "alter role fx_app createrole", ("RT-15", "RT-93"), "alter role fx_app nocreaterole"
    ),
    "a login that may silence triggers": Hole(
        "grant set on parameter session_replication_role to fx_app", ("RT-17",),
        "revoke set on parameter session_replication_role from fx_app",
    ),
    "files of the server": Hole("grant execute on function pg_read_file(text) to fx_app", ("RT-19",)),
    "pins' key for reading": Hole("grant select on fx.pin_keys to fx_app", ("RT-11",)),
    "an inner function for a login": Hole("grant execute on function fx.entry_bytes to fx_app", ("RT-21", "RT-92")),
    "machines that a login unloads": Hole("grant delete on fx.machine_transitions to fx_app", ("RT-41", "RT-93")),
    "a domain table that a login writes": Hole("grant insert on app.sessions to fx_app", ("RT-40", "RT-93")),
    "jobs of everybody": Hole("create policy every on ops.jobs to fx_app using (true)", ("RT-02", "RT-44", "RT-91")),
    "a key that is unique across tenants": Hole("create unique index sly on app.alerts (id)", ("RT-45",)),
    "statistics for reading": Hole("grant select on pg_statistic to fx_app", ("RT-46",)),
    "sessions that may be watched": Hole(
        "grant execute on function pg_stat_get_activity(integer) to public", ("RT-47", "RT-92")
    ),
    "a cursor that outlives its grant": Hole(
        without("fx.close_bypass()", "execute 'close all';"), ("RT-73",), played=("RT-74",)
    ),
    "grants for reading": Hole("grant select on ops.bypass_grants to fx_app", ("RT-81",)),
    "turns that a tenant may move": Hole("grant update (due_at) on ops.periodic_turns to fx_app", ("RT-93", "RT-140")),
    "jobs of any time": Hole("alter table ops.jobs drop constraint jobs_run_at_check", ("RT-141",)),
    "carried rows that a tenant may declare": Hole("grant insert on fx.action_carries to fx_app", ("RT-93", "RT-142")),
    "a window of times that a tenant may open": Hole(
        "grant update (tolerance) on fx.entry_window to fx_app", ("RT-93", "RT-143")
    ),
    "locks of any key": Hole(
        "grant execute on function pg_advisory_xact_lock(bigint) to fx_app", ("RT-149",), played=("RT-20",)
    ),
    "locks without a tenant": Hole(
        without("fx.lock(text, boolean)", "pinned || ':' || thing", "thing"), ("RT-149",), played=("RT-123",)
    ),
    "promises with any nonce": Hole("alter table app.chain_tx disable trigger b_nonce_was_given", ("RT-144",)),
    "keys wrapped by anybody's": Hole(
        without("fx.only_shred()", "and new.wrapped_by = 'tenant/' || new.tenant_id || '/wrap'"), ("RT-145",)
    ),
    "an alert that ends though somebody took it up": Hole(
        "insert into fx.machine_transitions values ('alert', 'ACKED', 'x', 'AUTO_CLEARED', 'ALERT_CLEAR')", ("RT-146",)
    ),
    "a table that nobody has registered": Hole(
        "create table app.notes (tenant_id text not null, note text); grant select on app.notes to fx_app", ("RT-90",)
    ),
}  # fmt: skip


@asynccontextmanager
async def planted(place: House, hole: Hole) -> AsyncIterator[None]:
    """What is the cluster's is taken back whatever happens: other tests live there too."""
    await place.plant(hole.sql)
    try:
        yield
    finally:
        if hole.undo:
            await place.plant(hole.undo)


def test_enough_holes_are_planted() -> None:
    assert len(HOLES) >= 14


AT_ONCE = 14
"""So many are played in `make test`, the others in `make soak`."""


@pytest.mark.parametrize(
    "hole",
    [
        pytest.param(hole, id=name, marks=[pytest.mark.soak] if number >= AT_ONCE else [])
        for number, (name, hole) in enumerate(HOLES.items())
    ],
)
async def test_a_planted_hole_is_named(place: House, hole: Hole) -> None:
    async with planted(place, hole):
        results = await place.play(*hole.named, *hole.played)
    broken = {name for name, result in results.items() if result.broken}
    assert broken == set(hole.named), {name: result.detail for name, result in results.items()}
    assert not any("unforeseen" in results[name].detail for name in broken)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(HOLES)[:8])
async def test_a_hole_fails_the_whole_run_and_its_report(place: House, name: str) -> None:
    hole = HOLES[name]
    async with planted(place, hole):
        done = await place.bypass()
    assert set(hole.named) <= set(done.report.broken)
    assert (done.report.outcome, done.whole) == (1, True)
    assert done.archived_as, "a run that found something is kept as well"
