"""Local systems: started, stopped, looked at; the demo; what their processes run; the generated documents."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from fintokenx.app.cli.common import AsJson, System, err, fail, out, ready, run, step, system_named
from fintokenx.app.failed import LocalSystemFailed

app = typer.Typer()

SAMPLES_AT: Final = datetime(2026, 6, 16, 9)  # noqa: DTZ001 — typer's way of a default; UTC is added below
"""When every invoice in samples/invoices has been issued and none is due."""


@app.command()
def up(
    system: System = "local",
    start_at: Annotated[
        datetime, typer.Option(help="Where the clock of a new system starts, UTC. By then all samples are issued.")
    ] = SAMPLES_AT,
) -> None:
    """Start a local system (Postgres, chain, mock servers, platform) for you to use; keeps its data over restarts."""
    chosen = system_named(system)
    err.print(f"Starting the system [bold]{chosen.name}[/] …")
    try:
        settings = run(chosen.up(step, start_at=start_at.replace(tzinfo=UTC)))
    except LocalSystemFailed as failed:
        fail(str(failed))
    out.print(
        f"\nIts clock:     {chosen.clock().now():%-d %B %Y, %H:%M} UTC (move it: POST /v1/sandbox/clock)",
        highlight=False,
    )
    out.print(f"The platform:  {settings.public_url}    API docs: {settings.public_url}/docs", highlight=False)
    out.print(f"The mailbox:   {settings.sandbox_control_urls['mailbox']}/messages", highlight=False)
    out.print(
        f"The mock bank: {settings.sandbox_control_urls['bank']}/control/accounts (open one), /control/payments (pay)",
        highlight=False,
    )
    out.print(
        "Next:          .venv/bin/fintokenx seed   (people in every role, signed in; API keys)\n"
        "               .venv/bin/fintokenx keys create --tenant tnt_fintokenx --name me   (header FX-Api-Key)",
        highlight=False,
    )
    out.print("Stop it:       make down", highlight=False)


@app.command()
def down(system: System = "") -> None:
    """Stop local systems; all data stays. Without --system: whichever run."""
    from fintokenx.app.local import LocalSystem, home

    if system and not system_named(system).folder.exists():
        fail(f"there is no local system {system}")
    names = [system] if system else sorted(path.parent.name for path in home().glob("*/ports.json"))
    for name in names:
        err.print(f"Stopping [bold]{name}[/] …")
        run(LocalSystem(name).down(step))
    if not names:
        err.print("nothing to stop")


@app.command()
def status(system: System = "", as_json: AsJson = False) -> None:
    """What runs, where, and whether it is ready. Exit code 1 when it is not."""
    import httpx

    chosen = system_named(system)
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
        out.print(status_table(found))
    raise typer.Exit(0 if ready in ("ready", "degraded") else 1)


def status_table(found: dict[str, Any]) -> Table:
    """What runs; a part whose process runs and that is of no use is not called running only."""
    components = found.get("readiness", {}).get("components", {})
    table = Table("part", "state", "where", title=f"system {found['system']}, clock {found['clock']}")
    for part in ("platform", "mock_servers", "chain"):
        where = found[part].get("url") or ", ".join(found[part].get("urls", {}).values())
        state = "running" if found[part]["running"] else "stopped"
        reason = components.get(part, {}).get("reason")
        table.add_row(part, f"{state}, but {reason}" if reason and found[part]["running"] else state, where)
    for name, component in components.items():
        said = ": ".join(filter(None, (component["state"], component.get("reason"))))
        table.add_row(f"  {name}", said, "needed" if component["needed"] else "")
    return table


@app.command()
def demo(
    invoice: Annotated[
        Path | None, typer.Option("--invoice", help="A PDF or XML invoice; default: one of samples/invoices.")
    ] = None,
) -> None:
    """Play the life of one invoice, from the upload to the burned token, through the public API."""
    from fintokenx.app import demo as story
    from fintokenx.app.demo_paper import StoryFailed

    chosen = invoice or story.default_invoice()
    if not chosen.is_file():
        fail(f"{chosen} is {'a folder' if chosen.is_dir() else 'not there'}; give a PDF or XML invoice")
    try:
        run(story.play(chosen, out))
    except (StoryFailed, LocalSystemFailed) as failed:
        fail(str(failed))


@app.command()
def seed(system: System = "", as_json: AsJson = False) -> None:
    """Bring in people of every role in every tenant, signed in; print their tokens, and an API key for each tenant.

    Call it again for fresh sessions: they live half an hour of the system's clock.
    """
    from fintokenx.app import seed as seeding

    try:
        found = run(seeding.seed(ready(system), step))
    except seeding.SeedFailed as failed:
        fail(str(failed))
    if as_json:
        out.print_json(json.dumps(asdict(found)))
        return
    table = Table("tenant", "role", "company", "subject", "signs in as", title="Signed in", title_justify="left")
    for seat in found.seats:
        table.add_row(seat.tenant_id, seat.role, seat.legal_name, seat.subject_id, seat.email)
    out.print(table)
    for seat in found.seats:
        second = f"   TOTP secret {seat.totp_secret}" if seat.totp_secret else ""
        print(f"{seat.tenant_id} {seat.role}: Authorization: Bearer {seat.token}{second}")  # noqa: T201 — never folded
    for tenant_id, key in found.api_keys.items():
        print(f"{tenant_id}: FX-Api-Key: {key}")  # noqa: T201


@app.command(hidden=True)
def serve(
    system: System = "",
    lanes: Annotated[
        str,
        typer.Option(envvar="FX_LANES", help="Job lanes to serve: money,chain,documents,outbound,ai. Default: all."),
    ] = "",
) -> None:
    """Run the platform in the foreground."""
    from fintokenx.app import serving, wiring
    from fintokenx.kernel import jobs, logs
    from fintokenx.kernel.settings import BadSettings

    logs.configure()
    chosen = tuple(name.strip() for name in lanes.split(",")) if lanes else ()
    try:
        jobs.slots_of(chosen)
        settings = ready(system).settings()
        application = wiring.create_app(settings, lanes=chosen)
    except (jobs.UnknownLane, BadSettings) as fault:
        fail(str(fault), 2)
    serving.run(application, host=settings.listen_host, port=settings.listen_port)


@app.command(hidden=True)
def mocks(system: System = "") -> None:
    """Run the mock servers in the foreground."""
    from fintokenx.app import mock_servers
    from fintokenx.kernel import logs

    logs.configure("WARNING")
    asyncio.run(mock_servers.serve(ready(system)))


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
        step(str(path.relative_to(root)))
