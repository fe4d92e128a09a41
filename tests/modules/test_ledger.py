"""Journals balance, client money never goes negative, posted journals are final (SE-17)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import system
from fintokenx.kernel.db import Tx
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import ledger
from tests.modules.parties_house import open_tenant
from tests.support import World, world_from

pytestmark = pytest.mark.anyio
PLATFORM = system("tnt_a", "test")


@pytest.fixture
async def world(cluster: str, template: str) -> AsyncIterator[World]:
    """A database of this test's own, with the tenant open."""
    async with world_from(cluster, template) as fresh:
        await open_tenant(fresh, PLATFORM.tenant_id)
        yield fresh


async def post(world: World, *lines: ledger.Line) -> None:
    async with world.database.transaction("tnt_a") as tx:
        move = await ledger.post(tx, PLATFORM, kind="test", resource="FXI-TEST", lines=lines)
        await audit.change(tx, PLATFORM, action="FIAT_IN", resource="FXI-TEST", move=move)


async def trial(world: World) -> ledger.TrialBalance:
    async with world.database.transaction("tnt_a") as tx:
        return await ledger.trial_balance(tx, PLATFORM)


async def test_a_balanced_journal_shows_in_the_trial_balance(world: World) -> None:
    await post(
        world,
        ledger.Line(ledger.BANK_COLLECTIONS, debit=Pence(500)),
        ledger.Line(ledger.held_for("sub_1"), credit=Pence(500)),
    )
    balance = await trial(world)
    assert balance.difference == Pence(0)
    assert {a.code: a.credit for a in balance.accounts}["held:sub_1"] == Pence(500)


async def test_an_unbalanced_journal_is_refused_before_any_row(world: World) -> None:
    with pytest.raises(ledger.Unbalanced):
        await post(world, ledger.Line(ledger.BANK_COLLECTIONS, debit=Pence(5)))
    assert (await trial(world)).accounts == ()


async def test_the_database_refuses_an_unbalanced_journal_too(world: World) -> None:
    """Rows that did not come from ledger.post meet the constraint trigger at COMMIT."""
    with pytest.raises(asyncpg.PostgresError, match="does not balance"):
        async with world.database.transaction("tnt_a") as tx:
            move = await ledger.post(
                tx,
                PLATFORM,
                kind="test",
                resource="r",
                lines=[
                    ledger.Line(ledger.BANK_COLLECTIONS, debit=Pence(5)),
                    ledger.Line(ledger.SUSPENSE, credit=Pence(5)),
                ],
            )
            await audit.change(tx, PLATFORM, action="FIAT_IN", resource="r", move=audit.Changes(move.rows[:-1]))


async def test_client_money_never_goes_negative(world: World) -> None:
    with pytest.raises(asyncpg.PostgresError, match="would go negative"):
        await post(
            world,
            ledger.Line(ledger.held_for("sub_1"), debit=Pence(1)),
            ledger.Line(ledger.BANK_COLLECTIONS, credit=Pence(1)),
        )
    assert (await trial(world)).accounts == ()


async def test_a_posted_journal_is_final_even_for_a_recorded_command(world: World) -> None:
    await post(
        world,
        ledger.Line(ledger.BANK_COLLECTIONS, debit=Pence(7)),
        ledger.Line(ledger.SUSPENSE, credit=Pence(7)),
    )

    async def edit(tx: Tx) -> None:
        line = await tx.row("select * from app.journal_lines where debit_pence = 7")
        assert line is not None
        key = {k: line[k] for k in ("tenant_id", "journal_id", "line_no")}
        change = audit.update("journal_lines", key=key, before={"debit_pence": 7}, after={"debit_pence": 8})
        await audit.change(tx, PLATFORM, action="FIAT_IN", resource="r", move=audit.Changes((change,)))

    with pytest.raises(asyncpg.PostgresError, match="never edited"):
        async with world.database.transaction("tnt_a") as tx:
            await edit(tx)
