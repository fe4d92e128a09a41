"""The ratchet over the catalogue: what nobody has reviewed is broken."""

from __future__ import annotations

from typing import Final

from fintokenx.app.redteam.ratchet import RULES
from fintokenx.app.redteam.scene import Scene
from fintokenx.app.redteam.types import Attack, Broken, attack

_HOLDS: Final = "No line: what is new is broken until it is reviewed (app/redteam/reviewed.py)."


async def _hold(scene: Scene, group: str) -> str:
    rules = [rule for rule in RULES if rule.group == group]
    found = []
    async with scene.session("fx_auditor") as connection:
        await connection.execute("set local search_path = ''")
        for rule in rules:
            lines = sorted(str(row[0]) for row in await connection.fetch(rule.sql))
            if lines:
                found.append(f"{rule.title}: {', '.join(lines[:5])}")
    if found:
        raise Broken("; ".join(found))
    return f"{len(rules)} rules hold"


@attack(
    90, "catalogue", "Every table carries its tenant, under forced row security.",
    tries="Looks for a table without FORCE, a nullable tenant, an unregistered table, a reference that crosses.",
    holds=_HOLDS,
)  # fmt: skip
async def tables(scene: Scene) -> str:
    return await _hold(scene, "tables")


@attack(
    91, "catalogue", "Every policy is the pinned tenant or has been reviewed.",
    tries="Looks for an OR, a second permissive policy, a condition that is true, a policy for other roles.",
    holds=_HOLDS,
)  # fmt: skip
async def policies(scene: Scene) -> str:
    return await _hold(scene, "policies")


@attack(
    92, "catalogue", "Functions with power are pinned, closed and reviewed.",
    tries="Looks for a definer without search_path, one that everybody calls, a new one, a new owner.",
    holds=_HOLDS,
)  # fmt: skip
async def functions(scene: Scene) -> str:
    return await _hold(scene, "functions")


@attack(
    93, "catalogue", "Roles have the power that was reviewed and no more.",
    tries="Looks for superusers, BYPASSRLS, owners that log in, memberships, writing logins, grants to everybody.",
    holds=_HOLDS,
)  # fmt: skip
async def roles(scene: Scene) -> str:
    return await _hold(scene, "roles")


@attack(
    94, "catalogue", "Every guard stands, and fires always.",
    tries="Looks for a domain table without its triggers, a trigger that is off, a record that may be rewritten.",
    holds=_HOLDS,
)  # fmt: skip
async def guards(scene: Scene) -> str:
    return await _hold(scene, "guards")


@attack(
    95, "catalogue", "Every view runs with its reader's eyes.", tries="Looks for one without security_invoker.",
    holds=_HOLDS,
)  # fmt: skip
async def invokers(scene: Scene) -> str:
    return await _hold(scene, "views")


ATTACKS: Final[tuple[Attack, ...]] = (tables, policies, functions, roles, guards, invokers)
