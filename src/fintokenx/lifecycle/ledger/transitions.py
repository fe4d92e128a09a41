"""The ledger has no machine, and records nothing by itself: its journals stand in the entries of the commands above."""

from __future__ import annotations

from fintokenx.audit import Action
from fintokenx.kernel.machine import AnyMachine

MACHINES: tuple[AnyMachine, ...] = ()
ACTIONS: tuple[Action, ...] = ()
