"""The command line: everything a person does with the platform that is not an API call. One file per group."""

from __future__ import annotations

import typer

from fintokenx.app.cli import audit, chain, db, people, redteam, systems, tenants, vault

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="FinToken X: turn confirmed invoices into money, provably."
)
app.add_typer(systems.app)
app.add_typer(db.app, name="db")
app.add_typer(audit.app, name="audit")
app.add_typer(redteam.app, name="redteam")
app.add_typer(chain.app, name="chain")
app.add_typer(tenants.app, name="tenants")
app.add_typer(people.keys, name="keys")
app.add_typer(people.staff, name="staff")
app.add_typer(vault.app, name="vault")


def main() -> None:
    """The entry point."""
    app()
