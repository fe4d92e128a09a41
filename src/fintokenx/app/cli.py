"""The command line: everything a person does with the platform that is not an API call."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from fintokenx.app.failed import LocalSystemFailed

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="FinToken X: turn confirmed invoices into money, provably."
)
db = typer.Typer(no_args_is_help=True, help="Look into the local database.")
audit = typer.Typer(no_args_is_help=True, help="The record: show, prove, verify.")
keys = typer.Typer(no_args_is_help=True, help="Tenants' API keys.")
staff = typer.Typer(no_args_is_help=True, help="People of the platform's own.")
app.add_typer(db, name="db")
app.add_typer(audit, name="audit")
app.add_typer(keys, name="keys")
app.add_typer(staff, name="staff")

Result = TypeVar("Result")

out = Console(width=None if sys.stdout.isatty() else 140)  # a pipe has no width of its own
err = Console(stderr=True)

System = Annotated[
    str, typer.Option("--system", help="Which local system: local, demo … Default: the one started last.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong in one line and exit."""
    err.print(f"[bold red]error:[/] {message}", highlight=False)
    raise typer.Exit(code)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run asynchronous work; anticipated faults become one clear line."""
    from fintokenx.kernel.errors import Refused, Unavailable

    try:
        return asyncio.run(work)
    except Refused as refusal:
        fail(f"{refusal.title()} {refusal.detail} [{refusal.code}]")
    except Unavailable as fault:
        fail(f"the {fault.system} does not answer ({fault.detail}); is the system up? Try: make up")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ConnectionError:
        fail("the database does not answer; is the system up? Try: make up")


def _system(name: str) -> Any:
    from fintokenx.app.local import LocalSystem, current_name

    if name and not re.fullmatch(r"[a-z0-9-]{1,30}", name):
        fail("a system's name has lower-case letters, digits and hyphens, thirty at most")
    return LocalSystem(name or current_name())


def _ready(name: str) -> Any:
    system = _system(name)
    if not system.exists:
        fail("there is no local system yet; `make up` or `make demo` makes one")
    return system


def _step(what: str) -> None:
    err.print(f"  [dim]·[/] {what}", highlight=False)


@app.command()
def up(
    system: System = "local",
    start_at: Annotated[
        datetime, typer.Option(help="Where the clock of a new system starts, UTC; the samples are of 1 June 2026.")
    ] = datetime(2026, 6, 2, 9),  # noqa: DTZ001 — typer's way of a default; UTC is added below
) -> None:
    """Start a local system (Postgres, chain, mock servers, platform) for you to use; keeps its data over restarts."""
    chosen = _system(system)
    err.print(f"Starting the system [bold]{chosen.name}[/] …")
    try:
        settings = run(chosen.up(_step, start_at=start_at.replace(tzinfo=UTC)))
    except LocalSystemFailed as failed:
        fail(str(failed))
    out.print(
        f"\nIts clock:     {chosen.clock().now():%-d %B %Y, %H:%M} UTC (move it: POST /v1/sandbox/clock)",
        highlight=False,
    )
    out.print(f"The platform:  {settings.public_url}    API docs: {settings.public_url}/docs", highlight=False)
    out.print(f"The mailbox:   {settings.sandbox_control_urls['mailbox']}/messages", highlight=False)
    out.print(
        f"The mock bank: {settings.bank_url}/control/accounts (open one), /control/payments (pay)", highlight=False
    )
    out.print(
        "Next:          .venv/bin/fintokenx keys create --tenant tnt_mercia --name me   (an API key)", highlight=False
    )
    out.print("Stop it:       make down", highlight=False)


@app.command()
def down(system: System = "") -> None:
    """Stop local systems; all data stays. Without --system: whichever run."""
    from fintokenx.app.local import LocalSystem, home

    if system and not _system(system).folder.exists():
        fail(f"there is no local system {system}")
    names = [system] if system else sorted(path.parent.name for path in home().glob("*/ports.json"))
    for name in names:
        err.print(f"Stopping [bold]{name}[/] …")
        run(LocalSystem(name).down(_step))
    if not names:
        err.print("nothing to stop")


@app.command()
def status(system: System = "", as_json: AsJson = False) -> None:
    """What runs, where, and whether it is ready. Exit code 1 when it is not."""
    import httpx

    chosen = _system(system)
    found = chosen.status()
    ready = "not_ready"
    if found.get("platform", {}).get("running"):
        try:
            answer = httpx.get(f"{found['platform']['url']}/readyz", timeout=10, trust_env=False)
            found["readiness"] = answer.json()
            ready = found["readiness"]["status"]
        except (httpx.HTTPError, ValueError):
            found["readiness"] = {"status": "not_ready"}
    if as_json:
        out.print_json(json.dumps(found))
    elif not found["set_up"]:
        out.print(f"{chosen.name}: not set up. `make up` or `make demo` makes one.")
    else:
        table = Table("part", "state", "where", title=f"system {chosen.name}, clock {found['clock']}")
        for part in ("platform", "mock_servers", "chain"):
            where = found[part].get("url") or ", ".join(found[part].get("urls", {}).values())
            table.add_row(part, "running" if found[part]["running"] else "stopped", where)
        for name, component in found.get("readiness", {}).get("components", {}).items():
            table.add_row(f"  {name}", component["state"], "needed" if component["needed"] else "")
        out.print(table)
    raise typer.Exit(0 if ready in ("ready", "degraded") else 1)


@app.command()
def demo(
    invoice: Annotated[
        Path | None, typer.Option("--invoice", help="A PDF or XML invoice; default: one of samples/invoices.")
    ] = None,
) -> None:
    """Play the life of one invoice, from the upload to the burned token, through the public API."""
    from fintokenx.app import demo as story

    chosen = invoice or story.default_invoice()
    if not chosen.is_file():
        fail(f"{chosen} is {'a folder' if chosen.is_dir() else 'not there'}; give a PDF or XML invoice")
    try:
        run(story.play(chosen, out))
    except (story.StoryFailed, LocalSystemFailed) as failed:
        fail(str(failed))


@app.command(hidden=True)
def serve(system: System = "") -> None:
    """Run the platform in the foreground."""
    import uvicorn

    from fintokenx.app import provision, wiring
    from fintokenx.kernel import logs

    logs.configure()
    settings = _ready(system).settings()
    application = wiring.create_app(settings, tenants=tuple(provision.TENANTS))
    uvicorn.run(
        application, host=settings.listen_host, port=settings.listen_port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=10,
    )  # fmt: skip


@app.command(hidden=True)
def mocks(system: System = "") -> None:
    """Run the mock servers in the foreground."""
    from fintokenx.app import mock_servers

    asyncio.run(mock_servers.serve(_ready(system)))


@app.command()
def docs(
    check: Annotated[bool, typer.Option("--check", help="Only say whether the files are up to date.")] = False,
) -> None:
    """Print the generated documents (machines, reactions, actions, tables) into docs/."""
    from fintokenx.app import docs as generated
    from fintokenx.app.local import project_root

    root = project_root()
    if check:
        drifted = generated.check(root)
        if drifted:
            fail("out of date: " + ", ".join(str(path) for path in drifted) + " — run: make docs")
        return
    for path in generated.write(root):
        _step(str(path.relative_to(root)))


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


@db.command("url")
def db_url(role: DbRole, system: System = "") -> None:
    """The address of the local database for a role, password included (local only)."""
    print(run(_dsn(_ready(system), role)))  # noqa: T201 — bare, for $(…)


@db.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def db_psql(context: typer.Context, role: DbRole, system: System = "") -> None:
    """Open psql as a role (local only). Further arguments go to psql: fintokenx db psql --role fx_app -- -c '…'."""
    url = run(_dsn(_ready(system), role))
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


@audit.command("show")
def audit_show(
    resource: Annotated[str, typer.Argument(help="An invoice reference, a subject id, a case id …")],
    system: System = "",
    as_json: AsJson = False,
) -> None:
    """The whole trail of an invoice (or any resource), oldest first."""
    from fintokenx.app import inspect

    entries = run(inspect.trail(_ready(system), resource))
    if not entries:
        fail(f"nothing is recorded about {resource}")
    if as_json:
        out.print_json(json.dumps([inspect.entry_json(entry) for entry in entries]))
        return
    table = Table("seq", "time", "action", "actor", "entry", "batch", title=resource)
    for entry in entries:
        table.add_row(
            str(entry.seq), f"{entry.timestamp:%Y-%m-%d %H:%M:%S}", entry.action, f"{entry.actor_role}", entry.id,
            str(entry.merkle_batch_id),
        )  # fmt: skip
    out.print(table)


@audit.command("proof")
def audit_proof(
    entry: Annotated[str, typer.Argument(help="An entry id (aud_…).")], system: System = "", as_json: AsJson = False
) -> None:
    """The inclusion proof of an entry, checked against the anchor on chain. Exit code 1 when it does not hold."""
    from fintokenx.app import inspect

    proof, holds = run(inspect.proof(_ready(system), entry))
    if as_json:
        out.print_json(json.dumps({**inspect.proof_json(proof), "holds": holds}))
    else:
        out.print(f"entry      {proof.entry.id}  (number {proof.entry.seq})", highlight=False)
        out.print(f"leaf       {proof.entry.hash.hex()}", highlight=False)
        for sibling in proof.path:
            out.print(f"  sibling  {sibling.hex()}", highlight=False)
        out.print(f"root       {proof.root.hex()}  of {proof.tree_size} entries", highlight=False)
        out.print(f"anchor     batch {proof.batch_id}, block {proof.block_number}, {proof.tx_hash}", highlight=False)
        out.print("[green]the proof holds against the chain[/]" if holds else "[bold red]the proof does not hold[/]")
    raise typer.Exit(0 if holds else 1)


@audit.command("anchor")
def audit_anchor(system: System = "") -> None:
    """Seal and anchor now what was recorded since the last batch."""
    from fintokenx.app import inspect

    out.print(run(inspect.anchor_now(_ready(system))))


@audit.command("verify")
def audit_verify(system: System = "", as_json: AsJson = False) -> None:
    """Check every hash, every link, every batch root, and every anchor on chain. Exit code 1 when anything is off."""
    from fintokenx.app import inspect

    chosen = _ready(system)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("entries", total=None)

        def progress(seq: int, total: int) -> None:
            bar.update(task, completed=seq, total=total)

        verdict = run(inspect.verify(chosen, progress))
    if as_json:
        found = {
            "sound": verdict.sound, "entries": verdict.entries, "batches": verdict.batches,
            "anchors": verdict.anchors, "faults": list(verdict.faults),
        }  # fmt: skip
        out.print_json(json.dumps(found))
    else:
        out.print(
            f"{verdict.entries} entries, {verdict.batches} batches, {verdict.anchors} anchors on chain checked",
            highlight=False,
        )
        for fault in verdict.faults:
            out.print(f"[bold red]✗[/] {fault}", highlight=False)
        out.print("[green]the record is sound[/]" if verdict.sound else "[bold red]the record is NOT sound[/]")
    raise typer.Exit(0 if verdict.sound else 1)


def _must_be_tenant(tenant: str) -> None:
    from fintokenx.app import provision

    if tenant not in provision.TENANTS:
        fail(f"no such tenant; there are: {', '.join(provision.TENANTS)}")


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option("--tenant", help="tnt_fintokenx or tnt_mercia.")],
    name: Annotated[str, typer.Option("--name", help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="e.g. invoices:write; default: everything.")
    ] = None,
    system: System = "",
) -> None:
    """Make an API key for a tenant. It is shown once, here, and stored only as a hash."""
    from fintokenx.app import inspect

    _must_be_tenant(tenant)

    print(run(inspect.create_api_key(_ready(system), tenant, name, scope or ["*"])))  # noqa: T201 — bare, for $(…)


@staff.command("create")
def staff_create(
    role: Annotated[str, typer.Option("--role", help="mlro, compliance or platform_admin.")],
    name: Annotated[str, typer.Option("--name", help="The person's name (stored sealed).")],
    email: Annotated[str, typer.Option("--email", help="Signs in with codes sent here (stored sealed).")],
    tenant: Annotated[str, typer.Option("--tenant", help="tnt_fintokenx or tnt_mercia.")] = "tnt_fintokenx",
    system: System = "",
) -> None:
    """Make a member of staff, who then signs in by e-mail code like everybody."""
    from fintokenx.app import inspect

    _must_be_tenant(tenant)
    if role not in ("mlro", "compliance", "platform_admin"):
        fail("a role of staff is mlro, compliance or platform_admin")
    if not re.fullmatch(r"[^@\s]{1,64}@[^@\s]{3,190}", email):
        fail("that is not an e-mail address; codes to sign in are sent there")

    print(run(inspect.create_staff(_ready(system), tenant, role, name, email)))  # noqa: T201 — bare, for $(…)


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
