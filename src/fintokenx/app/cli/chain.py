"""The network's files and arithmetic, and what stands on it: `fintokenx chain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from fintokenx.app.cli.common import AsJson, System, fail, out, progress_bar, ready, run, step

if TYPE_CHECKING:
    from fintokenx.lifecycle.tokenisation import Reconciliation

app = typer.Typer(no_args_is_help=True, help="The network: its genesis, its quorum, and whether it agrees with us.")


@app.command("genesis")
def chain_genesis(
    plan_file: Annotated[Path, typer.Argument(help="The plan (TOML): validators, accounts, clients.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write into; files of these names are replaced.")],
    consensus: Annotated[str, typer.Option("--consensus", help="ibft2 or qbft. Default: what the plan says.")] = "",
) -> None:
    """Write genesis, permissions and a configuration per node. The same plan gives the same bytes."""
    from fintokenx.adapters.chain.bft import Consensus
    from fintokenx.adapters.chain.network import BadPlan, generate, read

    if consensus and consensus not in set(Consensus):
        fail(f"no such consensus; there are: {', '.join(Consensus)}")
    try:
        files = generate(read(plan_file.read_text("utf-8"), Consensus(consensus) if consensus else None))
    except (OSError, UnicodeDecodeError) as fault:
        fail(f"the plan cannot be read: {fault}")
    except BadPlan as refusal:
        fail(f"{refusal.title()} {refusal.detail} [{refusal.code}]")
    for name, text in files.items():
        path = to / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")
        except OSError as fault:
            fail(f"{path} cannot be written: {fault.strerror}")
        step(str(path))


@app.command("quorum")
def chain_quorum(
    validators: Annotated[int, typer.Argument(min=1, help="How many validators there are.")] = 7,
    as_json: AsJson = False,
) -> None:
    """How many seals make a block final, how many validators may be down, and when the chain halts."""
    from fintokenx.adapters.chain.bft import quorum

    needed = quorum(validators)
    if as_json:
        told = {"validators": validators, "quorum": needed, "may_be_down": validators - needed}
        out.print_json(json.dumps(told))
        return
    out.print(f"validators   {validators}", highlight=False)
    out.print(f"quorum       {needed} of {validators}  (two thirds, rounded up)", highlight=False)
    out.print(f"may be down  {validators - needed}; with {validators - needed + 1} the chain halts", highlight=False)


@app.command("reconcile")
def chain_reconcile(system: System = "", as_json: AsJson = False) -> None:
    """Compare tokens, holdings and claims in the database with the chain, at one block. Exit code 1 on any drift."""
    from fintokenx.app import inspect

    chosen = ready(system)
    with progress_bar() as bar:
        task = bar.add_task("blocks", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        found = run(inspect.reconcile(chosen, progress))
    if as_json:
        out.print_json(json.dumps(inspect.reconciliation_json(found)))
    else:
        _print_reconciliation(found)
    raise typer.Exit(0 if found.equal else 1)


def _print_reconciliation(found: Reconciliation) -> None:
    for drift in found.drifts:
        out.print(f"[bold red]✗[/] {escape(drift.told())}", highlight=False, soft_wrap=True)
    out.print(
        f"block {found.block_number}: {found.tokens} tokens, {found.holdings} holdings, {found.wallets} wallets "
        f"compared, {found.events} logs added up; {found.in_flight} in flight, {len(found.drifts)} drifts",
        highlight=False,
    )
    agree, differ = "[green]chain and database agree[/]", "[bold red]chain and database do NOT agree[/]"
    out.print(agree if found.equal else differ)
