"""A person is erased: what that takes, what it ends, and who may still say no (AD-14, CO-09)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fintokenx import audit
from fintokenx.app.catalogue import SEALED
from fintokenx.kernel.bus import InStep, Reactions
from fintokenx.kernel.caller import Caller, Role, WrongRole, system
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.kernel.sealing import Sealer, Shredded, commitment, commitment_of
from fintokenx.lifecycle import invoice
from fintokenx.parties import auth, compliance, kyc
from fintokenx.parties.auth import events, service
from fintokenx.parties.compliance import reactions as compliance_reactions
from tests.modules.auth_house import ADA, INVOICE, MLRO, SEED, TO_ACTIVE, WEEK, E, moved, trail
from tests.modules.invoice_house import OneAtATime, invoice_house
from tests.modules.parties_house import HERE, THERE, House, house
from tests.support import World, world_from

pytestmark = pytest.mark.anyio
WHY = "Asked for by letter of 2 June; nothing was ever done."
DESK = Caller(HERE, Role.COMPLIANCE, "sub_desk", subject_id="sub_desk")


class StillNeeded(auth.ErasureBlocked):
    """What a module above says in these tests."""


@pytest.fixture
async def at_home(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    async with world_from(cluster, template, reactions=Reactions(compliance_reactions.IN_STEP)) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        async with made.client:
            yield made


async def erase(world: World, sealer: Sealer, subject_id: str, caller: Caller = MLRO) -> auth.Erasure:
    """As the route does it."""
    erasure_id = world.ids.new("era")
    reason = await service.seal_reason(sealer, caller, erasure_id=erasure_id, reason=WHY)
    async with world.database.transaction(HERE) as tx:
        return await service.erase(tx, caller, subject_id=subject_id, erasure_id=erasure_id, reason_sealed=reason)


async def address(at_home: House, subject: auth.Subject) -> str:
    return await at_home.sealer.open(HERE, subject.id, "email", subject.email_sealed or "")


async def test_what_was_sealed_opens_no_more_at_once_and_its_commitment_stays(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    assert await address(at_home, ada) == ADA
    erasure = await erase(at_home.world, at_home.sealer, ada.id)
    for sealer in (at_home.sealer, Sealer(at_home.world.database, at_home.vault, bytes)):
        with pytest.raises(Shredded):
            await sealer.open(HERE, ada.id, "email", ada.email_sealed or "")
    async with at_home.world.database.transaction(HERE) as tx:
        now = await auth.subject(tx, ada.id)
        [created, _erased] = await audit.entries_of(tx, SEED, resources=[ada.id])
    assert (now.state, now.email_sealed, now.email_index, now.legal_name) == ("ERASED", None, None, ada.legal_name)
    assert (ada.email_sealed or "-") in created.diff
    assert await trail(at_home.world, ada.id) == ["SUBJECT_CREATE", "SUBJECT_ERASE"]
    assert await at_home.sealer.open(HERE, erasure.id, "reason", erasure.reason_sealed) == WHY


async def test_done_twice_it_is_one_erasure(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    first = await erase(at_home.world, at_home.sealer, ada.id)
    assert await erase(at_home.world, at_home.sealer, ada.id, DESK) == first
    assert (await trail(at_home.world, ada.id)).count("SUBJECT_ERASE") == 1


async def test_the_key_lives_when_the_entry_does_not_commit(cluster: str, template: str, tmp_path: Path) -> None:
    """One transaction: a module above that refuses leaves everything readable."""

    async def refuse(_tx: object, _fact: events.SubjectErased) -> None:
        raise StillNeeded("TEST")

    reactions = Reactions([InStep(events.SubjectErased, refuse)])
    async with world_from(cluster, template, reactions=reactions) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        ada = await made.subject(Role.SELLER, ADA)
        with pytest.raises(StillNeeded) as refused:
            await erase(world, made.sealer, ada.id)
        assert (refused.value.code, refused.value.members) == ("ERASURE_BLOCKED", {"why": "TEST"})
        assert await address(made, ada) == ADA
        assert (
            await Sealer(world.database, made.vault, bytes).open(HERE, ada.id, "email", ada.email_sealed or "") == ADA
        )
        assert await trail(world, ada.id) == ["SUBJECT_CREATE"]
        await made.client.aclose()


async def test_sessions_links_and_codes_end_with_it(at_home: House) -> None:
    ada = await at_home.subject(Role.BUYER, ADA)
    bearer = {"Authorization": f"Bearer {await at_home.token(ada, ADA)}"}
    code = await at_home.code(ada)
    async with at_home.world.database.transaction(HERE) as tx:
        link = await auth.issue_magic_link(tx, SEED, invoice_reference=INVOICE, subject_id=ada.id, life=WEEK)
    await erase(at_home.world, at_home.sealer, ada.id)
    assert (await at_home.client.get("/v1/me", headers=bearer)).json()["code"] == "SESSION_ENDED"
    answer = await at_home.post("/v1/sessions", {"email": ADA, "code": code}, fx_api_key=await at_home.api_key())
    assert answer.status_code == 401
    with pytest.raises(auth.MagicLinkRevoked):
        async with at_home.world.database.transaction(HERE) as tx:
            await auth.open_magic_link(tx, link)
    with pytest.raises(auth.SubjectFrozen):
        await at_home.code(ada)
    with pytest.raises(auth.SubjectFrozen):
        async with at_home.world.database.transaction(HERE) as tx:
            await auth.issue_magic_link(tx, SEED, invoice_reference=INVOICE, subject_id=ada.id, life=WEEK)


async def test_a_freeze_holds_the_data(at_home: House) -> None:
    """The one legal hold that there is so far."""
    ada = await at_home.subject(Role.SELLER, ADA)
    await moved(at_home.world, ada.id, E.FREEZE)
    with pytest.raises(auth.ErasureBlocked, match="SUBJECT_FROZEN"):
        await erase(at_home.world, at_home.sealer, ada.id)
    assert await address(at_home, ada) == ADA


async def test_who_stands_in_the_gates_is_declined_first(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    await moved(at_home.world, ada.id, *TO_ACTIVE[:3])
    with pytest.raises(IllegalTransition):
        await erase(at_home.world, at_home.sealer, ada.id)
    await moved(at_home.world, ada.id, E.DECLINE)
    assert (await erase(at_home.world, at_home.sealer, ada.id)).subject_id == ada.id


async def test_an_open_case_holds_the_data_and_a_decided_one_stays_without_its_words(at_home: House) -> None:
    world = at_home.world
    ada = await at_home.subject(Role.SELLER, ADA)
    async with world.database.transaction(HERE) as tx:
        case, move = await compliance.open_case(tx, SEED, subject_id=ada.id, resource=ada.id, reason="QUESTION")
        await audit.change(tx, SEED, action="CASE_OPEN", resource=case.id, move=move)
    with pytest.raises(auth.ErasureBlocked, match="CASE_OPEN"):
        await erase(world, at_home.sealer, ada.id)
    words = await compliance.seal_rationale(at_home.sealer, case, HERE, "She is who she says.")
    async with world.database.transaction(HERE) as tx:
        decided = await compliance.decide(
            tx, MLRO, case_id=case.id, decision=compliance.Decision.APPROVE, rationale=words
        )
    assert await compliance.open_rationale(at_home.sealer, decided, HERE) == "She is who she says."
    await erase(world, at_home.sealer, ada.id)
    assert await compliance.open_rationale(at_home.sealer, decided, HERE) is None


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.MLRO, Role.COMPLIANCE}))
async def test_nobody_else_erases_and_no_key_is_made_for_the_try(at_home: House, role: Role) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    keys = "select count(*) from ops.subject_keys"
    async with at_home.world.database.transaction(HERE) as tx:
        before = await tx.value(keys)
    with pytest.raises(WrongRole):
        await erase(at_home.world, at_home.sealer, ada.id, Caller(HERE, role, "somebody", subject_id=ada.id))
    async with at_home.world.database.transaction(HERE) as tx:
        assert await tx.value(keys) == before
    assert await address(at_home, ada) == ADA


async def test_over_http_it_needs_a_reason_in_words(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    mira = await at_home.subject(Role.MLRO, "mira@example.co.uk")
    bearer = f"Bearer {await at_home.token(mira, 'mira@example.co.uk')}"
    path = f"/v1/subjects/{ada.id}/erasure"
    assert (await at_home.post(path, {"reason": "too short"}, authorization=bearer)).status_code == 422
    done = await at_home.post(path, {"reason": WHY}, authorization=bearer)
    assert (done.status_code, done.json()["erased_by"]) == (200, mira.id)
    assert (
        await at_home.post("/v1/subjects/sub_nobody/erasure", {"reason": WHY}, authorization=bearer)
    ).status_code == 404


async def test_an_erasure_is_changed_by_nobody(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    erasure = await erase(at_home.world, at_home.sealer, ada.id)
    row = audit.update(
        "erasures", key={"tenant_id": HERE, "id": erasure.id},
        before={"erased_by": erasure.erased_by}, after={"erased_by": "nobody"},
    )  # fmt: skip
    with pytest.raises(Exception, match="append-only"):
        async with at_home.world.database.transaction(HERE) as tx:
            await audit.change(tx, MLRO, action="SUBJECT_ERASE", resource=ada.id, move=audit.Changes((row,)))


async def test_whoever_begins_business_and_whoever_erases_wait_for_each_other(
    cluster: str, template: str, tmp_path: Path
) -> None:
    """A submission that has found its seller active is seen by an erasure that was asked for meanwhile."""
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as firm:
        parties = await firm.parties()
        today = firm.world.clock.now().date()
        declared = invoice.Declaration(parties.buyer.id, "INV-1", today, today + timedelta(days=30), Pence(100), None)
        document = invoice.Document("original_xml", f"{HERE}/original_xml/{'0' * 64}", "0" * 64, 1)
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def begin() -> None:
            async with firm.world.database.transaction(HERE) as tx:
                await kyc.must_be_active(tx, parties.seller.id)
                begun.set()
                await go_on.wait()
                await invoice.submit(
                    tx, firm.callers[parties.seller.id], declared=declared, document=document, reference_key=b"test" * 8
                )

        beginning = asyncio.create_task(begin())
        await begun.wait()
        erasing = asyncio.create_task(erase(firm.world, firm.sealer, parties.seller.id))
        await somebody_waits(firm.world)
        assert not erasing.done()
        go_on.set()
        await beginning
        with pytest.raises(auth.ErasureBlocked, match="INVOICE_OPEN"):
            await erasing


async def somebody_waits(world: World) -> None:
    """Until a transaction stands before a lock that another one holds."""
    connection = await world.connect("postgres")
    try:
        async with asyncio.timeout(30):
            while not await connection.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


def unmapped(columns: set[tuple[str, str]], known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Sealed columns that the map does not know, and lines of the map that no column answers to."""
    return columns ^ known


async def test_every_sealed_column_is_on_the_map_and_the_map_names_no_other(world: World) -> None:
    """Otherwise a field could be neither disclosed nor be known to die with its person."""
    connection = await world.connect("postgres")
    try:
        rows = await connection.fetch(
            "select table_schema, table_name, column_name from information_schema.columns"
            " where column_name like '%\\_sealed' and table_schema in ('app', 'ops')"
        )
        owners = await connection.fetch(
            "select table_name, column_name from information_schema.columns where table_schema = 'app'"
        )
    finally:
        await connection.close()
    assert {row["table_schema"] for row in rows} == {"app"}
    assert unmapped({(row["table_name"], row["column_name"]) for row in rows}, set(SEALED)) == set()
    columns = {(row["table_name"], row["column_name"]) for row in owners}
    assert all((table, owner) in columns for (table, _), sealed in SEALED.items() for owner in sealed.owner)


def test_a_sealed_column_off_the_map_is_caught() -> None:
    assert unmapped({*SEALED, ("subjects", "phone_sealed")}, set(SEALED)) == {("subjects", "phone_sealed")}
    assert unmapped(set(SEALED) - {("subjects", "email_sealed")}, set(SEALED)) == {("subjects", "email_sealed")}


# --- told, and on record that it was


async def asked(at_home: House, caller: Caller, subject: auth.Subject, *fields: str) -> list[compliance.DisclosedValue]:
    async with at_home.world.database.transaction(HERE) as tx:
        entries = [entry.id for entry in await audit.entries_of(tx, SEED, resources=[subject.id])]
        found = await compliance.record_disclosure(tx, caller, entry_ids=entries, fields=fields, sealed=SEALED)
    return await compliance.disclose(at_home.sealer, HERE, found)


async def test_a_disclosed_field_is_what_the_entry_commits_to(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    [told] = await asked(at_home, MLRO, ada, "email")
    assert (told.pointer, told.value) == ("/diff/rows/0/row/email_sealed", ADA)
    assert commitment("email", bytes.fromhex(told.salt or ""), ADA) == commitment_of(ada.email_sealed or "")
    async with at_home.world.database.transaction(HERE) as tx:
        [_, entry] = await audit.entries_of(tx, SEED, resources=[ada.id])
    assert (entry.action, entry.actor) == ("PERSONAL_DATA_DISCLOSE", MLRO.actor)
    fact = {"fact": "PersonalDataDisclosed", "owner": ada.id, "entries": [told.entry_id], "fields": ["email"]}
    assert json.loads(entry.diff) == {"facts": [fact], "rows": []}


async def test_after_the_erasure_the_same_question_says_shredded(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    [before] = await asked(at_home, MLRO, ada, "email")
    await erase(at_home.world, at_home.sealer, ada.id)
    told = await asked(at_home, MLRO, ada, "email")
    assert [(one.salt, one.value) for one in told] == [(None, None)] * 2, "created with it, and erased from it"
    assert before.pointer == told[0].pointer


async def test_the_reasons_of_a_case_are_told_though_its_entry_does_not_say_whose_they_are(at_home: House) -> None:
    world = at_home.world
    ada = await at_home.subject(Role.SELLER, ADA)
    for subject_id in (ada.id, None):
        async with world.database.transaction(HERE) as tx:
            case, move = await compliance.open_case(
                tx, SEED, subject_id=subject_id, resource=ada.id, reason=f"Q_{subject_id is None}".upper()
            )
            await audit.change(tx, SEED, action="CASE_OPEN", resource=case.id, move=move)
        words = await compliance.seal_rationale(at_home.sealer, case, HERE, "She is who she says.")
        async with world.database.transaction(HERE) as tx:
            await compliance.decide(tx, MLRO, case_id=case.id, decision=compliance.Decision.APPROVE, rationale=words)
        async with world.database.transaction(HERE) as tx:
            [_, entry] = await audit.entries_of(tx, SEED, resources=[case.id])
            found = await compliance.record_disclosure(
                tx, DESK, entry_ids=[entry.id], fields=["rationale"], sealed=SEALED
            )
        [told] = await compliance.disclose(at_home.sealer, HERE, found)
        assert (found[0].owner, told.value) == (subject_id or case.id, "She is who she says.")


async def test_a_credential_is_told_to_nobody(at_home: House) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    secrets = {("subjects", "email_sealed"): replace(SEALED["subjects", "email_sealed"], is_secret=True)}
    async with at_home.world.database.transaction(HERE) as tx:
        [entry] = await audit.entries_of(tx, SEED, resources=[ada.id])
        with pytest.raises(compliance.NothingSealed):
            await compliance.record_disclosure(tx, MLRO, entry_ids=[entry.id], fields=["email"], sealed=secrets)
    assert SEALED["mfa_factors", "secret_sealed"].is_secret


async def test_an_entry_of_another_tenant_is_as_good_as_missing(at_home: House) -> None:
    theirs = await at_home.subject(Role.SELLER, ADA, THERE)
    async with at_home.world.database.transaction(THERE) as tx:
        [entry] = await audit.entries_of(tx, system(THERE, "seed"), resources=[theirs.id])
    async with at_home.world.database.transaction(HERE) as tx:
        for entry_id in (entry.id, "aud_" + "0" * 26):
            with pytest.raises(audit.UnknownEntry):
                await compliance.record_disclosure(tx, MLRO, entry_ids=[entry_id], fields=["email"], sealed=SEALED)


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.MLRO, Role.COMPLIANCE, Role.SYSTEM}))
async def test_nobody_else_is_told(at_home: House, role: Role) -> None:
    ada = await at_home.subject(Role.SELLER, ADA)
    with pytest.raises(WrongRole):
        await asked(at_home, Caller(HERE, role, "somebody", subject_id=ada.id), ada, "email")
    assert await trail(at_home.world, ada.id) == ["SUBJECT_CREATE"]
