"""What every command needs: the consoles, the options that all share, and faults as one clear line."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Coroutine
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

Result = TypeVar("Result")
MESSAGE_LENGTH_MAX: Final = 2000
TEXT_LENGTH_MAX: Final = 200

out = Console(width=None if sys.stdout.isatty() else 140)  # a pipe has no width of its own
err = Console(stderr=True)

System = Annotated[
    str, typer.Option("--system", help="Which local system: local, demo … Default: the one started last.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong in one line and exit. What a user typed may stand in it."""
    # Not folded: whoever reads it from a pipe looks for words, and a path may be of any length.
    err.print(f"[bold red]error:[/] {escape(_printable(message))}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _printable(text: str) -> str:
    """Without what would command a terminal, and not endless."""
    shown = "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)
    return shown if len(shown) <= MESSAGE_LENGTH_MAX else f"{shown[:MESSAGE_LENGTH_MAX]} …"


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run asynchronous work; anticipated faults become one clear line."""
    from fintokenx.kernel import logs
    from fintokenx.kernel.errors import Refused, Unavailable
    from fintokenx.kernel.settings import BadSettings
    from fintokenx.kernel.vault import NotInVault

    logs.configure("WARNING")  # a command's output is for people and scripts
    try:
        return asyncio.run(work)
    except Refused as refusal:
        fail(f"{refusal.title()} {refusal.detail} [{refusal.code}]")
    except Unavailable as fault:
        if fault.answers:
            fail(f"the {fault.system} answers and does nothing ({fault.detail}); starting the system is no remedy")
        fail(f"the {fault.system} does not answer ({fault.detail}); is the system up? Try: make up")
    except (BadSettings, NotInVault) as fault:
        fail(str(fault))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ConnectionError:
        fail("the database does not answer; is the system up? Try: make up")


def typed_text(text: str, what: str) -> str:
    """Text that a person typed, as the API would take it, or a line that says why not."""
    from fintokenx.web import inputs

    try:
        kept = inputs.printable(text)
    except ValueError as fault:
        fail(f"{what} has 1 to {TEXT_LENGTH_MAX} visible characters: {fault}")
    if len(kept) > TEXT_LENGTH_MAX:
        fail(f"{what} has 1 to {TEXT_LENGTH_MAX} visible characters, not {len(kept)}")
    return kept


def typed_address(text: str) -> str:
    """An e-mail address that a person typed, as the API would take it, or a line that says why not."""
    from fintokenx.web import inputs

    try:
        return inputs.email_address(text)
    except ValueError as fault:
        fail(f"{text!a}: {fault}")


def system_named(name: str) -> Any:
    """The local system of that name, set up or not; the one started last when there is no name."""
    from fintokenx.app.local import LocalSystem, current_name

    if name and not re.fullmatch(r"[a-z0-9-]{1,30}", name):
        fail("a system's name has lower-case letters, digits and hyphens, thirty at most")
    return LocalSystem(name or current_name())


def ready(name: str) -> Any:
    """The local system of that name, which must have been set up."""
    system = system_named(name)
    if not system.exists:
        if name:
            fail(
                f"there is no system {name}; `fintokenx up --system {name}` makes it, without --system you get the last"
            )
        fail("there is no local system yet; `make up` or `make demo` makes one")
    return system


def step(what: str) -> None:
    """One line of progress."""
    err.print(f"  [dim]·[/] {what}", highlight=False)


def progress_bar() -> Progress:
    """Progress of long work, on standard error and for people only: nothing where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def must_be_tenant(of: Any, tenant: str) -> None:
    """Stop here unless the system has such a tenant."""
    from fintokenx.app import tenancy

    known = [found.id for found in run(tenancy.tenants(of))]
    if tenant not in known:
        fail(f"no such tenant; there are: {', '.join(known)}")
