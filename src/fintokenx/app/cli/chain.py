"""The network's files and arithmetic: `fintokenx chain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fintokenx.app.cli.common import AsJson, fail, out, step

app = typer.Typer(no_args_is_help=True, help="The network: its genesis and its quorum.")


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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
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
