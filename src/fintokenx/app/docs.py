"""Prints the documents that are read from the code: machines, reactions, actions, and whose tables are whose.

`generate` says what they must hold and `check` which of them have drifted, so that they can never tell an old story.
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from fintokenx.app.migration_files import once
from fintokenx.kernel.machine import NOTHING, AnyMachine

if TYPE_CHECKING:
    from fintokenx.app.redteam import Attack
    from fintokenx.audit import Action
    from fintokenx.kernel.bus import Fact
    from fintokenx.web.module import Module

NOTICE: Final = "<!-- Printed from the code by `fintokenx docs`; edit the code, then print again. -->\n"

_PROTECTED: Final = re.compile(r"^select fx\.protect\(([^)]*)\)", re.MULTILINE)
_PLATFORM: Final = re.compile(r"^insert into fx\.tables values \(([^)]*)\)", re.MULTILINE)
_CREATED: Final = re.compile(r"^create (?:unlogged )?table (?:if not exists )?(ops|fx)\.(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Table:
    """A table and whose it is. ``machine`` guards its ``state`` column; None when it has no machine."""

    schema: str
    name: str
    module: str
    machine: str | None

    @property
    def full_name(self) -> str:
        """As SQL names it."""
        return f"{self.schema}.{self.name}"


def tables(migrations: Path) -> tuple[Table, ...]:
    """Every table that the migrations make, in their order: whose each is says the header of its file.

    Domain tables (schema app) are those that are given to their module by ``fx.protect`` or a line in ``fx.tables``.
    """
    found: list[Table] = []
    for file in once(migrations):
        name, machine = 0, 2
        for match in _PROTECTED.finditer(file.text):
            said = re.findall(r"'([^']*)'", match[1])
            found.append(Table("app", said[name], file.module, said[machine] if len(said) > machine else None))
        for match in _PLATFORM.finditer(file.text):
            said = re.findall(r"'([^']*)'", match[1])
            found.append(Table("app", said[name], file.module, None))
        found.extend(Table(schema, table, file.module, None) for schema, table in _CREATED.findall(file.text))
    return tuple(found)


def generate(root: Path) -> dict[Path, str]:
    """Every generated document of the checkout at ``root``: where it lies and its text."""
    from fintokenx.app import catalogue, modules, redteam

    owned = tables(root / "migrations")
    docs = root / "docs"
    documents = {
        docs / "reactions.md": _reactions(modules.MODULES),
        docs / "actions.md": _actions(_declared(modules.MODULES), catalogue.MACHINES),
        docs / "tables.md": _tables(owned),
        docs / "redteam.md": _redteam(redteam.ATTACKS),
        docs / "architecture.md": _architecture(root, modules.MODULES, _folders(vars(modules))),
    }
    for machine in catalogue.MACHINES:
        documents[docs / "machines" / f"{_slug(machine.name)}.md"] = _machine(machine, owned)
    return documents


def check(root: Path) -> list[Path]:
    """The generated documents that are missing, differ from the code, or describe a machine that is gone."""
    wanted = generate(root)
    drifted = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale = set((root / "docs/machines").glob("*.md")) - wanted.keys()
    return sorted([*drifted, *stale])


def write(root: Path) -> list[Path]:
    """Make the documents true; returns those that were not."""
    wanted = generate(root)
    drifted = check(root)
    for path in drifted:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return drifted


def _slug(name: str) -> str:
    return re.sub(r"[ _]+", "-", name)


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


def _machine(machine: AnyMachine, owned: Sequence[Table]) -> str:
    guarded = [table for table in owned if table.machine == machine.name]
    where = ", ".join(f"`{table.full_name}` ({table.module})" for table in guarded) or "no table"
    rows = [
        (f"`{line.source}`" if line.source else "(nothing)", line.event, f"`{line.target}`", f"`{line.action}`")
        for line in machine.transitions
    ]
    return (
        f"{NOTICE}# The machine of: {machine.name}\n\n"
        f"Guards {where}. Nothing leaves: {_code(machine.terminal_states)}.\n\n"
        f"```mermaid\n{''.join(_diagram(machine))}```\n\n"
        f"{_grid(('from', 'event', 'to', 'recorded as'), rows)}"
    )


def _diagram(machine: AnyMachine) -> Iterator[str]:
    yield "stateDiagram-v2\n"
    for line in machine.transitions:
        source = "[*]" if line.source == NOTHING else line.source
        yield f"    {source} --> {line.target}: {line.event}\n"
    for state in machine.terminal_states:
        yield f"    {state} --> [*]\n"


def facts() -> list[type[Fact]]:
    """Every fact of the platform that is imported by now, by module and name."""
    from fintokenx.kernel.bus import Fact

    ours = {(kind.__module__, kind.__name__): kind for kind in _below(Fact) if kind.__module__.startswith("fintokenx.")}
    return [ours[key] for key in sorted(ours)]


def _below(kind: type[Fact]) -> Iterator[type[Fact]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _module_of(python_name: str) -> str:
    """`fintokenx.lifecycle.invoice.events` → `invoice`."""
    return python_name.split(".")[-2]


def _reactions(modules: Sequence[Module[Any]]) -> str:
    in_step = [(each.fact, each.react.__qualname__, module) for module in modules for each in module.in_step]
    afterwards = [(each.fact, each.job) for module in modules for each in module.afterwards]
    rows = [
        (
            f"`{fact.name()}`",
            _module_of(fact.__module__),
            _code(f"{module.name}.{name}" for heard, name, module in in_step if heard is fact),
            _code(job for heard, job in afterwards if heard is fact),
        )
        for fact in facts()
    ]
    return (
        f"{NOTICE}# Who answers whom\n\n"
        "A fact goes up. *In step*: in the writer's own transaction, may refuse. *Afterwards*: a durable job,\n"
        "inserted in the writer's transaction and run after it, at least once.\n\n"
        f"{_grid(('fact', 'told by', 'in step', 'afterwards'), rows)}"
    )


def _declared(modules: Sequence[Module[Any]]) -> list[tuple[str, Action]]:
    """Each action with the module that declares it, from the lowest up."""
    return [(module.name, action) for module in modules for action in module.actions]


def _actions(declared: Sequence[tuple[str, Action]], machines: Sequence[AnyMachine]) -> str:
    rows = [
        (
            f"`{action.name}`",
            module,
            ", ".join(str(role) for role in action.roles),
            "yes" if action.customer_facing else "no",
            action.on_behalf_of.replace("_", " "),
            "staff only" if action.staff_only else "staff, partner",
            ", ".join(
                machine.name for machine in machines if any(line.action == action.name for line in machine.transitions)
            )
            or "–",
        )
        for module, action in declared
    ]
    columns = ("action", "declared by", "actor roles", "customer-facing", "on behalf of", "read by", "moves")
    return (
        f"{NOTICE}# What may be recorded\n\n"
        "The closed taxonomy of the audit log (AD-12, AD-15): the database refuses an entry with any other action,\n"
        "role or on-behalf-of. Customers read no trail by API (a holder proves the entries behind its own transfers);\n"
        "a partner reads what is not for staff only.\n\n"
        f"{_grid(columns, rows)}"
    )


_STILL_LEARNT: Final = """## What injected SQL can still learn or take

Postgres has no privilege for these; each is told here with its measure. None shows a row, a value or a key of another.

| by | what | measure |
|---|---|---|
| `explain analyze` ("Rows Removed by Filter") with index scans off | how many rows all tenants have in a table together | a number; moves with everybody's work |
| the same on an index that is unique across tenants | whether a value that one knows already exists elsewhere | ids, references and hashes that nobody can guess (RT-45); a number seen on chain says as much |
| `pg_class.reltuples`, `relpages`, costs in `explain` | the same number, as of the last analyse | as above |
| `nextval`, `pg_sequence_last_value` of the two reference sequences | how many invoices or tokens there are | a count; references are a keyed permutation of it |
| `pg_current_wal_lsn()`, `pg_current_snapshot()` | how much is written at this moment | a rate |
| how long a query takes | the load; a foreign id takes as long as a missing one | RT-58 measures it at each run |
| a violated unique key | nothing: the text names the caller's own value, and the answer is alike (RT-43, RT-45) | – |
| `fx.lock` | may make commands of its own tenant wait; of no other (RT-149) | until its transaction ends: 60 s idle at most |
| `alter role current_user password` | may keep new connections of its own login out | until bootstrap.sql is run again with the vault's passwords; open ones stay |
| `alter role current_user set` | nothing: taken back at the next connection, which is not used (RT-103) | – |
| planner settings before a statement is planned | a slow plan for the next transaction, with right results | 60 s (ADR 0017) |
"""  # noqa: E501


def _redteam(attacks: Sequence[Attack]) -> str:
    rows = [(attack.id, attack.family, attack.title, attack.tries, attack.holds) for attack in attacks]
    return (
        f"{NOTICE}# The red team\n\n"
        f"`fintokenx redteam bypass` plays these {len(attacks)} attacks on a running system: by its API and as every\n"
        "login of its database with the real password, like somebody who has stolen it or injects SQL (TI-01 … 09).\n"
        "Exit status 0: all ran and each was refused or left its fingerprint; 1: something got through, and is named;\n"
        "2: the run could not be done, or was a part (`--only`). What ends otherwise than an attack foresaw is broken\n"
        "too. The report is signed by the vault's key `redteam/report/1` (`--report FILE`, `redteam verify FILE`),\n"
        "kept encrypted, and recorded as REDTEAM_RUN; 92 days without a good run raise the alert REDTEAM_OVERDUE.\n\n"
        "A run makes its own keys, sessions, customers and staff in both tenants, named after itself. It ends keys\n"
        "and sessions and suspends its staff; the rows stay, as all domain rows do. What an attack might change is\n"
        "rolled back. It takes the passwords from the vault, so it is for those who run the system.\n\n"
        "**Something new in the database** (a definer function, a policy, a membership, a writing grant, a table\n"
        "outside `app`) is broken until it stands in `src/fintokenx/app/redteam/reviewed.py`, with its reason.\n"
        "**A new attack** is a function in `src/fintokenx/app/redteam/attacks/`, with a hole in\n"
        "`tests/redteam/test_holes.py` that lets it through. New routes and tables are attacked at once: the OpenAPI\n"
        "document and the database's catalogue are walked.\n\n"
        f"{_grid(('id', 'family', 'attack', 'what it tries', 'what counts as held'), rows)}\n"
        f"{_STILL_LEARNT}"
    )


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.])\s", " ".join(text.split()))[0].rstrip(".")


def _folders(listing: Mapping[str, Any]) -> dict[int, str]:
    """The folder of each listed module, by the identity of its manifest's MODULE."""
    return {
        id(value.MODULE): "/".join(value.__name__.split(".")[1:-1])
        for value in listing.values()
        if isinstance(value, ModuleType) and hasattr(value, "MODULE")
    }


def _architecture(root: Path, modules: Sequence[Module[Any]], folder_of: Mapping[int, str]) -> str:
    """Folders and contracts as import-linter holds them, modules as they are listed."""
    contracts = configparser.ConfigParser()
    contracts.read(root / ".importlinter")
    package = root / "src/fintokenx"
    folders = contracts["importlinter:contract:folders"]["layers"].split()
    rows = [
        (f"[{name}](../src/fintokenx/{name})", _first_sentence(ast.get_docstring(_parsed(package / name)) or ""))
        for name in folders
    ]
    listed = []
    for module in modules:
        place = folder_of[id(module)]
        folder = package / place
        listed.append(
            (
                f"[{place}](../src/fintokenx/{place})",
                _first_sentence(ast.get_docstring(_parsed(folder, "manifest.py")) or ""),
                _code(machine.name for machine in module.machines),
                _code(job.name for job in module.periodic),
            )
        )
    held = [(contracts[name]["name"],) for name in contracts.sections() if name.startswith("importlinter:contract:")]
    return (
        f"{NOTICE}# Architecture on one page\n\n"
        "Commands go down as calls. Facts go up as events. What needs both ends sits above both.\n\n"
        "## Folders\n\nUpper ones know lower ones, never the reverse.\n\n"
        f"{_grid(('folder', 'what lives there'), rows)}\n"
        "## Modules, observers and desks\n\nFrom the lowest up, as [app/modules.py](../src/fintokenx/app/modules.py) "
        "lists them; what each is stands in its\n`manifest.py`.\n\n"
        f"{_grid(('where', 'what it is', 'machines', 'falls due by the clock'), listed)}\n"
        "## What `make check` holds\n\nEach contract has a planted fault in tests/architecture/test_imports.py.\n\n"
        f"{_grid(('contract',), held)}"
    )


def _parsed(folder: Path, name: str = "__init__.py") -> ast.Module:
    return ast.parse((folder / name).read_text(encoding="utf-8"))


def _tables(owned: Sequence[Table]) -> str:
    rows = [(f"`{table.full_name}`", table.module, table.machine or "–") for table in owned]
    return (
        f"{NOTICE}# Whose table\n\n"
        "Only its module's `store` names a table (P-03). `app` holds domain state, the fold of the record; `ops` and\n"
        "`fx` hold machinery.\n\n"
        f"{_grid(('table', 'module', 'machine'), rows)}"
    )
