"""The record shown, proved, anchored, verified, replayed: `fintokenx audit`."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from fintokenx.app.cli.common import AsJson, System, err, fail, must_be_tenant, out, progress_bar, ready, run

if TYPE_CHECKING:
    from fintokenx.audit import Replay

app = typer.Typer(no_args_is_help=True, help="The record: show, prove, verify, replay.")


@app.command("show")
def audit_show(
    resource: Annotated[str, typer.Argument(help="An invoice reference, a subject id, a case id …")],
    system: System = "",
    as_json: AsJson = False,
) -> None:
    """The whole trail of an invoice (or any resource), oldest first."""
    from fintokenx.app import trails

    entries = run(trails.trail(ready(system), resource))
    if not entries:
        fail(f"nothing is recorded about {resource!r}")
    if as_json:
        out.print_json(json.dumps([trails.entry_json(entry) for entry in entries]))
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
    """The proof of an entry, checked against its signed checkpoint and the anchor on chain. Exit code 1 when it does
    not hold, or not yet."""
    from fintokenx.app import inspect

    if not entry.startswith("aud_"):
        fail("an entry's id begins with aud_; `fintokenx audit show FXI-…` lists those of an invoice", 2)
    bundle, holds = run(inspect.proof(ready(system), entry))
    if as_json:
        out.print_json(json.dumps({**bundle.wire(), "holds": holds}))
    else:
        [proof] = bundle.entries
        out.print(f"entry      {proof.entry.id}  (number {proof.entry.seq})", highlight=False)
        out.print(f"leaf       {proof.entry.hash.hex()}", highlight=False)
        for sibling in proof.path:
            out.print(f"  sibling  {sibling.hex()}", highlight=False)
        for batch in bundle.checkpoints:
            out.print(f"root       {batch.root.hex()}  of {batch.tree_size} entries, signed", highlight=False)
        for anchor in bundle.anchors:
            where = f"batch {anchor.batch_id}, block {anchor.block_number}, {anchor.tx_hash}"
            out.print(f"anchor     {where}", highlight=False)
        if holds:
            out.print("[green]the proof holds against the chain[/]")
        elif not bundle.anchors:
            out.print("[yellow]signed, but not anchored on chain yet[/]")
        else:
            out.print("[bold red]the proof does not hold[/]")
    raise typer.Exit(0 if holds else 1)


@app.command("bundle")
def audit_bundle(
    resource: Annotated[str, typer.Argument(help="An invoice reference, a subject id, a case id …")],
    to: Annotated[
        str, typer.Option("--out", help="The file; - for standard output. Default: <resource>.evidence.json")
    ] = "",
    field: Annotated[list[str] | None, typer.Option("--field", help="Tell this sealed field too: email …")] = None,
    by: Annotated[str, typer.Option("--by", help="With --field: the officer who is told, a subject id.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if there is one.")] = False,
    system: System = "",
) -> None:
    """Evidence of all that is recorded about a resource: one file that anybody checks with verifier/fxverify.py."""
    from fintokenx.app import inspect

    if bool(field) != bool(by):
        fail("--field and --by go together: which fields, and the officer who is told", 2)
    chosen = ready(system)
    path = Path(to or f"{re.sub(r'[^A-Za-z0-9._-]', '_', resource)}.evidence.json")
    if to != "-" and path.is_file() and not force:
        fail(f"{path} is there already; --force overwrites it, --out names another")
    with progress_bar() as bar:
        task = bar.add_task("proofs", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        found = run(inspect.bundle(chosen, resource, field or [], by, progress))
    text = json.dumps(found.wire(), ensure_ascii=False, indent=1) + "\n"
    sizes = f"{len(found.entries)} entries, {len(found.checkpoints)} checkpoint(s), {len(found.anchors)} anchor(s)"
    if to == "-":
        sys.stdout.write(text)
        err.print(sizes, highlight=False)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        fail(f"{path} cannot be written: {fault.strerror}")
    out.print(f"{path}: {sizes}", highlight=False)


@app.command("key")
def audit_key(system: System = "") -> None:
    """The verifier key of the open log, for `fxverify.py --key` and for every C2SP tool."""
    from fintokenx.app import inspect

    out.print(run(inspect.log_key(ready(system))), soft_wrap=True, highlight=False, markup=False)


@app.command("checkpoint")
def audit_checkpoint(system: System = "") -> None:
    """The newest signed checkpoint."""
    from fintokenx.app import inspect

    out.print(run(inspect.checkpoint(ready(system))), end="", soft_wrap=True, highlight=False, markup=False)


@app.command("disclose")
def audit_disclose(
    entries: Annotated[list[str], typer.Argument(help="Entry ids (aud_…), all of one tenant.")],
    field: Annotated[list[str], typer.Option("--field", help="email, representative_name, name, born_on, ip …")],
    by: Annotated[str, typer.Option("--by", help="The MLRO or compliance officer who is told, a subject id.")],
    system: System = "",
) -> None:
    """Tell sealed personal data with what proves it, as JSON. That it was told, and to whom, is on record before."""
    from fintokenx.app import inspect

    told = run(inspect.disclose(ready(system), entries, field, by))
    out.print_json(json.dumps([{**asdict(one), "shredded": one.value is None} for one in told]))


@app.command("anchor")
def audit_anchor(system: System = "") -> None:
    """Seal, sign and anchor now what was recorded since the last batch."""
    from fintokenx.app import inspect

    out.print(run(inspect.anchor_now(ready(system))))


@app.command("verify")
def audit_verify(system: System = "", as_json: AsJson = False) -> None:
    """Check every hash, every link, every batch root, the open log, every anchor on chain.

    Exit code 1 when anything is off."""
    from fintokenx.app import inspect

    chosen = ready(system)
    with progress_bar() as bar:
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


@app.command("replay")
def audit_replay(
    system: System = "",
    tenant: Annotated[str, typer.Option(help="Compare the rows of this tenant only.")] = "",
    table: Annotated[str, typer.Option(help="Compare this table only.")] = "",
    as_json: AsJson = False,
) -> None:
    """Rebuild every domain table from the entries alone and compare each cell. Exit code 1 when anything differs."""
    from fintokenx.app import inspect

    chosen = ready(system)
    if tenant:
        must_be_tenant(chosen, tenant)
    with progress_bar() as bar:
        task = bar.add_task("entries", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        found = run(inspect.replay(chosen, progress, tenant_id=tenant or None, table=table or None))
    if as_json:
        out.print_json(json.dumps(inspect.replay_json(found)))
    else:
        _print_replay(found)
    raise typer.Exit(0 if found.equal else 1)


def _print_replay(found: Replay) -> None:
    for fault in found.faults:
        out.print(f"[bold red]✗[/] {escape(fault)}", highlight=False)
    for table in found.tables:
        for drift in table.drifts:
            out.print(f"[bold red]✗[/] {escape(drift.told())}", highlight=False)
        if table.differing > len(table.drifts):
            out.print(f"  … {table.table}: {table.differing - len(table.drifts)} more", highlight=False)
        if table.sealed_under_dead_keys:
            out.print(
                f"  {table.table}: {table.sealed_under_dead_keys} sealed fields whose key is destroyed", highlight=False
            )
    live = sum(table.live_rows for table in found.tables)
    dead = sum(table.sealed_under_dead_keys for table in found.tables)
    rate = found.operations / found.apply_seconds if found.apply_seconds else 0.0
    out.print(
        f"{found.entries} entries, {found.operations} row operations carried out in {found.apply_seconds:.1f} s "
        f"({rate:,.0f}/s); {found.seconds:.1f} s in all",
        highlight=False,
    )
    out.print(
        f"{len(found.tables)} tables, {live} rows compared, {found.differing} differing rows, "
        f"{dead} fields whose key is destroyed",
        highlight=False,
    )
    out.print(
        "[green]state is what the record says[/]" if found.equal else "[bold red]state is NOT what the record says[/]"
    )
