"""Every door checks role and tenant before it asks the database anything (P-04).

Doors are what a module offers to others, the functions of its service that its own routes and jobs enter, and every
other function of a service that is not private: a new one without a guard fails here.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import typing
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest

from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant
from fintokenx.kernel.db import Tx
from tests.architecture.house import DEPTH, SRC, modules, nodes, sources

pytestmark = pytest.mark.anyio

Door = Callable[..., Awaitable[Any]]

WITHOUT_GUARD = {
    "fintokenx.audit.change": "records what a guarded command has decided; the database checks the actor's role",
}
WITHOUT_CALLER = {
    # Reads and checks inside a transaction whose command has been guarded, and the steps that find out who calls.
    "fintokenx.parties.auth.find_subject": "a read for the modules above",
    "fintokenx.parties.auth.held_subject": "a read for the modules above",
    "fintokenx.parties.auth.open_magic_link": "the link's secret is the credential: nobody is known yet",
    "fintokenx.parties.auth.subject": "a read for the modules above",
    "fintokenx.parties.auth.active_holders": "a read for the modules above",
    "fintokenx.parties.auth.subject_of_company": "a read for the modules above",
    "fintokenx.parties.kyc.designated_account": "a read for the modules above",
    "fintokenx.parties.kyc.must_be_active": "itself a guard",
    "fintokenx.parties.partner.authenticate_api_key": "the key is the credential: nobody is known yet",
    "fintokenx.parties.partner.require_feature": "itself a guard",
    "fintokenx.parties.partner.tenant": "a read of the tenant that the transaction is pinned to",
    # Locks and reads that the files of one service share, inside commands that have been guarded.
    "fintokenx.lifecycle.invoice.service.reads.locked": "a lock for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.collections_account": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.designated_account": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.funding": "rows for the files of its service",
    "fintokenx.lifecycle.settlement.service.instructing.outward": "rows for the files of its service",
    "fintokenx.lifecycle.settlement.service.reads.locked": "a lock for the files of its service",
    "fintokenx.lifecycle.settlement.service.reads.of_instruction": "a read for the files of its service",
    "fintokenx.lifecycle.settlement.service.walking.locked": "a lock for the files of its service",
    "fintokenx.lifecycle.tokenisation.service.reads.locked_chain_transaction": "a lock for the files of its service",
    "fintokenx.lifecycle.tokenisation.service.reads.locked_token": "a lock for the files of its service",
    "fintokenx.parties.kyc.service.running.started": "rows for the files of its service",
}


class DatabaseTouched(AssertionError):
    """A door asked the database before it refused."""


class NoDatabase:
    """A connection and a source of ids that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise DatabaseTouched(name)


def transaction() -> Tx:
    """A transaction of the tenant "here" in which any use of the database fails."""
    nothing: Any = NoDatabase()
    return Tx(nothing, "tnt_here", datetime(2026, 6, 2, tzinfo=UTC), nothing, Reactions(), "req_1")


def doors() -> dict[str, Door]:
    """Every function that takes a transaction and that some module's ``__all__`` offers."""
    found: dict[str, Door] = {}
    for name in modules():
        module = pkgutil.resolve_name(name)
        for public in module.__all__:
            value = getattr(module, public)
            if inspect.isfunction(value) and "tx" in inspect.signature(value).parameters:
                found[f"{name}.{public}"] = value
    return found


def entered() -> dict[str, Door]:
    """Every function of a service that the module's own routes and jobs enter with a transaction."""
    found: dict[str, Door] = {}
    for path, tree in sources():
        place = path.relative_to(SRC).with_suffix("").parts
        owner = ".".join(place[: DEPTH.get(place[1], 0) + 1])
        if owner not in modules() or not {"http", "jobs"} & set(place):
            continue
        names = vars(pkgutil.resolve_name(".".join(place).removesuffix(".__init__")))
        for node in nodes(tree):
            value: Any = None
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                value = getattr(names.get(node.value.id), node.attr, None)
            elif isinstance(node, ast.Name):
                value = names.get(node.id)
            if not inspect.isfunction(value) or not value.__module__.startswith(f"{owner}.service"):
                continue
            if "tx" in inspect.signature(value).parameters:
                found[f"{value.__module__}.{value.__name__}"] = value
    return found


def inner() -> dict[str, Door]:
    """Every function of a service that takes a transaction and whose name is not private."""
    found: dict[str, Door] = {}
    for owner in modules():
        for info in pkgutil.walk_packages(pkgutil.resolve_name(owner).__path__, f"{owner}."):
            if not f"{info.name}.".startswith(f"{owner}.service."):
                continue
            for name, value in vars(pkgutil.resolve_name(info.name)).items():
                at_home = inspect.iscoroutinefunction(value) and value.__module__ == info.name
                if at_home and not name.startswith("_") and "tx" in inspect.signature(value).parameters:
                    found[f"{info.name}.{name}"] = value
    return found


def some(wanted: Any) -> Any:
    """A value for an argument that no guard may need; a member where the type is an enumeration."""
    return next(iter(wanted)) if isinstance(wanted, type) and issubclass(wanted, Enum) else None


async def knock(door: Door, caller: Caller) -> BaseException | None:
    """What the door says to this caller."""
    wanted = typing.get_type_hints(door)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in inspect.signature(door).parameters.values():
        if parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        given = {"tx": transaction(), "caller": caller}.get(parameter.name, some(wanted[parameter.name]))
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = given
        else:
            positional.append(given)
    try:
        await door(*positional, **named)
    except Exception as answer:
        return answer
    return None


async def unguarded(door: Door) -> list[str]:
    """How a door fails to refuse: in words, nothing when it is guarded."""
    faults = []
    said = await knock(door, Caller("tnt_here", Role.AGENT, "agent:stranger"))
    if not isinstance(said, WrongRole):
        faults.append(f"an agent hears {said!r}")
    for role in Role:
        said = await knock(door, Caller("tnt_elsewhere", role, f"{role}:stranger", subject_id="sub_stranger"))
        if not isinstance(said, WrongTenant):
            faults.append(f"a {role} of another tenant hears {said!r}")
    return faults


OFFERED = doors()
ALL = OFFERED | {name: door for name, door in (entered() | inner()).items() if door not in OFFERED.values()}
GUARDED = sorted(name for name, door in ALL.items() if "caller" in inspect.signature(door).parameters)


@pytest.mark.parametrize("name", [name for name in GUARDED if name not in WITHOUT_GUARD])
async def test_a_door_refuses_the_wrong_role_and_tenant_without_asking_the_database(name: str) -> None:
    assert await unguarded(ALL[name]) == []


def test_doors_without_a_caller_are_the_reviewed_ones() -> None:
    assert ALL.keys() - set(GUARDED) == WITHOUT_CALLER.keys()
    assert WITHOUT_GUARD.keys() <= set(GUARDED)


def test_every_module_lists_what_it_offers() -> None:
    for name in modules():
        module = pkgutil.resolve_name(name)
        assert sorted(module.__all__) == sorted(set(module.__all__)), name
        assert all(hasattr(module, public) for public in module.__all__), name


async def no_guard(tx: Tx, _caller: Caller) -> None:
    """Asks at once."""
    await tx.value("select 1")


async def late_guard(tx: Tx, caller: Caller) -> None:
    """Asks, then refuses."""
    await tx.value("select 1")
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)


async def any_role(tx: Tx, caller: Caller) -> None:
    """Refuses nobody of its tenant."""
    caller.must_be(*Role, tenant_id=tx.tenant_id)
    await tx.value("select 1")


async def any_tenant(tx: Tx, caller: Caller) -> None:
    """Looks at the role only."""
    caller.must_be(Role.SYSTEM, tenant_id=caller.tenant_id)
    await tx.value("select 1")


async def silent(tx: Tx, caller: Caller) -> None:
    """Does nothing, quietly, for those it should refuse."""
    if caller.role is Role.SYSTEM and caller.tenant_id == tx.tenant_id:
        await tx.value("select 1")


async def guarded(tx: Tx, caller: Caller, *, reference: str) -> None:
    """As it should be."""
    caller.must_be(Role.SYSTEM, tenant_id=tx.tenant_id)
    await tx.value("select 1 where $1", reference)


@pytest.mark.parametrize("door", [late_guard, any_role, any_tenant, silent])
async def test_a_planted_hole_is_caught(door: Door) -> None:
    assert await unguarded(door) != []


async def test_a_missing_guard_is_caught_and_a_good_one_is_not() -> None:
    async def unnamed(tx: Tx, caller: Caller) -> None:
        await no_guard(tx, caller)

    assert any("DatabaseTouched" in fault for fault in await unguarded(unnamed))
    assert await unguarded(guarded) == []
