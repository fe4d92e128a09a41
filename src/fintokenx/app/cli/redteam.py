"""Attacks on one's own system, on purpose: `fintokenx redteam`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from fintokenx.app.cli.common import AsJson, System, fail, out, progress_bar, ready, run

if TYPE_CHECKING:
    from fintokenx.app import redteam

app = typer.Typer(no_args_is_help=True, help="The red team: attack this system, sign what became of it.")

_COLOURS = {"refused": "green", "fingerprinted": "cyan", "information": "dim", "BROKEN": "bold red"}


@app.command("bypass")
def redteam_bypass(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="An attack (RT-07) or a family (pins); may be repeated.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Where to write the signed report.")] = None,
    system: System = "",
    as_json: AsJson = False,
) -> None:
    """Play the attack catalogue against the running system.

    Exit code 0: all attacks ran and each was refused or fingerprinted. 1: something got through; it is named.
    2: the run could not be done, or was only a part of the catalogue."""
    from fintokenx.app import redteam
    from fintokenx.app.redteam import session

    chosen = ready(system)
    try:
        attacks = redteam.chosen(only or [])
    except KeyError as unknown:
        fail(f"no such attack or family: {unknown.args[0]}; families: {', '.join(redteam.FAMILIES)}", 2)
    if report is not None and not report.parent.is_dir():
        fail(f"{report} cannot be written: there is no such folder", 2)
    with progress_bar() as bar:
        try:
            done = run(session.bypass(chosen.settings(), attacks, progress=_progress(bar, len(attacks))))
        except redteam.CouldNotRun as fault:
            fail(str(fault), 2)
    if report is not None:
        try:
            report.write_bytes(done.report.envelope() + b"\n")
        except OSError as fault:
            fail(f"{report} cannot be written: {fault.strerror}", 2)
    if as_json:
        out.print_json(json.dumps({**done.report.body, "archived_as": done.archived_as}))
    else:
        _show(done)
    if done.report.broken:
        fail(f"got through: {', '.join(done.report.broken)}", 1)
    if not done.whole:
        fail(f"{len(attacks)} of {len(redteam.ATTACKS)} attacks ran: a part proves nothing, and is not archived", 2)
    raise typer.Exit(done.report.outcome)


@app.command("verify")
def redteam_verify(
    file: Annotated[Path, typer.Argument(help="A report written by --report.")], system: System = ""
) -> None:
    """Check the signature and the digest of a report against the system's vault. Exit code 1 when they do not hold."""
    from fintokenx.app import redteam
    from fintokenx.app.redteam import session

    try:
        content = file.read_bytes()
    except OSError as fault:
        fail(f"{file} cannot be read ({fault.strerror})")
    trusted = run(session.signing_key(ready(system).settings()))
    try:
        found = redteam.opened(content, trusted=trusted)
    except redteam.ReportRefused as refusal:
        fail(f"{file}: {refusal}")
    said = f"{len(found.body['attacks'])} attacks, {len(found.broken)} got through"
    out.print(f"[green]the report holds[/]: run at {found.body['run_at']}, {said}", highlight=False)


@app.command("history")
def redteam_history(system: System = "", as_json: AsJson = False) -> None:
    """Past runs, newest first."""
    from fintokenx.app.redteam import session

    runs, overdue = run(session.history(ready(system).settings()))
    if as_json:
        rows = [{**one.row(), "run_at": one.run_at.isoformat()} for one in runs]
        out.print_json(json.dumps({"runs": rows, "overdue": overdue}))
        return
    table = Table("run", "time", "attacks", "broken", "outcome", "report sha256")
    for one in runs:
        table.add_row(
            one.id, f"{one.run_at:%Y-%m-%d %H:%M}", str(one.attacks), str(one.broken), str(one.outcome),
            f"{one.report_sha256[:16]}…",
        )  # fmt: skip
    out.print(table)
    out.print("[bold red]a run is overdue[/]" if overdue else "no run is overdue")


def _progress(bar: Progress, total: int) -> Callable[[Any, Any], None]:
    task = bar.add_task("setting the scene", total=total)

    def tell(attack: redteam.Attack, result: redteam.Result | None) -> None:
        bar.update(task, description=f"{attack.id} {attack.title}"[:70], advance=1 if result else 0)

    return tell


def _show(done: Any) -> None:
    table = Table("id", "attack", "outcome", "how")
    for result in done.results:
        outcome = result.outcome.value
        table.add_row(result.attack.id, result.attack.title, f"[{_COLOURS[outcome]}]{outcome}[/]", result.detail)
    out.print(table)
    said = ", ".join(f"{count} {outcome}" for outcome, count in done.report.body["summary"].items())
    out.print(f"{len(done.results)} attacks in {done.seconds:.1f} s: {said}", highlight=False)
    if done.archived_as:
        out.print(f"recorded as {done.archived_as}, report sha256 {done.report.sha256}", highlight=False)
