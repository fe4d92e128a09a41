"""What may not be done to a token, whoever tries it, and who sees what of it (TK-07 … TK-10, P-04)."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant, system
from fintokenx.kernel.machine import NOTHING, IllegalTransition, Machine
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.service import sending
from fintokenx.lifecycle.chainwork.transitions import CHAIN_TX
from fintokenx.lifecycle.tokenisation.service import reads
from fintokenx.lifecycle.tokenisation.transitions import MACHINES, RECOVERY, TOKEN, WALLET
from tests.modules.tokens_house import (
    FACE,
    TENANT,
    House,
    apply_rows,
    tokens_house,
)
from tests.modules.tokens_http import app_of
from tests.support import World, rows

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(world: World) -> House:
    return await tokens_house(world)


@pytest.mark.parametrize("machine", [*MACHINES, CHAIN_TX], ids=lambda machine: machine.name)
def test_every_transition_that_is_not_listed_is_refused(machine: Machine) -> None:
    listed = {(t.source, t.event) for t in machine.transitions}
    for state in (NOTHING, *machine.states):
        for event in machine.events:
            if (state, event) not in listed:
                with pytest.raises(IllegalTransition):
                    machine.next(state, event)


def test_the_ends_of_the_machines_are_where_the_specification_has_them() -> None:
    assert TOKEN.terminal_states == ("BURNED",)
    assert CHAIN_TX.terminal_states == ("CONFIRMED", "SUPERSEDED")
    assert WALLET.terminal_states == ("RETIRED",)
    assert RECOVERY.terminal_states == ("DECLINED", "COMPLETED")


async def test_the_database_refuses_every_state_change_that_is_not_listed(house: House) -> None:
    token = await house.minted()
    key = {"tenant_id": TENANT, "reference": token.reference}
    for state in TOKEN.states:
        for action in ("TOKEN_REQUEST", "TOKEN_SUBMIT", "TOKEN_MINT", "TOKEN_PENDING", "BURN_REQUEST", "TOKEN_BURN"):
            if state == token.state:
                continue
            row = audit.update("tokens", key=key, before={"state": token.state}, after={"state": state})
            with pytest.raises(asyncpg.PostgresError, match=f"token may not go from MINTED to {state} by {action}"):
                await apply_rows(house, action, row)


async def test_a_token_is_burned_only_with_the_transaction_that_burned_it(house: House) -> None:
    """TK-08."""
    token = await house.held()
    await house.request_burn(token)
    key = {"tenant_id": TENANT, "reference": token.reference}
    row = audit.update("tokens", key=key, before={"state": "BURN_PENDING"}, after={"state": "BURNED"})
    with pytest.raises(asyncpg.CheckViolationError):
        await apply_rows(house, "TOKEN_BURN", row)


async def test_what_a_token_stands_for_is_final(house: House) -> None:
    token = await house.minted()
    key = {"tenant_id": TENANT, "reference": token.reference}
    row = audit.update("tokens", key=key, before={"face_pence": FACE}, after={"face_pence": 1})
    with pytest.raises(asyncpg.PostgresError, match="is final"):
        await apply_rows(house, "TOKEN_MINT", row)


async def test_a_whole_token_has_no_slices(house: House) -> None:
    token = await house.held()
    wallet = await house.wallet(house.lender)
    row = rows.token_slice(
        TENANT, "slc_1", token_reference=token.reference, index=0, face=FACE, holder=house.lender,
        address=wallet.address,
    )  # fmt: skip
    with pytest.raises(asyncpg.PostgresError, match="do not add up"):
        await apply_rows(house, "TOKEN_TRANSFER", row)


async def test_only_the_platform_moves_tokens(house: House) -> None:
    lender = Caller(TENANT, Role.LENDER, house.lender, subject_id=house.lender)
    async with house.tx() as tx:
        with pytest.raises(WrongRole):
            await tokenisation.transfer(
                tx, lender, token_reference="FXR-INV-00000", to_subject_id=house.lender, business_key="k"
            )
        with pytest.raises(WrongRole):
            await tokenisation.burn(tx, lender, token_reference="FXR-INV-00000", reason="SETTLED", business_key="k")
        with pytest.raises(WrongRole):
            await sending.reserve(tx, lender, business_key="k", sender="0x", mined=0)
        with pytest.raises(WrongTenant):
            await tokenisation.token(tx, system("tnt_b", "test"), reference="FXR-INV-00000")


async def test_people_see_the_tokens_of_their_invoices_and_their_own_wallet(house: House) -> None:
    token, wallet = await house.held(), await house.wallet(house.lender)
    seller = Caller(TENANT, Role.SELLER, house.seller, subject_id=house.seller)
    stranger = Caller(TENANT, Role.SELLER, "sub_stranger", subject_id="sub_stranger")
    lender = Caller(TENANT, Role.LENDER, house.lender, subject_id=house.lender)
    other = Caller(TENANT, Role.LENDER, "sub_other", subject_id="sub_other")
    async with house.tx() as tx:
        without_holder = replace(token, holder_subject_id=None, holder_wallet=None)
        assert await tokenisation.token(tx, lender, reference=token.reference) == token
        assert await tokenisation.token(tx, seller, reference=token.reference) == without_holder
        assert await tokenisation.token_of(tx, other, invoice_reference=token.invoice_reference) == without_holder
        with pytest.raises(tokenisation.UnknownToken):
            await tokenisation.token(tx, stranger, reference=token.reference)
        kinds = [p.kind for p in await reads.transactions(tx, seller, reference=token.reference, after=None, limit=9)]
        assert kinds == ["mint", "transfer"]
        assert await tokenisation.wallet_of(tx, lender, subject_id=house.lender) == wallet
        with pytest.raises(tokenisation.UnknownWallet):
            await tokenisation.wallet_of(tx, other, subject_id=house.lender)


# ── Over HTTP


async def test_a_lender_reads_its_token_its_chain_story_and_its_wallet(house: House) -> None:
    token, wallet = await house.held(), await house.wallet(house.lender)
    async with app_of(house, Caller(TENANT, Role.LENDER, house.lender, subject_id=house.lender)) as client:
        by_reference = (await client.get(f"/v1/tokens/{token.reference}")).json()
        by_invoice = (await client.get(f"/v1/invoices/{token.invoice_reference}/token")).json()
        assert by_reference == by_invoice
        assert (by_reference["state"], by_reference["face_pence"], by_reference["token_id"]) == (
            "HELD",
            FACE.value,
            token.token_id_hex,
        )
        path = f"/v1/tokens/{token.reference}/transactions"
        first = (await client.get(path, params={"limit": 1})).json()
        second = (await client.get(path, params={"limit": 1, "after": first["next"]})).json()
        assert [page["items"][0]["kind"] for page in (first, second)] == ["mint", "transfer"]
        assert "raw" not in first["items"][0]
        mine = (await client.get("/v1/wallets/me")).json()
        assert (mine["address"], mine["state"]) == (wallet.address, "REGISTERED")
        assert mine["claims"] == ["KYC_VERIFIED", "AML_CLEARED", "JURISDICTION_UK"]


async def test_another_tenants_token_looks_like_none(house: House) -> None:
    token = await house.minted()
    async with app_of(house, Caller("tnt_b", Role.LENDER, "sub_b", subject_id="sub_b")) as client:
        foreign = await client.get(f"/v1/tokens/{token.reference}")
        missing = await client.get("/v1/tokens/FXR-INV-00000")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json() == missing.json()
