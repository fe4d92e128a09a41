"""Each table belongs to one module, whose store alone names it; foreign keys point downward (P-02, P-03, IN-16)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from fintokenx.app.catalogue import TABLE_OWNERS
from fintokenx.app.docs import Table, tables
from fintokenx.app.migration_files import check_ownership, once, repeatable
from tests.architecture.house import PACKAGE, ROOT, Copy, module_of, modules, order, sources, strings

MIGRATIONS = ROOT / "migrations"
NAMED = re.compile(r"\b((?:app|ops|fx)\.[a-z_]+)\b")
SPEAKS_SQL = re.compile(
    r"^\s*(?:select\s|insert\s+into\s|update\s+\S+\s|delete\s+from\s|with\s+\w+\s+as\s|set\s+local\s|begin;|commit;)",
    re.IGNORECASE,
)
ASKS_THE_DATABASE = re.compile(r"\btx\.(?:rows|row|value|write|connection)\b")
CREATED = re.compile(r"^create (?:unlogged )?table (?:if not exists )?app\.(\w+)", re.MULTILINE)
STATEMENT = re.compile(
    r"^(?:create (?:unlogged )?table|alter table) (?:if not exists |only )?app\.(\w+)\b(.*?);$", re.M | re.S
)
REFERENCE = re.compile(r"\breferences\s+(?:app\.)?(\w+)")

SQL_ELSEWHERE = {
    "kernel": "transactions, jobs, idempotency and keys are the machinery of SQL itself",
    "web/edge.py": "idempotency keys, which live and die with a request's effect: the kernel's table",
    "app": "migrations, provisioning and health",
    "adapters/blobs/store.py": "per-tenant data keys, wrapped: the kernel's table",
    "sandbox/postgres.py": "starts the database",
}
SHARED = {"ops.inbox": "kernel's, for every module that hears webhooks"}
READ_FROM_ABOVE = {
    (
        "lifecycle/tokenisation/store/promises.py",
        "app.chain_tx",
    ): "joins them with tokens and wallets",
}
"""Stores that read a table of a module below: one file each, which changes no row of it."""
POINTS_UP = {
    ("chain_tx", "tokens"): "what a transaction is about; the engine takes it as a word that it does not know",
    ("chain_tx", "wallets"): "what a transaction is about; the engine takes it as a word that it does not know",
}
"""Foreign keys to a table of a module above: the database holds them, no code below reads what they point at."""
WRITES = re.compile(r"\baudit\.(?:insert|update|delete)\b|\b(?:insert into|update app|delete from)\b", re.IGNORECASE)


def may_speak_sql(path: Path, package: Path) -> bool:
    """Whether SQL may stand in this file at all."""
    name = path.relative_to(package).as_posix()
    return (
        path.name == "store.py"
        or path.parent.name == "store"
        or any(name == place or name.startswith(f"{place}/") for place in SQL_ELSEWHERE)
    )


def sql_in_the_wrong_place(package: Path) -> list[str]:
    """SQL outside a store."""
    found = []
    for path, tree in sources(package):
        if may_speak_sql(path, package):
            continue
        place = path.relative_to(package).as_posix()
        found += [f"{place}:{text.lineno}: SQL" for text in strings(tree) if SPEAKS_SQL.match(str(text.value))]
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        found += [f"{place}:{number}: asks the database" for number, line in lines if ASKS_THE_DATABASE.search(line)]
    return found


def foreign_tables(package: Path, owned: Sequence[Table]) -> list[str]:
    """Stores that name a table of another module, or one that nobody has made."""
    owner = {table.full_name: table.module for table in owned}
    bare = {table.name: table for table in owned if table.schema == "app"}
    found = []
    for path, tree in sources(package):
        module = module_of(path, package)
        if not (path.name == "store.py" or path.parent.name == "store") or module == "adapters":
            continue
        place = path.relative_to(package).as_posix()
        for text in strings(tree):
            value = str(text.value)
            named = [name for name in NAMED.findall(value) if name in owner or name.startswith(("app.", "ops."))]
            named += [bare[value].full_name] if value in bare else []
            found += [
                f"{place}:{text.lineno}: {name} of {owner.get(name, 'nobody')}"
                for name in named
                if owner.get(name) != module and name not in SHARED and (place, name) not in READ_FROM_ABOVE
            ]
    return found


def without_owner(migrations: Path) -> list[str]:
    """Tables that a migration creates and protects nowhere."""
    owned = {table.name for table in tables(migrations)}
    created = [name for path in sorted(migrations.glob("*.sql")) for name in CREATED.findall(path.read_text("utf-8"))]
    return [name for name in created if name not in owned]


def upward_keys(migrations: Path, lowest_first: Sequence[str]) -> list[str]:
    """Foreign keys to a table of a module that stands above."""
    owner = {table.name: table.module for table in tables(migrations) if table.schema == "app"}
    rank = {module: number for number, module in enumerate(lowest_first)}
    found = []
    for path in sorted(migrations.glob("[0-9]*.sql")):
        text = re.sub(r"--.*", "", path.read_text("utf-8"))
        for table, body in STATEMENT.findall(text):
            for target in REFERENCE.findall(body):
                if rank[owner[table]] < rank[owner[target]] and (table, target) not in POINTS_UP:
                    found.append(f"{path.name}: {table} of {owner[table]} → {target} of {owner[target]}")
    return found


def test_sql_stands_in_stores_only() -> None:
    assert sql_in_the_wrong_place(PACKAGE) == []


def test_a_store_names_only_its_own_tables() -> None:
    assert foreign_tables(PACKAGE, tables(MIGRATIONS)) == []


def writers_of_what_they_may_read(package: Path) -> list[str]:
    """Stores that may read a table below, and write."""
    return sorted({place for place, _ in READ_FROM_ABOVE if WRITES.search((package / place).read_text("utf-8"))})


def test_a_store_that_reads_a_table_below_writes_nothing() -> None:
    assert writers_of_what_they_may_read(PACKAGE) == []


@pytest.mark.parametrize(
    "line", ['STRAY = audit.update("chain_tx", {})', 'STRAY = "update app.chain_tx set nonce = 1"']
)
def test_a_planted_write_to_a_table_below_is_caught(copy: Copy, line: str) -> None:
    [(place, _)] = READ_FROM_ABOVE
    with copy.planted({place: line}):
        assert writers_of_what_they_may_read(copy.src / "fintokenx") == [place]


def test_the_reviewed_exceptions_still_stand_for_something() -> None:
    named = {(place, table) for place, table in READ_FROM_ABOVE if table in (PACKAGE / place).read_text("utf-8")}
    assert named == READ_FROM_ABOVE.keys()
    made = "".join(path.read_text("utf-8") for path in sorted(MIGRATIONS.glob("[0-9]*.sql")))
    keys = {(table, target) for table, body in STATEMENT.findall(made) for target in REFERENCE.findall(body)}
    assert POINTS_UP.keys() <= keys


def test_every_table_has_one_owner_and_each_owner_exists() -> None:
    assert without_owner(MIGRATIONS) == []
    owned = tables(MIGRATIONS)
    assert len({table.full_name for table in owned}) == len(owned)
    known = {name.rsplit(".", 1)[-1] for name in modules()} | {"kernel"}
    assert {table.module for table in owned} <= known


def test_a_table_is_whose_the_header_says_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "20990101T0000_auth.sql").write_text("-- module: kyc\ncreate table ops.readings (id text);\n")
    assert [(table.full_name, table.module) for table in tables(tmp_path)] == [("ops.readings", "kyc")]


def test_each_migration_changes_tables_of_its_own_module_alone() -> None:
    check_ownership([*once(MIGRATIONS), *repeatable(MIGRATIONS)], TABLE_OWNERS)


def test_foreign_keys_point_downward() -> None:
    assert upward_keys(MIGRATIONS, order()) == []


@pytest.mark.parametrize(
    ("path", "line", "caught"),
    [
        ("lifecycle/marketplace/service.py", 'STRAY = "select 1"', "lifecycle/marketplace/service.py:"),
        ("lifecycle/explorer/service/holder.py", 'STRAY = "select 1"', "lifecycle/explorer/service/holder.py:"),
        ("desks/buyer/pages.py", "async def stray(tx):\n    return await tx.row(QUERY)", "desks/buyer/pages.py:"),
        ("parties/kyc/http.py", "async def stray(tx):\n    return await tx.value(QUERY)", "parties/kyc/http.py:"),
        ("adapters/ais/client.py", 'STRAY = "update app.invoices set state = 1"', "adapters/ais/client.py:"),
    ],
)
def test_planted_sql_is_caught(copy: Copy, path: str, line: str, caught: str) -> None:
    with copy.planted({path: line}):
        assert any(found.startswith(caught) for found in sql_in_the_wrong_place(copy.src / "fintokenx"))


@pytest.mark.parametrize(
    ("line", "caught"),
    [
        ('STRAY = "select state from app.invoices"', "app.invoices of invoice"),
        ('STRAY = f"select {1} from ops.login_codes"', "ops.login_codes of auth"),
        ('STRAY = audit.insert("subjects", {})', "app.subjects of auth"),
        ('STRAY = "select 1 from app.no_such_table"', "app.no_such_table of nobody"),
    ],
)
def test_a_planted_foreign_table_is_caught(copy: Copy, line: str, caught: str) -> None:
    with copy.planted({"lifecycle/marketplace/store.py": line}):
        found = foreign_tables(copy.src / "fintokenx", tables(MIGRATIONS))
        assert any(line.endswith(caught) for line in found)


def test_a_planted_upward_key_and_an_unowned_table_are_caught(tmp_path: Path) -> None:
    (tmp_path / "20990101T0000_auth.sql").write_text(
        "-- module: auth\n"
        "create table app.subjects (id text references app.invoices (reference));\n"
        "select fx.protect('subjects', 'auth');\n"
        "create table app.orphans (id text);\n"
    )
    (tmp_path / "20990101T0001_invoice.sql").write_text(
        "-- module: invoice\n"
        "create table app.invoices (\n  reference text\n);\n"
        "select fx.protect('invoices', 'invoice', 'invoice');\n"
        "alter table app.invoices add foreign key (reference) references app.subjects (id);\n"
    )
    assert upward_keys(tmp_path, order()) == ["20990101T0000_auth.sql: subjects of auth → invoices of invoice"]
    assert without_owner(tmp_path) == ["orphans"]
