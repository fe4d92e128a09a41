"""The invoice's machine, in code and in the database; its doors for the modules above; reading that goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.adapters.documents import IsolatedReader
from fintokenx.app import catalogue
from fintokenx.app.demo import seal_in
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant
from fintokenx.kernel.db import StaleRow
from fintokenx.kernel.machine import FROM_ABOVE, NOTHING, IllegalTransition
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import invoice
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, Reading
from fintokenx.lifecycle.invoice.service import confirm, examine, onward, reads, review, submit
from fintokenx.lifecycle.invoice.transitions import ACTIONS, INVOICE
from fintokenx.parties import compliance
from tests.modules.invoice_house import SEED, House, OneAtATime, invoice_house
from tests.modules.invoice_ways import FACE, NOW
from tests.modules.parties_house import HERE, THERE

pytestmark = pytest.mark.anyio

WAY = (
    ("TOKENISED", "TOKEN_MINT"), ("LISTED", "LISTING_OPEN"), ("FUNDING", "FUND_COMMIT"), ("FUNDED", "FUND_INVOICE"),
)  # fmt: skip


@pytest.fixture
async def house(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[House]:
    async with invoice_house(cluster, template, tmp_path, OneAtATime()) as made:
        made.world.clock.set(NOW)
        yield made


async def recorded(house: House, action: str, reference: str, move: audit.Changes) -> None:
    """As the module above records it."""
    async with house.world.database.transaction(HERE) as tx:
        await audit.change(tx, SEED, action=action, resource=reference, move=move)


async def confirmed(house: House) -> str:
    """An invoice that its buyer has confirmed, by the front door."""
    reference = await house.awaiting(await house.parties())
    link = await house.link(reference)
    form = {"decision": "confirm", "seal": seal_in((await house.client.get(link)).text)}
    assert (await house.client.post(link, data=form)).status_code == 200
    return reference


async def funded(house: House) -> str:
    """An invoice that has come to FUNDED through the doors of the modules above."""
    reference = await confirmed(house)
    async with house.world.database.transaction(HERE) as tx:
        for action, door in (
            ("TOKEN_MINT", invoice.tokenised(tx, SEED, reference=reference, token_reference="FXR-INV-00001")),
            ("LISTING_OPEN", invoice.listed(tx, SEED, reference=reference)),
            ("FUND_COMMIT", invoice.committed(tx, LENDER, reference=reference)),
            ("FUND_CANCEL", invoice.released(tx, SEED, reference=reference, refunded=False)),
            ("FUND_COMMIT", invoice.committed(tx, LENDER, reference=reference)),
            ("FIAT_REFUND", invoice.released(tx, SEED, reference=reference, refunded=True)),
            ("FUND_COMMIT", invoice.committed(tx, LENDER, reference=reference)),
            ("FUND_INVOICE", invoice.funded(tx, SEED, reference=reference)),
        ):
            by = LENDER if action == "FUND_COMMIT" else SEED
            await audit.change(tx, by, action=action, resource=reference, move=await door)
    return reference


LENDER = Caller(HERE, Role.LENDER, "sub_lender", subject_id="sub_lender")

# --- the machine


def test_every_pair_of_state_and_event_outside_the_table_is_refused() -> None:
    """IN-14."""
    listed = {(line.source, line.event) for line in INVOICE.transitions}
    for state, event in product((NOTHING, *INVOICE.states), INVOICE.events):
        if (state, event) not in listed:
            with pytest.raises(IllegalTransition):
                INVOICE.next(state, event)
    assert set(INVOICE.terminal_states) == {"REJECTED", "DECLINED_BY_BUYER", "WITHDRAWN", "SETTLED"}


async def test_the_database_refuses_what_the_table_does_not_list(house: House) -> None:
    """IN-14: from every state on the way, to every other, by every action."""
    reference = await confirmed(house)
    table = catalogue.machine("invoice").transitions
    lines = {(line.source, line.target, line.action) for line in table}
    actions = sorted({line.action for line in table} - {"SUBMIT_INVOICE", "CONFIRM_INVOICE"})
    by_system = [a for a in actions if a not in ("INVOICE_BUYER_DECLINE", "INVOICE_WITHDRAW", "FUND_COMMIT")]
    key = {"tenant_id": HERE, "reference": reference}
    tried = 0
    for state, step in (("CONFIRMED", WAY[0]), ("TOKENISED", WAY[1])):
        for target, action in product(INVOICE.states, by_system):
            if target == state or (state, target, action) in lines:
                continue
            row = audit.update("invoices", key=key, before={"state": state}, after={"state": target})
            with pytest.raises(asyncpg.PostgresError, match=f"invoice may not go from {state} to {target} by {action}"):
                await recorded(house, action, reference, audit.Changes((row,)))
            tried += 1
        extra = (
            ({"token_reference": None}, {"token_reference": "FXR-INV-00001"}) if step[0] == "TOKENISED" else ({}, {})
        )
        row = audit.update(
            "invoices", key=key, before={"state": state, **extra[0]}, after={"state": step[0], **extra[1]}
        )
        await recorded(house, step[1], reference, audit.Changes((row,)))
    assert tried > 300
    assert (await house.invoice(reference)).state == "LISTED"


async def test_a_change_without_an_entry_is_refused(house: House) -> None:
    reference = await house.submitted(await house.parties())
    app = await house.world.connect("fx_app")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("update app.invoices set state = 'CONFIRMED' where reference = $1", reference)
    await app.close()


async def test_a_token_reference_comes_with_the_token_and_is_final(house: House) -> None:
    """IN-15."""
    reference = await confirmed(house)
    key = {"tenant_id": HERE, "reference": reference}
    early = audit.update(
        "invoices", key=key, before={"token_reference": None}, after={"token_reference": "FXR-INV-00001"}
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await recorded(house, "TOKEN_MINT", reference, audit.Changes((early,)))
    async with house.world.database.transaction(HERE) as tx:
        move = await invoice.tokenised(tx, SEED, reference=reference, token_reference="FXR-INV-00001")
        await audit.change(tx, SEED, action="TOKEN_MINT", resource=reference, move=move)
    for other in ("FXR-INV-00002", None):
        again = audit.update(
            "invoices", key=key, before={"token_reference": "FXR-INV-00001"}, after={"token_reference": other}
        )
        with pytest.raises(asyncpg.PostgresError, match="is final"):
            await recorded(house, "TOKEN_MINT", reference, audit.Changes((again,)))
    with pytest.raises(IllegalTransition):
        async with house.world.database.transaction(HERE) as tx:
            await invoice.tokenised(tx, SEED, reference=reference, token_reference="FXR-INV-00003")
    assert (await house.invoice(reference)).token_reference == "FXR-INV-00001"


async def test_the_terms_of_an_invoice_are_final(house: House) -> None:
    reference = await confirmed(house)
    key = {"tenant_id": HERE, "reference": reference}
    for column, before, after in (
        ("face_value_pence", FACE.value, FACE.value - 1),
        ("invoice_number", "HS-2026-0117", "HS-1"),
        ("asking_discount_bps", 200, 201),
    ):
        row = audit.update("invoices", key=key, before={column: before}, after={column: after})
        with pytest.raises(asyncpg.PostgresError, match="are final"):
            await recorded(house, "TOKEN_MINT", reference, audit.Changes((row,)))


async def test_a_row_that_changed_meanwhile_is_not_written_over(house: House) -> None:
    reference = await confirmed(house)
    async with house.world.database.transaction(HERE) as tx:
        stale = await invoice.tokenised(tx, SEED, reference=reference, token_reference="FXR-INV-00001")
    await recorded(house, "TOKEN_MINT", reference, stale)
    with pytest.raises(StaleRow):
        await recorded(house, "TOKEN_MINT", reference, stale)


# --- the doors of the modules above


async def test_an_invoice_goes_through_its_life_by_its_doors(house: House) -> None:
    reference = await funded(house)
    for amount, state, left in ((1, "PART_PAID", FACE.value - 1), (2, "PART_PAID", FACE.value - 3)):
        async with house.world.database.transaction(HERE) as tx:
            move, after = await invoice.collected(tx, SEED, reference=reference, amount=Pence(amount))
            await audit.change(tx, SEED, action="RECEIVE_SETTLEMENT", resource=reference, move=move)
        assert (after.state, after.outstanding) == (state, Pence(left))
        assert await house.invoice(reference) == after
    for wrong in (0, -1, FACE.value - 2):
        with pytest.raises(invoice.MoreThanOutstanding):
            async with house.world.database.transaction(HERE) as tx:
                await invoice.collected(tx, SEED, reference=reference, amount=Pence(wrong))
    async with house.world.database.transaction(HERE) as tx:
        move, after = await invoice.collected(tx, SEED, reference=reference, amount=Pence(FACE.value - 3))
        await audit.change(tx, SEED, action="RECEIVE_SETTLEMENT", resource=reference, move=move)
        assert (after.state, after.outstanding) == ("PAID", Pence(0))
        with pytest.raises(IllegalTransition):
            await invoice.collected(tx, SEED, reference=reference, amount=Pence(1))
        for action, door in (
            ("SETTLEMENT_START", invoice.settling(tx, SEED, reference=reference)),
            ("TOKEN_BURN", invoice.settled(tx, SEED, reference=reference)),
        ):
            await audit.change(tx, SEED, action=action, resource=reference, move=await door)
    assert (await house.invoice(reference)).state == "SETTLED"


async def test_an_unfunded_invoice_collects_nothing(house: House) -> None:
    reference = await confirmed(house)
    with pytest.raises(IllegalTransition):
        async with house.world.database.transaction(HERE) as tx:
            await invoice.collected(tx, SEED, reference=reference, amount=FACE)


async def test_a_funded_invoice_falls_due_on_its_day(house: House) -> None:
    reference = await funded(house)
    for day, state in ((date(2026, 7, 30), "FUNDED"), (date(2026, 7, 31), "DUE"), (date(2026, 8, 1), "DUE")):
        house.world.clock.set(datetime(day.year, day.month, day.day, 0, 0, tzinfo=UTC))
        async with house.world.database.transaction(HERE) as tx:
            tx.enqueue("invoice.fall_due", {}, dedupe_key=str(day))
        await house.work()
        assert (await house.invoice(reference)).state == state
    assert (await house.trail(reference)).count("INVOICE_DUE") == 1


async def test_every_door_refuses_the_wrong_role_and_the_wrong_tenant_before_it_asks_the_database(
    house: House,
) -> None:
    """P-04: the transaction's connection is closed, so any statement would fail."""
    none: dict[str, Any] = {"reference": "FXI-0000000"}
    stored = invoice.Document("ocr_extract", "x", "0" * 64, 1)
    declared = invoice.Declaration("sub_x", "1", date(2026, 1, 1), date(2026, 2, 1), FACE, 1)
    reading = Reading("pdf", "r/1", 10_000, InvoiceOnPaper(), (), "")
    decision = compliance.Decision.APPROVE
    doors: list[tuple[Any, dict[str, Any], Role]] = [
        (submit.submit, {"declared": declared, "document": stored, "reference_key": b""}, Role.SELLER),
        (submit.record_duplicate,
         {"refusal": invoice.DuplicateInvoice("SAME_FILE", "x", own=True), "document_sha256": ""}, Role.SELLER),
        (submit.withdraw, none, Role.SELLER),
        (examine.start_extraction, none, Role.SYSTEM),
        (examine.finish_extraction, none | {"reading": reading, "artefacts": ()}, Role.SYSTEM),
        (examine.refuse_document, none | {"code": "X"}, Role.SYSTEM),
        (examine.review_decided, none | {"reason": "X", "decision": decision}, Role.SYSTEM),
        (examine.question_declined, none | {"originator_id": "sub_x"}, Role.SYSTEM),
        (confirm.confirmation_page, none, Role.BUYER),
        (confirm.record_page_view, none | {"page": stored}, Role.BUYER),
        (confirm.confirm, none | {"page_hash": "", "ip_sealed": "", "link": ""}, Role.BUYER),
        (confirm.decline, none | {"link": ""}, Role.BUYER),
        (invoice.get, none, Role.SELLER),
        (invoice.documents, none, Role.SELLER),
        (invoice.reasons, none, Role.SYSTEM),
        (reads.artefact, none | {"document_id": "doc_x"}, Role.SELLER),
        (review.review, none, Role.MLRO),
        (invoice.page, {"state": None, "after": None, "limit": 1}, Role.SELLER),
        (onward.tokenised, none | {"token_reference": "x"}, Role.SYSTEM),
        (onward.released, none | {"refunded": True}, Role.SYSTEM),
        (onward.collected, none | {"amount": FACE}, Role.SYSTEM),
        (onward.fallen_due, {"day": date(2026, 1, 1)}, Role.SYSTEM),
        *((door, none, Role.SYSTEM) for door in (
            onward.listed, onward.committed, onward.funded, onward.settling, onward.settled, onward.fall_due)),
    ]  # fmt: skip
    async with house.world.database.transaction(HERE) as open_tx:
        closed = open_tx
    for door, arguments, role in doors:
        for caller, refusal in (
            (Caller(HERE, Role.AGENT, "agent", subject_id="sub_x"), WrongRole),
            (Caller(THERE, role, "x", subject_id="sub_x"), WrongTenant),
        ):
            with pytest.raises(refusal):
                await door(closed, caller, **arguments)


def test_every_transition_of_this_module_has_its_action() -> None:
    """AD-12: an action is declared here, or by the module above that records it and says so in its ``carries``."""
    own = {action.name for action in ACTIONS}
    above = {
        "TOKEN_MINT", "TOKEN_BURN", "LISTING_OPEN", "FUND_COMMIT", "FUND_CANCEL", "FIAT_REFUND", "FUND_INVOICE",
        "RECEIVE_SETTLEMENT", "SETTLEMENT_START",
    }  # fmt: skip
    assert {line.action for line in INVOICE.transitions} <= own | {FROM_ABOVE}
    assert {line.action for line in catalogue.machine("invoice").transitions} <= own | above
    assert not own & above


# --- reading that goes wrong


async def test_a_reader_that_dies_is_asked_again_before_the_document_is_blamed(house: House) -> None:
    reference = await house.submitted(await house.parties())
    await house.work(IsolatedReader(timeout_seconds=0.001))
    assert (await house.invoice(reference)).state == "REJECTED"
    [job] = await house.rows("select attempts from ops.jobs where name = 'invoice.extract'")
    assert job["attempts"] == 3
    assert house.world.clock.now() > NOW


async def test_a_second_telling_changes_nothing(house: House) -> None:
    """Jobs run at least once."""
    parties = await house.parties()
    reference = await house.submitted(parties, issue_date="2026-06-02")
    async with house.world.database.transaction(HERE) as tx:
        tx.enqueue("invoice.extract", {"reference": reference}, dedupe_key="again")
    await house.work()
    [case] = await house.cases(reference)
    async with house.world.database.transaction(HERE) as tx:
        unrelated = {"case_id": "cas_x", "resource": reference, "reason": "OTHER", "decision": "DECLINE"}
        tx.enqueue("invoice.case_decided", unrelated, dedupe_key="unrelated")
        tx.enqueue("invoice.case_decided", unrelated | {"resource": "sub_x"}, dedupe_key="somebody")
    await house.work()
    assert (await house.invoice(reference)).state == "IN_REVIEW"
    await house.decide(case, compliance.Decision.APPROVE)
    async with house.world.database.transaction(HERE) as tx:
        told = {"case_id": case.id, "resource": reference, "reason": case.reason, "decision": "DECLINE"}
        tx.enqueue("invoice.case_decided", told, dedupe_key="again")
        tx.enqueue("invoice.extract", {"reference": reference}, dedupe_key="and again")
    await house.work()
    assert await house.trail(reference) == [
        "SUBMIT_INVOICE", "INVOICE_EXTRACT_START", "INVOICE_REFER", "INVOICE_REVIEW_DECIDE",
    ]  # fmt: skip
