"""Every door checks role and tenant before it asks the database anything (P-04).

Doors are what a module offers to others, the functions of its service that its own routes and jobs enter, and every
other function of a service that is not private: a new one without a guard fails here.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
from typing import Any

import pytest

from fintokenx.app.redteam.doors import MODULES, WITHOUT_CALLER, WITHOUT_GUARD, Door, doors, unguarded
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from tests.architecture.house import DEPTH, SHARED_INSIDE, SRC, modules, nodes, sources

pytestmark = pytest.mark.anyio


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


OFFERED = doors()
ALL = OFFERED | {name: door for name, door in (entered() | inner()).items() if door not in OFFERED.values()}
GUARDED = sorted(name for name, door in ALL.items() if "caller" in inspect.signature(door).parameters)


@pytest.mark.parametrize("name", [name for name in GUARDED if name not in WITHOUT_GUARD])
async def test_a_door_refuses_the_wrong_role_and_tenant_without_asking_the_database(name: str) -> None:
    assert await unguarded(ALL[name]) == []


def test_doors_without_a_caller_are_the_reviewed_ones() -> None:
    assert ALL.keys() - set(GUARDED) == WITHOUT_CALLER.keys() | SHARED_INSIDE.keys()
    assert WITHOUT_GUARD.keys() <= set(GUARDED)


def test_the_red_team_knows_every_module() -> None:
    assert {module.__name__ for module in MODULES} == set(modules())


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
