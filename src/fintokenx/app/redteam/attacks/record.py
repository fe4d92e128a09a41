"""What one tenant's SQL could do to the record and to what all tenants share, under its own sound pin."""

from __future__ import annotations

import json
from typing import Any, Final

from fintokenx.app.redteam.scene import Scene
from fintokenx.app.redteam.sql import CHANGE, entry, must_refuse, session_row
from fintokenx.app.redteam.types import Attack, Broken, attack

_UNREADABLE: Final = ("FX008", "FX009")
_MISFIT: Final = ("FX013", "FX014")
_NOBODY: Final = "0x00000000000000000000000000000000000000aa"
_RECORD_AT: Final = CHANGE.replace("$2::timestamptz", "$2::text::timestamptz")


@attack(
    120, "record", "No entry has a time that ends the verification of all.",
    tries="fx.change with times of 44 BC, 1999, 2101, the year 20000 and both infinities.",
    holds="The database refuses each (FX009).",
)  # fmt: skip
async def odd_times(scene: Scene) -> str:
    times = ("0044-03-15 BC", "1999-12-31", "2101-01-01", "20000-01-01", "infinity", "-infinity")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        row = session_row(scene, scene.here.tenant_id, scene.here.canary_id)
        for at in times:
            entry_id, _, *rest = entry(scene, row)
            await must_refuse(scene, connection, _RECORD_AT, entry_id, at, *rest, states=("FX009",))
    return f"{len(times)} times refused"


@attack(
    121, "record", "No entry is spelled as a verifier cannot read it.",
    tries="Diffs with spaces, members out of order, long escapes, fractions, numbers beyond 2^53-1, non-characters, 17 "
    "levels, more than a mebibyte, facts and rows of another shape.",
    holds="The database refuses each (FX008, FX009).",
)  # fmt: skip
async def odd_spellings(scene: Scene) -> str:
    deep: Any = 1
    for _ in range(16):
        deep = [deep]
    facts = (
        '"fact":"X", "n":1', '"fact":"X","a":1', '"fact":"\\u0058"', '"fact":"X","n":1.5', '"fact":"X","n":1e3',
        '"fact":"X","n":9007199254740992', '"fact":"\uffff"', f'"fact":"X","n":{json.dumps(deep)}',
        f'"fact":"{"x" * 2**20}"', '"n":1',
    )  # fmt: skip
    diffs = [f'{{"facts":[{{{fact}}}],"rows":[]}}' for fact in facts]
    diffs += ['{"rows":[],"facts":[]}', '{"facts":[],"rows":[{"op":"insert","row":{},"table":"sessions","x":1}]}']
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for diff in diffs:
            await must_refuse(scene, connection, CHANGE, *entry(scene, diff=diff), states=_UNREADABLE)
    return f"{len(diffs)} diffs refused"


@attack(
    122, "record", "No column of an entry is what a verifier cannot read.",
    tries="An actor, a resource and a request id of 501 characters and with non-characters; ids that are none.",
    holds="The database refuses each (FX009).",
)  # fmt: skip
async def odd_columns(scene: Scene) -> str:
    tried = 0
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        row = session_row(scene, scene.here.tenant_id, scene.here.canary_id)
        sound = entry(scene, row)
        for place in (3, 6, 7):
            for word in ("x" * 501, "\ufffe", "\U0010ffff"):
                given = (*sound[:place], word, *sound[place + 1 :])
                await must_refuse(scene, connection, CHANGE, *given, states=("FX009",))
                tried += 1
        for entry_id in ("", "aud_", "AUD_1", "aud_" + "x" * 61):
            await must_refuse(scene, connection, CHANGE, entry_id, *sound[1:], states=("FX009",))
            tried += 1
    return f"{tried} entries refused"


@attack(
    123, "record", "Nobody takes a nonce away from all.",
    tries="fx.next_nonce for a sender of the platform, alone, twice, and behind a savepoint, and the commit's checks.",
    holds="The transaction cannot commit without a promise for each nonce (FX024).",
)  # fmt: skip
async def burnt_nonces(scene: Scene) -> str:
    taken = f"select fx.next_nonce('{await scene.sender()}')"
    ways = (taken, f"{taken}; {taken}", f"savepoint burnt; {taken}; release savepoint burnt")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for way in ways:
            await must_refuse(scene, connection, f"{way}; set constraints all immediate", states=("FX024",))
    return f"{len(ways)} ways refused"


@attack(
    156, "record", "Nobody has nonces counted for a sender that is none of the platform's.",
    tries="fx.next_nonce for a stranger, for nobody, and for a sender of the platform in other letters.",
    holds="Each is refused (FX026), and no row is left.",
)  # fmt: skip
async def strange_senders(scene: Scene) -> str:
    known = await scene.sender()
    strangers = (_NOBODY, "", "registrar", known.upper(), known.swapcase(), f" {known}", known + "0")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for stranger in strangers:
            await must_refuse(scene, connection, "select fx.next_nonce($1)", stranger, states=("FX026",))
    return f"{len(strangers)} senders refused"


@attack(
    124, "record", "Nobody says how far the chain has come, or bends the counter of nonces.",
    tries="fx.sender_has_mined, and every statement on ops.chain_senders, as fx_app.",
    holds="Each is refused.",
)  # fmt: skip
async def bent_counter(scene: Scene) -> str:
    statements = (
        f"select fx.sender_has_mined('{_NOBODY}', 1000)",
        "select * from ops.chain_senders",
        "update ops.chain_senders set next_nonce = next_nonce + 1",
        f"insert into ops.chain_senders (sender, next_nonce, mined) values ('{_NOBODY}', 9, 0)",
        "delete from ops.chain_senders",
        "lock table ops.chain_senders",
    )
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for statement in statements:
            await must_refuse(scene, connection, statement)
    return f"{len(statements)} statements refused"


@attack(
    125, "record", "An entry changes nothing that its action does not declare.",
    tries="MAIL_SENT with an account's number, a payment's amount and creditor, a session's assurance level; every "
    "action with a row of a table that it does not carry, and with a deleted row.",
    holds="The database refuses each (FX013).",
)  # fmt: skip
async def wider_entries(scene: Scene) -> str:
    here = scene.here
    tried = 0
    key = {"tenant_id": here.tenant_id, "id": here.canary_id}
    async with scene.session(pin=scene.pin(here)) as connection:
        for table, columns in (
            ("designated_accounts", ("account_number",)),
            ("payment_instructions", ("amount_pence", "creditor_account_number")),
            ("sessions", ("aal",)),
        ):
            values = dict.fromkeys(columns)
            row = {"op": "update", "table": table, "key": key, "before": values, "after": values}
            given = entry(scene, row, action="MAIL_SENT", role="system")
            await must_refuse(scene, connection, CHANGE, *given, states=("FX013",))
            tried += 1
        for action, role in await _recordable(connection):
            rows: tuple[dict[str, Any], ...] = (
                {"op": "delete", "table": "subjects", "key": key, "before": {}},
                {"op": "insert", "table": "audit_entries", "row": {"seq": 1}},
            )
            for row in rows:
                given = entry(scene, row, action=action, role=role)
                await must_refuse(scene, connection, CHANGE, *given, states=("FX013",))
                tried += 1
    return f"{tried} entries refused"


async def _recordable(connection: Any) -> list[tuple[str, str]]:
    """Each action with a role that may record it without an admin session."""
    rows = await connection.fetch(
        """select action, (select r from unnest(actor_roles) r where r <> 'platform_admin' limit 1) as role
             from app.audit_actions where on_behalf_of_rule <> 'required' order by action"""
    )
    found = [(row["action"], row["role"]) for row in rows if row["role"]]
    if not found:
        raise Broken("there is no action left to try; review this attack")
    return found


@attack(
    126, "record", "An action that must have rows has them.",
    tries="SUBJECT_FREEZE and every other action that declares rows, without any; what tells facts only, with one.",
    holds="The database refuses each (FX013, FX014).",
)  # fmt: skip
async def bare_entries(scene: Scene) -> str:
    tried = 0
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        carrying = {row["action"] for row in await connection.fetch("select distinct action from fx.action_carries")}
        if "SUBJECT_FREEZE" not in carrying:
            raise Broken("SUBJECT_FREEZE declares no row; review this attack")
        for action, role in await _recordable(connection):
            row = session_row(scene, scene.here.tenant_id, scene.here.canary_id)
            rows = () if action in carrying else (row,)
            given = entry(scene, *rows, action=action, role=role)
            await must_refuse(scene, connection, CHANGE, *given, states=_MISFIT)
            tried += 1
    return f"{tried} entries refused"


ATTACKS: Final[tuple[Attack, ...]] = (
    odd_times, odd_spellings, odd_columns, burnt_nonces, bent_counter, strange_senders, wider_entries, bare_entries
)  # fmt: skip
