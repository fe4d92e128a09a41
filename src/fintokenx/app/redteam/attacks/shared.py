"""What all tenants share in the database: the queue, the rules, keys, nonces, alerts; bent by one tenant's SQL."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from fintokenx.app.redteam.scene import SERVING, Scene
from fintokenx.app.redteam.sql import CHANGE, entry, must_refuse, must_refuse_all
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.caller import Role
from fintokenx.kernel.db import RawConnection

_EACH: Final = "Each statement is refused."
_NOBODY: Final = "0x00000000000000000000000000000000000000aa"


@attack(
    140, "shared", "Whose turn it is in the queue is the worker's to say.",
    tries="ops.periodic_turns is read, moved forward, filled and emptied as every login but the worker's.",
    holds=_EACH,
)  # fmt: skip
async def turns(scene: Scene) -> str:
    logins = [role for role in SERVING if role != "fx_worker"]
    for role in logins:
        statements = (
            "select * from ops.periodic_turns",
            "update ops.periodic_turns set due_at = 'infinity'",
            "update ops.periodic_turns set resting = true",
            "update ops.periodic_turns set woken_at = now()",
            f"insert into ops.periodic_turns values ('{scene.there.tenant_id}', 'x', now(), true, null)",
            "delete from ops.periodic_turns",
            "truncate ops.periodic_turns",
        )
        await must_refuse_all(scene, role, statements)
    return f"{len(statements)} statements refused to {len(logins)} logins"


@attack(
    141, "shared", "No tenant's job stops the queue for the others, or goes before them.",
    tries="Under the attacker's pin: jobs due in 44 BC, in the year 9999 and never, with endless names, payloads, keys "
    "and counts; leases and tries of a job written by hand; a job deleted.",
    holds="Each is refused: by the row's own checks, or because the column is the worker's.",
)  # fmt: skip
async def odd_jobs(scene: Scene) -> str:
    sound = {"id": "'job_rt'", "name": "'n'", "payload": "'{}'", "dedupe_key": "'d'", "state": "'READY'",
             "run_at": "now()", "attempts": "0"}  # fmt: skip
    odd = [
        *({"run_at": f"'{when}'"} for when in ("0044-03-15 BC", "9999-12-31", "infinity", "-infinity")),
        *({name: "repeat('x', 2000)"} for name in ("id", "name", "dedupe_key")),
        {"payload": """jsonb_build_object('x', repeat('x', 70000))"""}, {"attempts": "-1"}, {"attempts": "2000000"},
        {"state": "'RUNNING'"},
    ]  # fmt: skip
    columns = ", ".join(sound)
    insert = f"insert into ops.jobs (tenant_id, created_at, {columns}) values ('{scene.here.tenant_id}', now(), "
    mine = f"where tenant_id = '{scene.here.tenant_id}'"
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        await connection.execute("savepoint sound")
        await connection.execute(f"{insert}{', '.join(sound.values())})")
        await connection.execute("rollback to savepoint sound")
        for change in odd:
            values = ", ".join({**sound, **change}.values())
            await must_refuse(scene, connection, f"{insert}{values})", states=("23514",))
        taken = [f"update ops.jobs set {column} = {column} {mine}"
                 for column in ("lease", "attempts", "run_at", "first_run_at", "payload", "name")]  # fmt: skip
        for statement in (*taken, f"delete from ops.jobs {mine}"):
            await must_refuse(scene, connection, statement)
    return f"{len(odd)} odd jobs and {len(taken) + 1} statements refused"


_RULES: Final = {
    "fx.lookups": "values ('x', 'subjects', 'legal_name')",
    "fx.action_carries": "values ('MAIL_SENT', 'subjects', 'delete', '{}', 'may')",
    "fx.machine_transitions": "values ('alert', 'ACKED', 'x', 'AUTO_CLEARED', 'ALERT_CLEAR')",
    "fx.entry_window": "values (false, null)",
    "fx.tables": "values ('jobs', 'kernel', 'tenant', null)",
    "app.audit_actions": "values ('SLY', false, '{seller}', 'optional', false)",
}
"""What the guards read, and a row that would bend each."""


@attack(
    142, "shared", "What the guards go by is loaded by a migration and by nobody else.",
    tries="Questions of the bypass, rows that actions carry, machines, the window of times, the list of tables and the "
    "actions: filled, changed and emptied as every login; and the function that adds a question.",
    holds=_EACH,
)  # fmt: skip
async def rules(scene: Scene) -> str:
    for role in SERVING:
        async with scene.session(role, pin=scene.pin(scene.here)) as connection:
            for table, row in _RULES.items():
                column = await connection.fetchval(
                    "select quote_ident(attname) from pg_attribute where attrelid = $1::text::regclass and attnum = 1",
                    table,
                )
                for statement in (
                    f"insert into {table} {row}",
                    f"update {table} set {column} = {column}",
                    f"delete from {table}",
                    f"truncate {table}",
                ):
                    await must_refuse(scene, connection, statement)
            await must_refuse(scene, connection, "select fx.may_be_asked('x', 'subjects', 'legal_name')")
    return f"{len(_RULES)} tables refused to {len(SERVING)} logins"


@attack(
    143, "shared", "A tenant does not say how far off an entry's time may be.",
    tries="The window is opened in its table, by settings of its name, and by a table of its name in front.",
    holds="Each is refused, and the window is the one it was.",
)  # fmt: skip
async def window(scene: Scene) -> str:
    for role in SERVING:
        statements = ["update fx.entry_window set tolerance = null", "delete from fx.entry_window",
                      "create temporary table entry_window (tolerance interval)"]  # fmt: skip
        await must_refuse_all(scene, role, statements)
    async with scene.session("fx_auditor") as auditor:
        before = await auditor.fetchval("select tolerance::text from fx.entry_window")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        await connection.execute("set local fx.entry_window = '1000 years'; set local search_path = pg_temp")
        await must_refuse(scene, connection, "select tolerance from fx.entry_window")
    async with scene.session("fx_auditor") as auditor:
        if await auditor.fetchval("select tolerance::text from fx.entry_window") != before:
            raise Broken("the window of times is another one now")
    return f"{len(statements)} statements refused to {len(SERVING)} logins"


@attack(
    144, "shared", "A promise to the chain has a nonce that its own transaction was given.",
    tries="Under the attacker's pin, entries that promise with a nonce taken by nobody, by the transaction for another "
    "sender, one past the one taken, and with the victim as the row's tenant.",
    holds="The database refuses each (FX025; the victim's by its policy).",
)  # fmt: skip
async def foreign_nonces(scene: Scene) -> str:
    def promise(sender: str, nonce: int, tenant_id: str) -> dict[str, Any]:
        row = {
            "tenant_id": tenant_id,
            "id": scene.ids.new("ctx"),
            "state": "PROMISED",
            "sender": sender,
            "nonce": nonce,
        }
        return {"op": "insert", "table": "chain_tx", "row": row}

    known = await scene.sender()
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        taken = int(await connection.fetchval("select fx.next_nonce($1)", known))
        for sender, nonce in ((_NOBODY, 0), (_NOBODY, taken), (known, taken + 1), (known, taken + 1000)):
            given = entry(scene, promise(sender, nonce, scene.here.tenant_id), action="CLAIMS_REQUEST", role="system")
            await must_refuse(scene, connection, CHANGE, *given, states=("FX025",))
        given = entry(scene, promise(known, taken, scene.there.tenant_id), action="CLAIMS_REQUEST", role="system")
        await must_refuse(scene, connection, CHANGE, *given, states=("42501",))
    return "five promises refused"


@attack(
    145, "shared", "A key of a person is destroyed or wrapped by its tenant's own key, and nothing else.",
    tries="Under the attacker's pin: its own rows are said to be wrapped by the victim's key, by the old shared one, "
    "by none; given other bytes; made anew after their destruction; moved; deleted.",
    holds=_EACH,
)  # fmt: skip
async def wrapping(scene: Scene) -> str:
    there = scene.there.tenant_id
    tried = 0
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for table in ("ops.subject_keys", "ops.tenant_keys"):
            if not await connection.fetchval(f"select count(*) from {table} where wrapped_key is not null"):
                continue
            changes = (
                f"wrapped_by = 'tenant/{there}/wrap'", "wrapped_by = 'subjects/kek'", "wrapped_by = null",
                "wrapped_by = wrapped_by", "wrapped_key = ''", "wrapped_key = 'x'", "created_at = now()",
                f"tenant_id = '{there}'",
            )  # fmt: skip
            for change in changes:
                await must_refuse(scene, connection, f"update {table} set {change} where wrapped_key is not null")
                tried += 1
            await connection.execute("savepoint destroyed")
            await connection.execute(f"update {table} set wrapped_key = null, shredded_at = now()")
            for change in ("wrapped_key = 'x', shredded_at = null", "shredded_at = null", "shredded_at = now()"):
                await must_refuse(scene, connection, f"update {table} set {change}")
                tried += 1
            await connection.execute("rollback to savepoint destroyed")
            for statement in (f"delete from {table}", f"truncate {table}"):
                await must_refuse(scene, connection, statement)
                tried += 1
    if not tried:
        raise Broken("the tenant has no key; this proves nothing")
    return f"{tried} statements refused"


@attack(
    146, "shared", "An alert ends by itself only while nobody has taken it up, and only as the record says.",
    tries="Under the attacker's pin: alerts are ended by plain SQL; one of its own, raised and taken up, is cleared; "
    "one is born cleared; cleared by a person, by MAIL_SENT, and for the victim's tenant.",
    holds="Each is refused (42501; FX002, FX003, FX006, FX013 in the record).",
)  # fmt: skip
async def cleared(scene: Scene) -> str:
    here, officer = scene.here, scene.here.subjects[Role.MLRO]
    at = scene.clock.now().isoformat()
    key = {"tenant_id": here.tenant_id, "id": scene.ids.new("alr")}
    ended = {"closed_at": at, "closed_by": "system:redteam", "state": "AUTO_CLEARED"}
    row = {**key, "cause": "RED_TEAM", "resource": here.canary_id, "severity": "NOTICE", "state": "RAISED",
           "raised_at": at, "last_seen_at": at, "occurrences": 1}  # fmt: skip

    def moved(key: dict[str, str], was: str, after: dict[str, Any]) -> dict[str, Any]:
        before = {**dict.fromkeys(after), "state": was}
        return {"op": "update", "table": "alerts", "key": key, "before": before, "after": after}

    async with scene.session(pin=scene.pin(here)) as connection:
        for statement in ("update app.alerts set state = 'AUTO_CLEARED'", "delete from app.alerts"):
            await must_refuse(scene, connection, statement)
        born = {"op": "insert", "table": "alerts", "row": {**row, **ended}}
        given = entry(scene, born, action="ALERT_RAISE", role="system")
        await must_refuse(scene, connection, CHANGE, *given, states=("FX002",))
        raised = {"op": "insert", "table": "alerts", "row": row}
        await connection.execute(CHANGE, *entry(scene, raised, action="ALERT_RAISE", role="system"))
        taken = {"acknowledged_at": at, "acknowledged_by": officer, "state": "ACKED"}
        given = entry(scene, moved(key, "RAISED", ended), action="MAIL_SENT", role="system")
        await must_refuse(scene, connection, CHANGE, *given, states=("FX013",))
        for role in ("mlro", "seller", "platform_admin"):
            given = entry(scene, moved(key, "RAISED", ended), action="ALERT_CLEAR", role=role)
            await must_refuse(scene, connection, CHANGE, *given, states=("FX006",))
        given = entry(scene, moved(key, "RAISED", taken), action="ALERT_ACK", role="mlro", actor=officer)
        await connection.execute(CHANGE, *given)
        given = entry(scene, moved(key, "ACKED", ended), action="ALERT_CLEAR", role="system")
        await must_refuse(scene, connection, CHANGE, *given, states=("FX002",))
        foreign = {**key, "tenant_id": scene.there.tenant_id}
        given = entry(scene, moved(foreign, "RAISED", ended), action="ALERT_CLEAR", role="system")
        await must_refuse(scene, connection, CHANGE, *given, states=("FX003",))
    return "nine ways refused"


@attack(
    147, "shared", "A stored answer holds no secret, for whoever reads the table.",
    tries="An API key is made over HTTP; its answer is asked for again, and looked for in ops.idempotency_keys, the "
    "record and every other table by SQL under the tenant's own pin.",
    holds="The secret is in the first answer and nowhere else.",
)  # fmt: skip
async def stored_secrets(scene: Scene) -> str:
    headers = {**scene.here.headers(role=Role.PARTNER_ADMIN), "FX-Idempotency-Key": f"{scene.run}-secret"}
    request: dict[str, Any] = {"json": {"name": scene.run, "scopes": ["*"]}, "headers": headers}
    first = await scene.ask("POST", "/v1/api-keys", **request)
    again = await scene.ask("POST", "/v1/api-keys", **request)
    secrets = [value for value in first.json().values() if isinstance(value, str) and value.startswith("fx")]
    if first.status_code != 201 or not secrets or again.status_code != 201:
        raise Broken(f"a key is answered {first.status_code}, then {again.status_code}; this proves nothing")
    if any(secret in again.text for secret in secrets):
        raise Broken("the repeated answer shows the secret again")
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for table, text in await _texts(connection):
            for secret in secrets:
                if await connection.fetchval(f"select exists (select from {table} t where position($1 in {text}) > 0)",
                                             secret):  # fmt: skip
                    raise Broken(f"{table} holds the secret of an answer")
    return "shown once, and found nowhere"


@attack(
    149, "shared", "No tenant holds a lock that another one's commands wait for.",
    tries="Every function of Postgres that takes an advisory lock, as every login; fx.lock without a pin; and under "
    "the attacker's pin the very things that the victim then locks, spelt with its name in front too.",
    holds="Postgres' own are refused but for the chain's (fx_sealer); the victim has its lock at once.",
)  # fmt: skip
async def foreign_locks(scene: Scene) -> str:
    doors = ("lock", "lock_shared", "xact_lock", "xact_lock_shared")
    names = [f"pg_{attempt}advisory_{door}" for attempt in ("", "try_") for door in doors]
    for role in SERVING:
        chains = ("pg_advisory_xact_lock(1, 1)",) if role == "fx_sealer" else ()
        calls = [f"{name}({key})" for name in names for key in ("1", "1, 1")]
        await must_refuse_all(scene, role, [f"select {call}" for call in calls if call not in chains])
    await must_refuse_all(scene, "fx_app", ["select fx.lock('tenants', false)"], pinned=False)
    there = scene.there.tenant_id
    things = ("tenants", f"subjects:{scene.there.canary_id}", "")
    async with (
        scene.session(pin=scene.pin(scene.here)) as attacker,
        scene.session(pin=scene.pin(scene.there)) as victim,
    ):
        await victim.execute("set local lock_timeout = '2s'")
        for thing in things:
            for spelt in (thing, f"{there}:{thing}"):
                await attacker.execute("select fx.lock($1, false)", spelt)
            try:
                await victim.execute("select fx.lock($1, false)", thing)
            except asyncpg.LockNotAvailableError as fault:
                raise Broken(f"the other tenant waits for «{thing}»") from fault
    return f"{len(names) * 2} calls refused to {len(SERVING)} logins, {len(things)} locks free"


async def _texts(connection: RawConnection) -> list[tuple[str, str]]:
    """Tables with a tenant that fx_app may read, and all of a row of theirs as one text."""
    rows = await connection.fetch(
        """select format('%I.%I', n.nspname, c.relname) as name,
                  string_agg(case when a.atttypid = 'bytea'::regtype
                                  then format('coalesce(encode(t.%I, ''escape''), '''')', a.attname)
                                  else format('coalesce(t.%I::text, '''')', a.attname) end, ' || ') as text
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            where c.relkind in ('r', 'p') and n.nspname in ('app', 'ops')
              and has_column_privilege(c.oid, a.attnum, 'select')
              and exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id')
            group by 1"""
    )
    return [(row["name"], row["text"]) for row in rows]


ATTACKS: Final[tuple[Attack, ...]] = (
    turns, odd_jobs, rules, window, foreign_nonces, wrapping, cleared, stored_secrets, foreign_locks
)  # fmt: skip
