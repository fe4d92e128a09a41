"""The first keys and people of a tenant: `fintokenx keys` and `fintokenx staff`."""

from __future__ import annotations

from typing import Annotated

import typer

from fintokenx.app.cli.common import System, fail, must_be_tenant, ready, run, typed_address, typed_text

keys = typer.Typer(no_args_is_help=True, help="Tenants' API keys.")
staff = typer.Typer(no_args_is_help=True, help="People of the platform's own.")


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose; see `fintokenx tenants list`.")],
    name: Annotated[str, typer.Option("--name", help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="e.g. invoices:write; default: everything.")
    ] = None,
    system: System = "",
) -> None:
    """Make an API key for a tenant. It is shown once, here, and stored only as a hash."""
    from fintokenx.app import first_keys

    chosen = ready(system)
    must_be_tenant(chosen, tenant)

    print(run(first_keys.create_api_key(chosen, tenant, name, scope or ["*"])))  # noqa: T201 — bare, for $(…)


@staff.command("create")
def staff_create(
    role: Annotated[str, typer.Option("--role", help="mlro, compliance or platform_admin.")],
    name: Annotated[str, typer.Option("--name", help="The person's name (stored sealed).")],
    email: Annotated[str, typer.Option("--email", help="Signs in with codes sent here (stored sealed).")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose; see `fintokenx tenants list`.")] = "tnt_fintokenx",
    system: System = "",
) -> None:
    """Make a member of staff, who then signs in by e-mail code like everybody."""
    from fintokenx.app import inspect

    chosen = ready(system)
    must_be_tenant(chosen, tenant)
    if role not in ("mlro", "compliance", "platform_admin"):
        fail("a role of staff is mlro, compliance or platform_admin")
    if role == "platform_admin" and tenant != "tnt_fintokenx":
        fail("administrators of the platform are staff of tnt_fintokenx")
    email, name = typed_address(email), typed_text(name, "a person's name")

    print(run(inspect.create_staff(chosen, tenant, role, name, email)))  # noqa: T201 — bare, for $(…)
