"""Under whose flag: `fintokenx tenants`."""

from __future__ import annotations

import json
import re
import zlib
from typing import Annotated

import typer
from rich.table import Table

from fintokenx.app.cli.common import AsJson, System, fail, out, ready, run, typed_address, typed_text

app = typer.Typer(no_args_is_help=True, help="The tenants of a local system.")


@app.command("create")
def tenants_create(
    tenant: Annotated[str, typer.Argument(help="Its id: tnt_, then lower-case letters, digits and underscores.")],
    name: Annotated[str, typer.Option("--name", help="What people call it.")],
    mail_from: Annotated[str, typer.Option("--mail-from", help="Default: invoices@<id>.example.")] = "",
    sort_code: Annotated[str, typer.Option("--sort-code", help="Of the account it collects on.")] = "990010",
    account_number: Annotated[str, typer.Option("--account-number", help="Default: one made from its id.")] = "",
    system: System = "",
) -> None:
    """Open a tenant. A running platform serves it within a minute, without a restart."""
    from fintokenx.app import provision, tenancy
    from fintokenx.parties import partner

    name = typed_text(name, "a tenant's name")
    if not re.fullmatch(r"tnt_[a-z0-9_]{1,40}", tenant):
        fail("a tenant's id is tnt_ and one to forty lower-case letters, digits and underscores")
    slug = tenant.removeprefix("tnt_").replace("_", "-").strip("-") or "tenant"
    terms = partner.TenantTerms(
        display_name=name,
        custom_domain=None,
        theme={},
        plan="partner",
        scope_rules=provision.ALL_FEATURES,
        mail_from=typed_address(mail_from) if mail_from else f"invoices@{slug}.example",
        collections=partner.CollectionsAccount(
            f"{name} Client Money", sort_code, account_number or f"{zlib.crc32(tenant.encode()) % 10**8:08d}"
        ),
        asking_discount_bps=150,
    )
    run(tenancy.create(ready(system), tenant, terms))
    print(tenant)  # noqa: T201 — bare, for $(…)


@app.command("list")
def tenants_list(system: System = "", as_json: AsJson = False) -> None:
    """Which tenants there are, oldest first."""
    from fintokenx.app import tenancy

    found = run(tenancy.tenants(ready(system)))
    if as_json:
        rows = [
            {"id": one.id, "name": one.terms.display_name, "state": one.state, "opened_at": one.opened_at.isoformat()}
            for one in found
        ]
        out.print_json(json.dumps(rows))
        return
    table = Table("id", "name", "state", "opened", "collects on")
    for one in found:
        account = one.terms.collections
        table.add_row(
            one.id, one.terms.display_name, one.state, f"{one.opened_at:%Y-%m-%d %H:%M}",
            f"{account.sort_code} {account.account_number}",
        )  # fmt: skip
    out.print(table)
