"""The credentials in the vault, without their values: `fintokenx vault`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fintokenx.app.cli.common import AsJson, System, fail, out, ready, run

app = typer.Typer(no_args_is_help=True, help="Credentials of providers: how old they are; rotate them.")


@app.command("list")
def vault_list(system: System = "", as_json: AsJson = False) -> None:
    """Each credential with its version and its age. Values are never shown."""
    rows = run(_held(ready(system)))
    if as_json:
        out.print_json(json.dumps(rows))
        return
    table = Table("credential", "version", "age in days", "state")
    for row in rows:
        age = "unknown" if row["age_days"] is None else str(row["age_days"])
        table.add_row(row["name"], str(row["version"]), age, row["state"])
    out.print(table)


@app.command("rotate")
def vault_rotate(
    name: Annotated[str, typer.Argument(help="e.g. sumsub/webhook-secret; `fintokenx vault list` shows all.")],
    from_file: Annotated[
        str, typer.Option("--from-file", help="Where the new value stands; - is standard input. Default: a drawn one.")
    ] = "",
    by: Annotated[
        str, typer.Option("--by", help="Subject id of the platform administrator. Default: the only one there is.")
    ] = "",
    system: System = "",
) -> None:
    """Put a new version in force while everything runs. The one before it is accepted of others for a day."""
    chosen = ready(system)
    value = _value(from_file)
    version = run(_rotate(chosen, name, value, by))
    print(f"{name} is at version {version}")  # noqa: T201 — bare, for scripts


def _value(from_file: str) -> str | None:
    """The new value, without the line's end. Never an argument: other users of a machine see those."""
    if not from_file:
        return None
    try:
        text = sys.stdin.read() if from_file == "-" else Path(from_file).read_text()
    except (OSError, UnicodeDecodeError) as fault:
        fail(f"{from_file} cannot be read ({type(fault).__name__})")
    return text.removesuffix("\n").removesuffix("\r")


async def _held(system: Any) -> list[dict[str, Any]]:
    from fintokenx.app import providers, wiring
    from fintokenx.desks import operations
    from fintokenx.kernel.caller import HOME_TENANT

    names = providers.credential_names()
    async with wiring.base(system.settings(), pool_size=2) as on:
        held = await operations.credential_states(on.database, on.vault, HOME_TENANT, names)
        now = on.clock.now()
    return [
        {
            "name": each.name,
            "version": each.version,
            "age_days": (now - each.since).days if each.since else None,
            "state": "in force" if each.is_finished else "rotation unfinished: run it again",
        }
        for each in held
    ]


async def _rotate(system: Any, name: str, value: str | None, by: str) -> int:
    from fintokenx.app import providers, wiring
    from fintokenx.desks import operations
    from fintokenx.kernel.caller import HOME_TENANT, Caller, Role
    from fintokenx.kernel.caller import system as the_platform
    from fintokenx.kernel.settings import Environment
    from fintokenx.parties import auth

    home = HOME_TENANT
    operations.must_be_rotatable(name, providers.credential_names())
    async with wiring.base(system.settings(), pool_size=2) as on:
        if value is None and on.settings.environment is not Environment.LOCAL and name not in providers.chosen_by_us():
            fail(f"{name} is the provider's to choose; give the new value with --from-file")
        async with on.database.transaction(home, request_id="cli") as tx:
            administrators = await auth.administrators(tx, the_platform(home, "cli"))
        if by and by not in administrators:
            fail(f"{by} is no active platform administrator of {home}")
        if not by and len(administrators) != 1:
            fail(
                f"there are {len(administrators)} platform administrators: say who rotates it with --by (make one: "
                "fintokenx staff create --role platform_admin --name … --email …)"
            )
        who = by or administrators[0]
        caller = Caller(home, Role.PLATFORM_ADMIN, who, subject_id=who)
        now = await operations.rotate_credential(
            on.database,
            on.vault,
            caller,
            name=name,
            value=value if value is not None else operations.new_value(os.urandom),
            names=providers.credential_names(),
            entropy=os.urandom,
        )
        return now.version
