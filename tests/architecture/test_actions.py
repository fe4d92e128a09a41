"""Machines, the actions they record and the tables they guard agree (AD-12, AD-15, IN-14)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from fintokenx.app.catalogue import ACTIONS, MACHINES
from fintokenx.app.docs import Table, tables
from fintokenx.app.redteam.doors import Door, knock
from fintokenx.audit import Action
from fintokenx.audit.transitions import RESERVED
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.machine import Machine, transitions
from fintokenx.lifecycle import invoice, marketplace, settlement
from fintokenx.parties import auth
from fintokenx.parties.kyc.service import onboarding
from tests.architecture.house import PACKAGE, ROOT, sources, strings

YES, NO = True, False
SPECIFIED = {
    # spec/system.md, "Action taxonomy": customer-facing, who records it, on behalf of whom
    **dict.fromkeys(
        (
            "SUBJECT_CREATE",
            "SUBMIT_INVOICE",
            "CONFIRM_INVOICE",
            "FUND_INVOICE",
            "SECONDARY_TRADE",
            "RECEIVE_SETTLEMENT",
        ),
        (YES, "anybody", "required_from_admin"),
    ),
    **dict.fromkeys(("MLRO_APPROVE", "MLRO_DECLINE", "SAR_FILE", "SUBJECT_FREEZE"), (NO, "compliance", "forbidden")),
    **dict.fromkeys(("TOKEN_MINT", "TOKEN_BURN", "WEBHOOK_DELIVERED"), (NO, "system", "forbidden")),
    "RBAC_BYPASS": (NO, "admin", "required"),
    "PROVIDER_CRED_ROTATE": (NO, "admin", "forbidden"),
    "AGENT_PROPOSE_VERDICT": (NO, "system", "forbidden"),
    **dict.fromkeys(("AGENT_MODEL_DEPLOY", "AGENT_MODEL_ROLLBACK"), (NO, "admin", "forbidden")),
}
MAY_RECORD = {
    "anybody": frozenset(Role) - {Role.AGENT},
    "compliance": frozenset({Role.MLRO, Role.COMPLIANCE}),
    "system": frozenset({Role.SYSTEM, Role.AGENT}),
    "admin": frozenset({Role.PLATFORM_ADMIN}),
}


def undeclared(machines: Iterable[Machine], actions: Sequence[Action]) -> list[str]:
    """Actions of transitions that are not declared exactly once."""
    times = Counter(action.name for action in actions)
    used = {line.action for machine in machines for line in machine.transitions}
    return sorted({name for name in used if times[name] != 1} | {name for name, many in times.items() if many > 1})


def against_the_specification(actions: Sequence[Action]) -> list[str]:
    """Declared actions whose flags are not those of spec/system.md."""
    faults = []
    for action in actions:
        if action.name not in SPECIFIED:
            continue
        customer_facing, recorders, on_behalf_of = SPECIFIED[action.name]
        fits = (action.customer_facing, action.on_behalf_of) == (customer_facing, on_behalf_of)
        if not fits or not set(action.roles) <= MAY_RECORD[recorders]:
            faults.append(action.name)
    return faults


def mismatched(machines: Sequence[Machine], owned: Sequence[Table]) -> list[str]:
    """Machines without a table, tables with an unknown machine, names used twice."""
    names = Counter(machine.name for machine in machines)
    guarded = {table.machine for table in owned if table.machine}
    return sorted({name for name, many in names.items() if many > 1} | (names.keys() ^ guarded))


def never_recorded(machines: Sequence[Machine], actions: Sequence[Action], spoken: set[str]) -> list[str]:
    """Declared actions that no transition and no command names."""
    used = {line.action for machine in machines for line in machine.transitions} | spoken
    return sorted(action.name for action in actions if action.name not in used)


def spoken_of() -> set[str]:
    """Every string of the modules but those of ``transitions``, where actions are declared."""
    return {
        str(text.value) for path, tree in sources(PACKAGE) if path.name != "transitions.py" for text in strings(tree)
    }


def test_every_recorded_action_is_declared_once() -> None:
    assert undeclared(MACHINES, ACTIONS) == []


def test_every_declared_action_is_recorded_somewhere_or_reserved() -> None:
    in_sql = "".join(path.read_text() for path in (ROOT / "migrations").rglob("*.sql"))
    written = {action.name for action in ACTIONS if f"'{action.name}'" in in_sql}
    assert never_recorded(MACHINES, ACTIONS, spoken_of() | written | {action.name for action in RESERVED}) == []


def test_a_reserved_action_is_recorded_nowhere_yet() -> None:
    assert {action.name for action in RESERVED} & spoken_of() == set()


def test_the_specifications_fifteen_rows_are_all_declared() -> None:
    assert SPECIFIED.keys() - {action.name for action in ACTIONS} == set()


def test_what_a_customer_does_an_administrator_does_on_its_behalf_only() -> None:
    """AD-16, for the spec's six and for every customer action of ours."""
    from_admin = [action.name for action in ACTIONS if action.on_behalf_of == "required_from_admin"]
    assert from_admin == [action.name for action in ACTIONS if action.customer_facing]
    assert [a.name for a in ACTIONS if a.customer_facing and Role.PLATFORM_ADMIN not in a.roles] == []


CUSTOMERS_DOORS: tuple[Door, ...] = (
    auth.create_subject, invoice.submit, invoice.withdraw, invoice.confirm, invoice.decline, marketplace.set_filter,
    settlement.commit, onboarding.submit,
)  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("door", CUSTOMERS_DOORS, ids=lambda door: f"{door.__module__}.{door.__name__}")
async def test_no_customers_door_opens_to_an_administrator_in_its_own_name(door: Door) -> None:
    """The service says what the table says, before the database is asked."""
    said = await knock(door, Caller("tnt_here", Role.PLATFORM_ADMIN, "sub_admin", subject_id="sub_admin", aal=2))
    assert isinstance(said, Refused)
    assert 400 <= said.status < 500


def test_flags_are_those_of_the_specification() -> None:
    assert against_the_specification(ACTIONS) == []
    assert {action.name for action in ACTIONS} & SPECIFIED.keys()


def test_every_machine_guards_a_table_and_every_guarded_table_has_its_machine() -> None:
    assert mismatched(MACHINES, tables(ROOT / "migrations")) == []


def test_an_action_names_roles_and_an_agent_only_proposes() -> None:
    assert [action.name for action in ACTIONS if not action.roles] == []
    assert [a.name for a in ACTIONS if Role.AGENT in a.roles and a.name != "AGENT_PROPOSE_VERDICT"] == []


THING = Machine("thing", transitions([("", "open", "OPEN", "THING_OPEN")]))
OPEN_THING = Action("THING_OPEN", (Role.SYSTEM,))


@pytest.mark.parametrize("actions", [(), (OPEN_THING, OPEN_THING)])
def test_a_missing_and_a_double_declaration_are_caught(actions: tuple[Action, ...]) -> None:
    assert undeclared([THING], actions) == ["THING_OPEN"]


@pytest.mark.parametrize(
    "wrong",
    [
        Action("FUND_INVOICE", (Role.SYSTEM,), customer_facing=False, on_behalf_of="required_from_admin"),
        Action("FUND_INVOICE", (Role.SYSTEM,), customer_facing=True),
        Action("SUBJECT_FREEZE", (Role.PLATFORM_ADMIN,)),
        Action("TOKEN_MINT", (Role.SELLER,)),
    ],
)
def test_flags_other_than_the_specifications_are_caught(wrong: Action) -> None:
    assert against_the_specification([wrong]) == [wrong.name]


def test_a_machine_without_a_table_and_a_dead_action_are_caught() -> None:
    assert mismatched([THING], []) == ["thing"]
    assert mismatched([], [Table("app", "things", "invoice", "thing")]) == ["thing"]
    assert never_recorded([], [OPEN_THING], set()) == ["THING_OPEN"]
