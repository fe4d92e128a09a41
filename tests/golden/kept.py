"""What a golden run leaves, and the files in which it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg

from fintokenx.audit.types import canonical_entry
from tests.support import World

FOLDER: Final = Path(__file__).parent / "kept"
ENTRIES: Final = "entries.jsonl"
ANSWERS: Final = "answers.jsonl"
TRANSITIONS: Final = "transitions.txt"
ACTIONS: Final = "actions.txt"
CARRIES: Final = "carries.txt"
OPENAPI: Final = "openapi.json"

_ENTRIES: Final = """
    select seq, id, "timestamp", action, actor, actor_role, on_behalf_of, tenant_id, resource, request_id,
           diff::text as diff, prev_hash, hash,
           merkle_batch_id from app.audit_entries order by seq
"""


async def record(world: World) -> dict[str, str]:
    """The record, the machines and what each action may do, as the database has them: files by name."""
    connection = await world.connect("postgres")
    try:
        return {
            ENTRIES: "".join(f"{_entry(row)}\n" for row in await connection.fetch(_ENTRIES)),
            TRANSITIONS: await _rows(
                connection, "machine, from_state, event, to_state, action", "fx.machine_transitions"
            ),
            ACTIONS: await _rows(connection, "*", "app.audit_actions"),
            CARRIES: await _rows(connection, "*", "fx.action_carries"),
        }
    finally:
        await connection.close()


def _entry(row: Any) -> str:
    content = canonical_entry(
        row["seq"], row["id"], row["timestamp"], row["action"], row["actor"], row["actor_role"], row["on_behalf_of"],
        row["tenant_id"], row["resource"], row["request_id"], row["diff"], row["prev_hash"],
        row["merkle_batch_id"],
    )  # fmt: skip
    return f"{row['hash'].hex()} {content.decode()}"


async def _rows(connection: asyncpg.Connection, columns: str, table: str) -> str:
    rows = await connection.fetch(f"select {columns} from {table}")
    return "".join(f"{line}\n" for line in sorted(" | ".join(_cell(value) for value in row) for row in rows))


def _cell(value: object) -> str:
    return ",".join(sorted(map(str, value))) if isinstance(value, list) else str(value)


def openapi(document: Mapping[str, Any]) -> str:
    """Each operation's hash, schemas written out where they are named: operation ids and schema names apart."""
    schemas = document["components"]["schemas"]
    found = {
        f"{method.upper()} {path}": hashlib.sha256(_text(_written_out(operation, schemas, ())).encode()).hexdigest()[
            :40
        ]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    rest = {name: value for name, value in document.items() if name not in ("paths", "components")}
    rest["components"] = {name: value for name, value in document["components"].items() if name != "schemas"}
    return json.dumps({"document": rest, "operations": dict(sorted(found.items()))}, indent=1) + "\n"


def operation(document: Mapping[str, Any], named: str) -> str:
    """One operation as it is compared, for people."""
    method, path = named.split(" ", 1)
    return _text(_written_out(document["paths"][path][method.lower()], document["components"]["schemas"], ()))


def _text(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True)


def _written_out(value: object, schemas: Mapping[str, Any], within: tuple[str, ...]) -> object:
    if isinstance(value, list):
        return [_written_out(one, schemas, within) for one in value]
    if not isinstance(value, dict):
        return value
    if isinstance(reference := value.get("$ref"), str):
        name = reference.rsplit("/", 1)[1]
        if name in within:
            return {"again": len(within) - within.index(name)}
        schema = {key: one for key, one in schemas[name].items() if key != "title"}
        return _written_out(schema, schemas, (*within, name))
    return {key: _written_out(one, schemas, within) for key, one in value.items() if key != "operationId"}


def answers(found: list[dict[str, Any]]) -> str:
    """One line an answer."""
    return "".join(f"{json.dumps(one, sort_keys=True, ensure_ascii=False)}\n" for one in found)
