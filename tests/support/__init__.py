"""What tests share: harness (what runs), fakes (what can be away or die), rows (rows of modules), wire, pages."""

from tests.support.harness.database import (
    PASSWORD,
    ROLES,
    ROOT,
    START,
    World,
    drop_database,
    hold_to_declared_rows,
    make_template,
    may_carry_anything,
    names,
    world_from,
)

__all__ = [
    "PASSWORD",
    "ROLES",
    "ROOT",
    "START",
    "World",
    "drop_database",
    "hold_to_declared_rows",
    "make_template",
    "may_carry_anything",
    "names",
    "world_from",
]
