"""The local database, seen as any of its roles: `fintokenx db`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from fintokenx.app.cli.common import System, fail, ready, run

app = typer.Typer(no_args_is_help=True, help="Look into the local database.")


DbRole = Annotated[str, typer.Option("--role", help="postgres (superuser), fx_app, fx_auditor, fx_migrator …")]


async def _dsn(system: Any, role: str) -> str:
    from fintokenx.app import provision
    from fintokenx.kernel.settings import Environment

    if system.settings().environment is not Environment.LOCAL:
        fail("this is for local systems only")
    if role not in (provision.SUPERUSER, *provision.ROLES):
        fail(f"no such role; there are: {', '.join((provision.SUPERUSER, *provision.ROLES))}")
    from fintokenx.app.local import DATABASE

    postgres = await system.postgres()
    if not postgres.running:
        fail("Postgres is not running; start the system with: make up")
    password = await system.vault().secret(provision.password_of(role))
    found: str = postgres.dsn(role, password, DATABASE)
    return found


@app.command("url")
def db_url(role: DbRole, system: System = "") -> None:
    """The address of the local database for a role, password included (local only)."""
    print(run(_dsn(ready(system), role)))  # noqa: T201 — bare, for $(…)


@app.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def db_psql(context: typer.Context, role: DbRole, system: System = "") -> None:
    """Open psql as a role (local only). Further arguments go to psql: fintokenx db psql --role fx_app -- -c '…'."""
    url = run(_dsn(ready(system), role))
    psql = _psql()
    os.execvp(psql, [psql, url, *[argument for argument in context.args if argument != "--"]])  # noqa: S606


def _psql() -> str:
    """The psql that comes with the embedded Postgres, or else the machine's."""
    import shutil

    from fintokenx.sandbox.postgres import client_program

    found = client_program("psql") or shutil.which("psql")
    if found is None:
        fail("there is no psql on this machine; use `fintokenx db url` with a client of your own")
    return str(found)
