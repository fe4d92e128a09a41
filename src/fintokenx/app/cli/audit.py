"""The record shown, proved, anchored, verified: `fintokenx audit`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from fintokenx.app.cli.common import AsJson, System, err, fail, out, ready, run

app = typer.Typer(no_args_is_help=True, help="The record: show, prove, verify.")


@app.command("show")
def audit_show(
    resource: Annotated[str, typer.Argument(help="An invoice reference, a subject id, a case id …")],
    system: System = "",
    as_json: AsJson = False,
) -> None:
    """The whole trail of an invoice (or any resource), oldest first."""
    from fintokenx.app import inspect

    entries = run(inspect.trail(ready(system), resource))
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


@app.command("proof")
def audit_proof(
    entry: Annotated[str, typer.Argument(help="An entry id (aud_…).")], system: System = "", as_json: AsJson = False
) -> None:
    """The inclusion proof of an entry, checked against the anchor on chain. Exit code 1 when it does not hold."""
    from fintokenx.app import inspect

    proof, holds = run(inspect.proof(ready(system), entry))
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


@app.command("disclose")
def audit_disclose(
    entries: Annotated[list[str], typer.Argument(help="Entry ids (aud_…), all of one tenant.")],
    field: Annotated[list[str], typer.Option("--field", help="email, representative_name, name, born_on, ip …")],
    system: System = "",
) -> None:
    """Tell sealed personal data with what proves it, as JSON. That it was told is on record before it is."""
    from fintokenx.app import inspect

    told = run(inspect.disclose(ready(system), entries, field))
    out.print_json(json.dumps([{**asdict(one), "shredded": one.value is None} for one in told]))


@app.command("anchor")
def audit_anchor(system: System = "") -> None:
    """Seal and anchor now what was recorded since the last batch."""
    from fintokenx.app import inspect

    out.print(run(inspect.anchor_now(ready(system))))


@app.command("verify")
def audit_verify(system: System = "", as_json: AsJson = False) -> None:
    """Check every hash, every link, every batch root, and every anchor on chain. Exit code 1 when anything is off."""
    from fintokenx.app import inspect

    chosen = ready(system)
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
