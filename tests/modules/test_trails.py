"""Who reads which trail, how an entry is proved without the whole log, and what an anchor conflict does
(AD-09, AD-11, AD-13)."""

from __future__ import annotations

import pytest

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.audit import http as audit_http
from fintokenx.kernel.caller import Caller, Role, WrongRole
from fintokenx.kernel.db import Tx
from tests.modules.trail_archive import HERE, SUBJECT, THERE, Archive, archive
from tests.support import World
from tests.support.fakes.signer import SignerInMemory

pytestmark = pytest.mark.anyio
__all__ = ["archive"]

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
