"""The doors of the modules by reflection, and how each one answers the wrong caller (P-04).

Doors are the functions with a transaction that a module offers in ``__all__``. The architecture tests read the same
lists, and walk the functions that routes and jobs enter as well.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from types import ModuleType
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant
from fintokenx.kernel.db import Tx
from fintokenx.lifecycle import chainwork, explorer, invoice, ledger, marketplace, settlement, tokenisation
from fintokenx.observers import notification
from fintokenx.parties import auth, compliance, kyc, partner

Door = Callable[..., Awaitable[Any]]

MODULES: Final[tuple[ModuleType, ...]] = (
    audit, auth, compliance, kyc, partner, invoice, ledger, chainwork, tokenisation, explorer, marketplace, settlement,
    notification,
)  # fmt: skip

WITHOUT_GUARD: Final = {
    "fintokenx.audit.change": "records what a guarded command has decided; the database checks the actor's role",
}
WITHOUT_CALLER: Final = {
    # Reads and checks inside a transaction whose command has been guarded (test_callerless looks at each place that
    # opens one), and the steps that find out who calls.
    "fintokenx.lifecycle.chainwork.confirmed_row": "a row for the entry of a command, which has asked who calls",
    "fintokenx.lifecycle.chainwork.find_promise": "a read within commands, which have asked who calls",
    "fintokenx.lifecycle.chainwork.locked_promise": "a read within commands, which have asked who calls",
    "fintokenx.lifecycle.chainwork.new_promise": "a row for the entry of a command, which has asked who calls",
    "fintokenx.lifecycle.chainwork.signed_row": "a row for the entry of a command, which has asked who calls",
    "fintokenx.parties.auth.find_subject": "a read within commands, which have asked who calls",
    "fintokenx.parties.auth.held_subject": "a read within commands, which have asked who calls",
    "fintokenx.parties.auth.open_magic_link": "the link's secret is the credential: nobody is known yet",
    "fintokenx.parties.auth.open_page_link": "the link was read under the vault's key: nobody is known yet",
    "fintokenx.parties.auth.subject": "a read within commands, which have asked who calls",
    "fintokenx.parties.auth.active_holders": "a read within commands, which have asked who calls",
    "fintokenx.parties.auth.sanctioned": "a read within commands, which have asked who calls",
    "fintokenx.parties.auth.subject_of_company": "a read within commands, which have asked who calls",
    "fintokenx.parties.kyc.designated_account": "a read within commands, which have asked who calls",
    "fintokenx.parties.kyc.must_be_active": "itself a guard",
    "fintokenx.parties.kyc.must_be_cleared": "itself a guard",
    "fintokenx.parties.partner.authenticate_api_key": "the key is the credential: nobody is known yet",
    "fintokenx.parties.partner.require_feature": "itself a guard",
    "fintokenx.parties.partner.tenant": "a read of the tenant that the transaction is pinned to",
}


class DatabaseTouched(AssertionError):
    """A door asked the database before it refused."""


class NoDatabase:
    """A connection and a source of ids that must not be used."""

    def __getattr__(self, name: str) -> Any:
        raise DatabaseTouched(name)


def _transaction() -> Tx:
    """A transaction of the tenant "here" in which any use of the database fails."""
    nothing: Any = NoDatabase()
    return Tx(nothing, "tnt_here", datetime(2026, 6, 2, tzinfo=UTC), nothing, Reactions(), "req_1")


def doors(modules: tuple[ModuleType, ...] = MODULES) -> dict[str, Door]:
    """Every function that takes a transaction and that some module's ``__all__`` offers."""
    return {
        f"{module.__name__}.{public}": getattr(module, public)
        for module in modules
        for public in module.__all__
        if inspect.isfunction(value := getattr(module, public)) and "tx" in inspect.signature(value).parameters
    }


def takes_caller(door: Door) -> bool:
    """Whether it is told who is calling."""
    return "caller" in inspect.signature(door).parameters


def _some(wanted: Any) -> Any:
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
        given = {"tx": _transaction(), "caller": caller}.get(parameter.name, _some(wanted[parameter.name]))
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = given
        else:
            positional.append(given)
    try:
        await door(*positional, **named)
    except Exception as answer:  # whatever it says is looked at
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


async def faults_of(guarded: Mapping[str, Door]) -> list[str]:
    """Every door that does not refuse, and every one without a caller that nobody has reviewed."""
    found = [f"{name}: {fault}" for name, door in guarded.items() for fault in await unguarded(door)]
    strangers = {name for name, door in doors().items() if not takes_caller(door)} - WITHOUT_CALLER.keys()
    return [*found, *(f"{name}: asks for no caller, and is not reviewed" for name in sorted(strangers))]


GUARDED_DOORS: Final[Mapping[str, Door]] = {
    name: door for name, door in doors().items() if takes_caller(door) and name not in WITHOUT_GUARD
}
