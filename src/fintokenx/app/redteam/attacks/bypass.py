"""The administrator's bypass, without its fingerprint."""

from __future__ import annotations

from typing import Final

from fintokenx.app.redteam.types import Attack

ATTACKS: Final[tuple[Attack, ...]] = ()
