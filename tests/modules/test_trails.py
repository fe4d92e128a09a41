"""Who reads which trail, how an entry is proved without the whole log, and what an anchor conflict does
(AD-09, AD-11, AD-13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.app import http as app_http
from fintokenx.audit import http as audit_http
from fintokenx.audit.jobs import AuditJobs
from fintokenx.kernel.caller import Caller, Role, WrongRole, system
from fintokenx.kernel.db import Pool, Tx
from fintokenx.kernel.jobs import Worker
from fintokenx.kernel.merkle import inclusion_proof, root_of
from fintokenx.kernel.notes import signed_checkpoint
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.support import World, names
from tests.support.fakes.anchors import AnchorsInMemory
from tests.support.fakes.signer import ORIGIN, SignerInMemory

pytestmark = pytest.mark.anyio

HERE, THERE = "tnt_a", "tnt_b"
PLATFORM = system(HERE, "test")
SUBJECT = "sub_seller"
STAFF = (Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN, Role.SYSTEM)
CUSTOMERS = (Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, Role.BROKER)
HIDDEN = (
    "GATE_RENEW",
    "RECON_DECIDE",
    "SUBJECT_FREEZE",
    "SUBJECT_UNFREEZE",
    "SUBJECT_ERASE",
    "SANCTIONS_FLAG_REQUEST",
    "SANCTIONS_FLAG",
    "SANCTIONS_CONFIRM_REQUEST",
    "SANCTIONS_CONFIRM",
    "WALLET_RECOVERY_REQUEST",
    "WALLET_RECOVERY_APPROVE",
    "WALLET_RECOVERY_DECLINE",
    "PERSONAL_DATA_DISCLOSE",
    "REDTEAM_RUN",
    "STATE_DRIFT",
    "PROVIDER_CRED_ROTATE",
    "SAR_FILE",
    "AGENT_PROPOSE_VERDICT",
    "AGENT_MODEL_DEPLOY",
    "AGENT_MODEL_ROLLBACK",
    "CASE_OPEN",
    "MLRO_APPROVE",
    "MLRO_DECLINE",
    "ALERT_RAISE",
    "ALERT_ACK",
    "ALERT_CLOSE",
    "ALERT_CLEAR",
    "KYC_DELAY_ALERT",
    "GATE_START",
    "GATE_HOLD",
    "GATE_RESUME",
    "GATE_RERUN",
    "GATE_RESULT",
    "GATE_HITS_DISCOUNT",
    "GATE_DECISION_NOTE",
    "CLAIMS_REQUEST",
    "CLAIMS_ISSUE",
    "CLAIMS_REVOKE",
)
RECORDERS = {action.name: action.roles[0] for action in catalogue.ACTIONS}


@dataclass
class Archive:
    """Two tenants' records, the routes, and whoever is calling."""

    world: World
    sealer: Pool
    anchors: AnchorsInMemory
    app: FastAPI
    client: httpx.AsyncClient
    calling: list[Caller] = field(default_factory=lambda: [PLATFORM])

    async def record(self, *actions: str, tenant_id: str = HERE, resource: str = SUBJECT) -> list[str]:
        """Entries without rows, each in a transaction of its own; returns their ids."""
        made = []
        for action in actions:
            caller = Caller(tenant_id, RECORDERS[action], f"{RECORDERS[action]}:test")
            async with self.world.database.transaction(tenant_id) as tx:
                made.append(await audit.change(tx, caller, action=action, resource=resource, move=audit.Move()))
        return made

    async def anchored(self) -> None:
        """Seal, sign and anchor."""
        await audit.seal(self.sealer, self.world.clock.now())
        await audit.sign_sealed(self.sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
        await audit.anchor_sealed(self.sealer, self.anchors, self.world.clock.now)

    async def get(self, path: str, role: Role, tenant_id: str = HERE, **query: Any) -> httpx.Response:
        self.calling[0] = Caller(tenant_id, role, f"{role}:test", subject_id=SUBJECT)
        return await self.client.get(path, params=query, headers={"fx-request-id": "req-the-same"})

    async def trail(self, role: Role) -> list[str]:
        page = await self.get("/v1/audit/entries", role, resource=SUBJECT)
        return [entry["action"] for entry in page.json()["items"]]


@pytest.fixture
async def archive(world: World) -> AsyncIterator[Archive]:
    calling = [PLATFORM]

    async def authenticate(_request: Request) -> Caller:
        return calling[0]

    app = app_http.create(
        ids=world.ids, routers=[audit_http.router], title="t", version="1", environment="local", swagger_ui=None
    )
    sealer = await world.pool("fx_sealer")
    app.state.services = Services(
        Edge(world.database, world.ids, authenticate, b"fingerprint key of tests"),
        audit_http.AuditServices(sealer, SignerInMemory().log),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield Archive(world, sealer, AnchorsInMemory(), app, client, calling)
    await sealer.close()


# ── Who reads


def test_what_tells_of_cases_alerts_gates_freezes_or_claims_is_for_staff_only() -> None:
    """Tipping off: the partner and its customers must not learn of an investigation."""
    assert {action.name for action in catalogue.ACTIONS if action.staff_only} == set(HIDDEN)
    telling = ("CASE_", "MLRO_", "ALERT_", "GATE_", "SAR_", "SUBJECT_FREEZE", "SUBJECT_UNFREEZE")
    assert [a.name for a in catalogue.ACTIONS if a.name.startswith(telling) and not a.staff_only] == []


async def test_the_database_knows_what_is_for_staff_only(world: World) -> None:
    async with world.database.transaction(HERE) as tx:
        rows = await tx.rows("select action from app.audit_actions where staff_only")
    assert {row["action"] for row in rows} == set(HIDDEN)


@pytest.mark.parametrize("role", STAFF)
async def test_staff_see_the_whole_trail(archive: Archive, role: Role) -> None:
    await archive.record("MAIL_QUEUE", *HIDDEN, "MAIL_SENT")
    assert await archive.trail(role) == ["MAIL_QUEUE", *HIDDEN, "MAIL_SENT"]


async def test_a_partner_sees_the_trail_without_what_is_for_staff(archive: Archive) -> None:
    await archive.record("MAIL_QUEUE", *HIDDEN, "MAIL_SENT")
    assert await archive.trail(Role.PARTNER_ADMIN) == ["MAIL_QUEUE", "MAIL_SENT"]


async def test_the_pages_of_a_partner_have_no_holes(archive: Archive) -> None:
    """A page that is shorter than asked for, or a cursor to nowhere, would give the hidden entries away."""
    await archive.record("MAIL_QUEUE", "SUBJECT_FREEZE", "MAIL_SENT", "SUBJECT_UNFREEZE")
    first = (await archive.get("/v1/audit/entries", Role.PARTNER_ADMIN, resource=SUBJECT, limit=1)).json()
    assert [entry["action"] for entry in first["items"]] == ["MAIL_QUEUE"]
    query = {"resource": SUBJECT, "limit": 1, "after": first["next"]}
    second = (await archive.get("/v1/audit/entries", Role.PARTNER_ADMIN, **query)).json()
    assert ([entry["action"] for entry in second["items"]], second["next"]) == (["MAIL_SENT"], None)


@pytest.mark.parametrize("role", [*CUSTOMERS, Role.AGENT])
async def test_customers_and_agents_get_no_trail_and_no_proof(archive: Archive, role: Role) -> None:
    """Not even their own: a diff holds bank accounts, filters and prices of others."""
    [entry_id] = await archive.record("MAIL_QUEUE")
    await archive.anchored()
    trail = await archive.get("/v1/audit/entries", role, resource=SUBJECT)
    assert (trail.status_code, trail.json()["code"]) == (403, "ROLE_FORBIDDEN")
    bundle = await archive.get("/v1/audit/bundle", role, resource=SUBJECT)
    assert (bundle.status_code, bundle.json()["code"]) == (403, "ROLE_FORBIDDEN")
    proof = await archive.get(f"/v1/audit/entries/{entry_id}/proof", role)
    refusal = (404, "NOT_FOUND") if role in (Role.LENDER, Role.INVESTOR) else (403, "ROLE_FORBIDDEN")
    assert (proof.status_code, proof.json()["code"]) == refusal
    caller = Caller(HERE, role, "x", subject_id=SUBJECT)
    async with archive.world.database.transaction(HERE) as tx:
        with pytest.raises(WrongRole):
            await audit.entries_of(tx, caller, resources=[SUBJECT])


async def test_a_holder_proves_what_somebody_above_says_is_its_own_and_never_what_is_for_staff(
    archive: Archive,
) -> None:
    shown, other, hidden = await archive.record("MAIL_QUEUE", "MAIL_SENT", "SUBJECT_FREEZE")
    await archive.anchored()

    async def own(_tx: Tx, caller: Caller, entry: audit.Entry) -> bool:
        return caller.subject_id == SUBJECT and entry.id in (shown, hidden)

    archive.app.state.services = archive.app.state.services.instead(
        audit_http.AuditServices(archive.sealer, SignerInMemory().log, own)
    )
    for role in (Role.LENDER, Role.INVESTOR):
        found = {
            each: (await archive.get(f"/v1/audit/entries/{each}/proof", role)).status_code
            for each in (shown, other, hidden)
        }
        assert found == {shown: 200, other: 404, hidden: 404}
    assert (await archive.get(f"/v1/audit/entries/{shown}/proof", Role.SELLER)).status_code == 403


async def test_a_hidden_and_a_foreign_entry_look_exactly_like_a_missing_one(archive: Archive) -> None:
    hidden, shown = await archive.record("SUBJECT_FREEZE", "MAIL_QUEUE")
    [foreign] = await archive.record("MAIL_QUEUE", tenant_id=THERE)
    await archive.anchored()
    absent = await archive.get("/v1/audit/entries/aud_none/proof", Role.PARTNER_ADMIN)
    assert absent.status_code == 404
    for entry_id in (hidden, foreign):
        answer = await archive.get(f"/v1/audit/entries/{entry_id}/proof", Role.PARTNER_ADMIN)
        assert (answer.status_code, answer.content) == (404, absent.content)
    assert (await archive.get(f"/v1/audit/entries/{shown}/proof", Role.PARTNER_ADMIN)).status_code == 200
    assert (await archive.get(f"/v1/audit/entries/{hidden}/proof", Role.MLRO)).status_code == 200


async def test_whoever_does_not_say_who_may_read_an_action_hides_it(archive: Archive) -> None:
    """Fails closed: an action that was inserted by hand."""
    superuser = await archive.world.connect("postgres")
    await superuser.execute("update app.audit_actions set staff_only = null where action = 'MAIL_SENT'")
    await superuser.close()
    await archive.record("MAIL_QUEUE", "MAIL_SENT")
    assert await archive.trail(Role.PARTNER_ADMIN) == ["MAIL_QUEUE"]


# ── Proofs


async def test_every_proof_is_the_one_of_the_whole_tree(archive: Archive) -> None:
    """Batches of all small sizes, so that the right edge of the tree has every shape."""
    made: list[str] = []
    ends: list[int] = []
    for size in (1, 2, 3, 1, 5, 4, 1, 7, 2):
        made += await archive.record(*["MAIL_QUEUE"] * size)
        ends.append(len(made))
        await archive.anchored()
    leaves = [row["hash"] for row in await archive.sealer.fetch("select hash from app.audit_entries order by seq")]
    for index, entry_id in enumerate(made):
        bundle = (await archive.get(f"/v1/audit/entries/{entry_id}/proof", Role.PARTNER_ADMIN)).json()
        [proof] = bundle["entries"]
        tree_size = next(end for end in ends if end > index)
        assert (proof["leaf_index"], proof["tree_size"]) == (index, tree_size)
        assert proof["path"] == [node.hex() for node in inclusion_proof(leaves[:tree_size], index)]
        [checkpoint] = bundle["checkpoints"]
        assert signed_checkpoint(checkpoint["note"], SignerInMemory().key).root == root_of(leaves[:tree_size])


async def test_a_proof_reads_tiles_and_no_entries(archive: Archive) -> None:
    """With every entry out of the sealer's reach it still holds."""
    await archive.record(*["MAIL_QUEUE"] * 11)
    await archive.anchored()
    made = await archive.record(*["MAIL_QUEUE"] * 3)
    await archive.anchored()
    await archive.record("MAIL_QUEUE")
    superuser = await archive.world.connect("postgres")
    await superuser.execute(
        "drop policy sealer_sees_hashes on app.audit_entries;"
        "create policy sealer_sees_hashes on app.audit_entries for select to fx_sealer using (false)"
    )
    await superuser.close()
    for entry_id in made:
        async with archive.world.database.transaction(HERE) as tx:
            found = await audit.provable(tx, PLATFORM, entry_id=entry_id)
        bundle = await audit.prove(found, hashes=archive.sealer, log=SignerInMemory().log)
        assert await audit.proof_holds(bundle, archive.anchors)


@dataclass
class Watched:
    """The sealer's pool, which counts the application's open transactions whenever it is used."""

    pool: Pool
    superuser: asyncpg.Connection
    seen: list[int] = field(default_factory=list)

    async def fetchrow(self, *arguments: Any) -> Any:
        await self._look()
        return await self.pool.fetchrow(*arguments)

    async def fetch(self, *arguments: Any) -> Any:
        await self._look()
        return await self.pool.fetch(*arguments)

    async def _look(self) -> None:
        self.seen.append(
            await self.superuser.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() and usename = 'fx_app'"
                " and state like 'idle in transaction%'"
            )
        )


async def test_while_a_proof_is_worked_out_no_transaction_is_open(archive: Archive) -> None:
    """Reading a large batch with a connection of the application in hand would starve the others."""
    [entry_id] = await archive.record("MAIL_QUEUE")
    await archive.anchored()
    superuser = await archive.world.connect("postgres")
    watched = Watched(archive.sealer, superuser)
    archive.app.state.services = archive.app.state.services.instead(
        audit_http.AuditServices(watched, SignerInMemory().log)  # type: ignore[arg-type]
    )
    try:
        answer = await archive.get(f"/v1/audit/entries/{entry_id}/proof", Role.PARTNER_ADMIN)
    finally:
        await superuser.close()
    assert answer.status_code == 200
    assert watched.seen == [0], "one query"


# ── Anchors


async def _restored(archive: Archive) -> None:
    """Three batches sealed; of them the chain knows the second with another root, from before a restore."""
    for _ in range(3):
        await archive.record("MAIL_QUEUE")
        await audit.seal(archive.sealer, archive.world.clock.now())
    await archive.anchors.publish(2, 2, b"\7" * 32)


async def test_a_conflict_over_one_batch_does_not_keep_later_ones_from_being_anchored(archive: Archive) -> None:
    await archive.record("MAIL_QUEUE")
    await archive.anchored()
    await archive.record("MAIL_QUEUE")
    await audit.seal(archive.sealer, archive.world.clock.now())
    await archive.anchors.publish(2, 2, b"\7" * 32)
    await archive.record("MAIL_QUEUE")
    await audit.seal(archive.sealer, archive.world.clock.now())
    with capture_logs() as logged, pytest.raises(audit.AnchorConflict, match="batches 2"):
        await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    assert [line["batch_id"] for line in logged if line["log_level"] == "error"] == [2]
    states = await archive.sealer.fetch("select state from app.merkle_batches order by id")
    assert [row["state"] for row in states] == ["ANCHORED", "SEALED", "ANCHORED", "COLLECTING"]


async def test_entries_of_a_batch_in_conflict_are_tied_to_the_anchor_of_the_next_one(archive: Archive) -> None:
    await _restored(archive)
    await audit.sign_sealed(archive.sealer, SignerInMemory(), ORIGIN, AnchorsInMemory())
    with pytest.raises(audit.AnchorConflict):
        await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    async with archive.world.database.transaction(HERE) as tx:
        trail = await audit.entries_of(tx, PLATFORM, resources=[SUBJECT])
        bundle = await audit.proof_of(
            tx, PLATFORM, entry_id=trail[1].id, hashes=archive.sealer, log=SignerInMemory().log
        )
    assert [batch.id for batch in bundle.checkpoints] == [2, 3], "its own, and the one that leads to an anchor"
    assert [anchor.batch_id for anchor in bundle.anchors] == [3]
    assert [(step.old_size, step.new_size) for step in bundle.consistency] == [(2, 3)]
    assert await audit.proof_holds(bundle, archive.anchors)


class StrictAnchors(AnchorsInMemory):
    """Takes growing numbers and trees only, as the contract does; a refusal looks like a node that fails."""

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> Any:
        latest = await self.latest()
        known = batch_id in self.standing or latest is None
        if not known and latest and (batch_id <= latest.batch_id or tree_size <= latest.tree_size):
            raise AssertionError("asked for what the contract refuses")
        return await super().publish(batch_id, tree_size, root)


async def test_what_the_contract_would_refuse_is_a_conflict_and_not_asked_for(archive: Archive) -> None:
    """Batches 1 and 2 of the database are overtaken by the chain's batch 3, which the restored record has not yet."""
    archive.anchors = StrictAnchors()
    await archive.anchors.publish(1, 5, b"\7" * 32)
    for _ in range(2):
        await archive.record("MAIL_QUEUE")
        await audit.seal(archive.sealer, archive.world.clock.now())
    for _ in range(2):
        with pytest.raises(audit.AnchorConflict, match="batches 1, 2"):
            await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    await archive.record(*["MAIL_QUEUE"] * 5)
    await audit.seal(archive.sealer, archive.world.clock.now())
    for _ in range(2):
        with pytest.raises(audit.AnchorConflict, match="batches 1, 2"):
            await audit.anchor_sealed(archive.sealer, archive.anchors, archive.world.clock.now)
    assert sorted(archive.anchors.standing) == [1, 3]


async def test_a_conflict_shows_as_a_failed_job(archive: Archive) -> None:
    await _restored(archive)
    world = archive.world
    async with world.database.transaction(HERE) as tx:
        tx.enqueue("audit.anchor", {}, dedupe_key="1")
    claims = await world.pool("fx_worker")
    worker = Worker(
        claims=claims,
        database=world.database,
        jobs=AuditJobs(archive.sealer, archive.anchors, world.clock, SignerInMemory(), ORIGIN).jobs(),
        periodic=(),
        clock=world.clock,
        ids=world.ids,
        poll_seconds=0.02,
    )
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(10):
            while (failed := await claims.fetchval("select last_error from ops.jobs")) is None:
                await asyncio.sleep(0.02)
    finally:
        worker.stop()
        await running
        await claims.close()
    assert failed == "ANCHOR_CONFLICT"


async def test_the_command_line_reads_every_trail(archive: Archive) -> None:
    """As fx_auditor, past the roles: an operator at the machine."""
    await archive.record("MAIL_QUEUE", "SUBJECT_FREEZE")
    auditor = await archive.world.connect("fx_auditor")
    try:
        found = await audit.entries_everywhere(auditor, resource=SUBJECT)
    finally:
        await auditor.close()
    assert names(found) == ["MAIL_QUEUE", "SUBJECT_FREEZE"]
    assert archive.world.clock.now() - found[0].timestamp < timedelta(seconds=1)
