"""What the ledger itself records; its journals stand in the entries of the commands above."""

from __future__ import annotations

from fintokenx.audit import Action
from fintokenx.kernel.caller import Role
from fintokenx.kernel.machine import Machine

MACHINES: tuple[Machine, ...] = ()

ACTIONS = (Action("JOURNAL_ADJUST", (Role.SYSTEM, Role.COMPLIANCE)),)
