"""Every machine, action and job of the platform: what the migration loads, the docs print and the tests walk."""

from __future__ import annotations

from typing import Final

from fintokenx.app.modules import MODULES
from fintokenx.kernel.actions import Action
from fintokenx.kernel.carries import Carries, together, with_callers
from fintokenx.kernel.machine import AnyMachine
from fintokenx.kernel.sealing import SealedColumn

ACTIONS: Final[tuple[Action, ...]] = tuple(action for module in MODULES for action in module.actions)
CARRIES: Final[Carries] = together(module.carries for module in MODULES)
"""Which rows the entries of each action may carry, by all modules that record it."""
MACHINES: Final[tuple[AnyMachine, ...]] = with_callers(
    (machine for module in MODULES for machine in module.machines), CARRIES
)
"""With every action that walks their lines, whichever module it is of."""
TABLE_OWNERS: Final = frozenset(module.name for module in MODULES) | {"kernel"}
"""Who may own a table: every module, and the kernel."""
SEALED: Final[dict[tuple[str, str], SealedColumn]] = {
    name: column for module in MODULES for name, column in module.sealed.items()
}
"""Every column with personal data, by table and name: what it is called, and whose key it is under (AD-14)."""


def machine(name: str) -> AnyMachine:
    """One of them. :raises KeyError: there is none of this name"""
    return {known.name: known for known in MACHINES}[name]
