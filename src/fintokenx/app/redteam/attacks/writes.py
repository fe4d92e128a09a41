"""Writing across tenants, and rewriting the record."""

from __future__ import annotations

import secrets
from typing import Final

import asyncpg

from fintokenx.app.redteam.scene import SERVING, Scene, tenant_tables
from fintokenx.app.redteam.sql import CHANGE, entry, must_refuse, must_refuse_all, session_row
from fintokenx.app.redteam.types import Attack, Broken, attack

_MERGE: Final = """merge into ops.idempotency_keys k using (select '{0}' as t) s on k.tenant_id = s.t
  when matched then update set status = 200
  when not matched then insert (tenant_id, key, principal, route, request_digest, created_at)
    values (s.t, 'redteam', 'p', 'r', '', now())"""


_SUSPENDED: Final = {
    "before": {"state": "CREATED", "suspension_reason": None},
    "after": {"state": "SUSPENDED", "suspension_reason": "mine"},
}


@attack(
    39, "writes", "The record cannot be rewritten by anybody.",
    tries="UPDATE, DELETE, TRUNCATE and MERGE on the record as every login and as the owner; INSERT as every login. "
    "(The owner's functions append; what is put there by hand does not verify.)",
    holds="Each is refused, for the owner by privilege and by a trigger that always fires.",
)  # fmt: skip
async def rewriting(scene: Scene) -> str:
    statements = (
        "update app.audit_entries set actor = 'nobody'",
        "update app.audit_entries set diff = '{}' where seq = 1",
        "delete from app.audit_entries",
        "truncate app.audit_entries cascade",
        "merge into app.audit_entries e using (select 1 as one) s on e.seq = s.one when matched then delete",
        "with gone as (delete from app.audit_entries returning 1) select count(*) from gone",
    )
    new = (
        "insert into app.audit_entries select * from app.audit_entries",
        "insert into ops.audit_pending (xid, id) values (pg_current_xact_id(), 'x')",
        "delete from ops.audit_pending",
        "copy app.audit_entries from stdin",
    )
    for role in SERVING:
        await must_refuse_all(scene, role, (*statements, *new))
    async with scene.session("fx_migrator") as connection:
        await connection.execute("set local role fx_owner")
        for statement in statements:
            await must_refuse(scene, connection, statement)
        await connection.execute("grant update, delete on app.audit_entries to fx_owner")
        await connection.execute("create policy sly on app.audit_entries to fx_owner using (true) with check (true)")
        for statement in ("update app.audit_entries set actor = 'x'", "delete from app.audit_entries"):
            await must_refuse(scene, connection, statement)
    return f"refused to {len(SERVING)} logins and to the owner"


@attack(
    40, "writes", "No login writes a domain table.",
    tries="INSERT, UPDATE, DELETE and TRUNCATE on every table of app as every login.", holds="Each is refused.",
)  # fmt: skip
async def direct_writes(scene: Scene) -> str:
    tried = 0
    for role in SERVING:
        async with scene.session(role, pin=scene.pin(scene.here)) as connection:
            tables = [name for name in await tenant_tables(connection) if name.startswith("app.")]
            for table in tables:
                for statement in (
                    f"insert into {table} select * from {table}",
                    f"update {table} set tenant_id = tenant_id",
                    f"delete from {table}",
                    f"truncate {table}",
                ):
                    await must_refuse(scene, connection, statement)
                    tried += 1
    return f"{tried} statements refused"


@attack(
    41, "writes", "What the platform keeps about itself cannot be bent.",
    tries="Actions, batches, anchors, machines, the list of tables and migrations are written as every login.",
    holds="Each is refused; the sealer alone writes batches and anchors.",
)  # fmt: skip
async def platform_tables(scene: Scene) -> str:
    statements = (
        "update app.audit_actions set actor_roles = '{seller}'",
        "insert into app.audit_actions values ('SLY', false, '{seller}', 'optional', false)",
        "delete from app.audit_actions",
        "insert into fx.machine_transitions values ('subject', 'CREATED', 'x', 'ACTIVE', 'SESSION_OPEN')",
        "delete from fx.machine_transitions",
        "update fx.tables set kind = 'platform'",
        "update migrations.applied set sha256 = ''",
        "delete from app.merkle_batches",
        "delete from app.chain_anchors",
        "truncate app.chain_anchors",
    )
    sealing = (
        "update app.merkle_batches set root = null",
        "insert into app.chain_anchors values (1, 1, '', '', 1, now())",
    )
    for role in SERVING:
        await must_refuse_all(scene, role, statements)
        if role != "fx_sealer":
            await must_refuse_all(scene, role, sealing)
    return f"refused to {len(SERVING)} logins"


@attack(
    42, "writes", "A row for another tenant is refused, even through the record.",
    tries="fx.change with rows whose tenant is the victim, under the attacker's sound pin; inserts, updates, deletes, "
    "and the attacker's own row moved to the victim.",
    holds="Refused by the policy, or the row is not there; the answer is the same whether it exists or not.",
)  # fmt: skip
async def foreign_rows(scene: Scene) -> str:
    here, there = scene.here, scene.there
    async with scene.session(pin=scene.pin(here)) as connection:
        row = session_row(scene, there.tenant_id, there.canary_id)
        await must_refuse(scene, connection, CHANGE, *entry(scene, row))
        answers = set()
        for subject_id in (there.canary_id, scene.ids.new("sub")):
            key = {"tenant_id": there.tenant_id, "id": subject_id}
            for operation in (
                {"op": "update", "table": "subjects", "key": key, **_SUSPENDED},
                {"op": "delete", "table": "subjects", "key": key, "before": {}},
            ):
                given = entry(scene, operation, action="SUBJECT_SUSPEND", role="system")
                answers.add(await must_refuse(scene, connection, CHANGE, *given, states=("FX003", "FX013")))
        key = {"tenant_id": here.tenant_id, "id": here.canary_id}
        before, after = {"tenant_id": here.tenant_id}, {"tenant_id": there.tenant_id}
        move = {"op": "update", "table": "subjects", "key": key, "before": before, "after": after}
        await must_refuse(scene, connection, CHANGE, *entry(scene, move), states=("42501", "FX010", "FX013"))
    if answers != {"FX003", "FX013"}:
        raise Broken("an update and a delete of a row that is not there are answered otherwise")
    return "six operations refused, with one answer each for existing and missing rows"


@attack(
    43, "writes", "A row cannot point at another tenant's row.",
    tries="fx.change with a row of the attacker's tenant that points at the victim's id, and at a missing one.",
    holds="Refused by the key (23503) in the same words for both.",
)  # fmt: skip
async def foreign_keys(scene: Scene) -> str:
    said: list[str] = []
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for subject_id in (scene.there.canary_id, scene.ids.new("sub")):
            row = session_row(scene, scene.here.tenant_id, subject_id)
            await connection.execute("savepoint s")
            try:
                await connection.execute(CHANGE, *entry(scene, row))
            except asyncpg.ForeignKeyViolationError as fault:
                said.append(f"{fault} {fault.detail}".replace(subject_id, "…"))
            else:
                raise Broken("a row points at another tenant's row")
            finally:
                await connection.execute("rollback to savepoint s")
    if said[0] != said[1]:
        raise Broken("the refusal tells an existing id from a missing one")
    return "refused in the same words for an existing and a missing id"


@attack(
    44, "writes", "Machinery is pinned too.",
    tries="Jobs, idempotency keys, inbox and keys of the victim: insert, update, MERGE, ON CONFLICT DO UPDATE, "
    "a recursive query with RETURNING, moving one's own row over.",
    holds="Refused by the policy, or no row is touched.",
)  # fmt: skip
async def machinery(scene: Scene) -> str:
    there = scene.there.tenant_id
    key = f"'{there}', 'redteam', 'p', 'r', '', now()"
    columns = "tenant_id, key, principal, route, request_digest, created_at"
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        for statement in (
            f"insert into ops.idempotency_keys ({columns}) values ({key})",
            f"insert into ops.idempotency_keys ({columns}) values ({key}) on conflict (tenant_id, key) do nothing",
            f"""insert into ops.idempotency_keys ({columns}) values ({key})
                on conflict (tenant_id, key) do update set status = 200""",
            _MERGE.format(there),
            f"insert into ops.inbox values ('{there}', 'bank', 'e9', now())",
            f"insert into ops.subject_keys values ('{there}', '{scene.there.canary_id}', '', now(), null)",
            """insert into ops.jobs (id, tenant_id, name, payload, dedupe_key, state, run_at, attempts, created_at)
               values ('job_x', '"""
            + there
            + "', 'n', '{}', 'd', 'READY', now(), 0, now())",
            f"update ops.idempotency_keys set tenant_id = '{there}'",
            f"with t as (insert into ops.inbox values ('{there}', 'b', 'e', now()) returning *) select * from t",
        ):
            await must_refuse(scene, connection, statement)
        for statement in (
            f"update ops.idempotency_keys set status = 200 where tenant_id = '{there}' returning *",
            f"update ops.subject_keys set shredded_at = now() where tenant_id = '{there}' returning 1",
            f"update ops.jobs set state = 'DEAD' where tenant_id = '{there}' returning *",
            f"""with recursive r as (select 1 as n union all select n + 1 from r where n < 3),
                     t as (update ops.jobs set state = state where tenant_id = '{there}' returning *)
                select t.* from t, r""",
            f"select * from ops.jobs where tenant_id = '{there}' for update skip locked",
        ):
            if await connection.fetch(statement):
                raise Broken("machinery of the other tenant was touched")
        for statement in ("delete from ops.jobs", "delete from ops.idempotency_keys", "truncate ops.jobs"):
            await must_refuse(scene, connection, statement)
    return "seventeen statements refused or without a row"


@attack(
    45, "writes", "A key that is unique everywhere tells nothing about other tenants.",
    tries="The victim's existing unique values (company number, address) are registered for the "
    "attacker, and missing ones; every unique index without the tenant must be on the reviewed list.",
    holds="Same answer for both, or the value cannot be guessed (random ids of 74 bits and more).",
)  # fmt: skip
async def unique_oracle(scene: Scene) -> str:
    async with scene.session("fx_auditor") as connection:
        rows = await connection.fetch(
            """select i.indexrelid::regclass::text as name from pg_index i join pg_class c on c.oid = i.indrelid
                 join pg_namespace n on n.oid = c.relnamespace
                 join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
                where n.nspname in ('app', 'ops') and i.indisunique and not a.attnum = any (i.indkey::int2[])"""
        )
    unknown = sorted({row["name"].split(".")[-1] for row in rows} - UNGUESSABLE.keys())
    if unknown:
        raise Broken(f"unique across tenants, and not reviewed: {', '.join(unknown)}")
    answers = []
    for company in (scene.there.canary_company, f"RY{secrets.randbelow(10**6):06}"):
        body = {"role": "buyer", "legal_name": "Oracle Ltd", "company_number": company, "representative_name": "O"}
        body["email"] = scene.there.canary_email
        answer = await scene.ask("POST", "/v1/subjects", json=body, headers=scene.here.headers())
        answers.append((answer.status_code, sorted(answer.json())))
    if answers[0] != answers[1]:
        raise Broken("the API tells a company or address that the other tenant has from one that nobody has")
    return f"{len(rows)} indexes reviewed; the API answers alike"


UNGUESSABLE: Final = {
    "jobs_pkey": "a random id",
    "audit_entries_pkey": "the place in the chain, which is given at COMMIT and never chosen",
    "audit_entries_id_key": "a random id",
    "audit_pending_pkey": "a counter that no login may read or write",
    "bypass_grants_pkey": "a random id, in a table that no login may read or write",
    "bypass_grants_one_live_per_process": "a process of the server's own, likewise",
    "chain_tx_sender_nonce_key": "wallets are the platform's own, and numbered by it",
    "tenants_custom_domain_key": "a partner's domain is public, and is set by the platform's provisioning only",
    "tokens_reference_key": "a keyed permutation of the platform's own numbers; nobody chooses one",
    "tokens_token_id_hex_key": "a hash; nobody chooses one",
    "wallets_address_key": "the address of a key that the platform makes; nobody chooses one",
}
"""Unique across tenants, and why that tells nobody anything."""

ATTACKS: Final[tuple[Attack, ...]] = (
    rewriting, direct_writes, platform_tables, foreign_rows, foreign_keys, machinery, unique_oracle
)  # fmt: skip
