"""Transfers and burns, once each, and what the chain refuses (TK-11 … TK-13)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Claims,
    MintReceivable,
    TransferToken,
)
from tests.modules.tokens_house import (
    FACE,
    PLATFORM,
    House,
    tokens_house,
)
from tests.support import World
from tests.support.fakes.chain import MINTER_KEY, Crash, address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(world: World) -> House:
    return await tokens_house(world)


# ── Transfers


async def test_a_confirmed_transfer_lets_the_lender_hold_the_token(house: House) -> None:
    token = await house.held()
    wallet = await house.wallet(house.lender)
    assert (token.state, token.holder_subject_id) == ("HELD", house.lender)
    assert token.holder_wallet == wallet.address
    assert await house.chain.holding(wallet.address, token.token_id) == FACE
    promise = await house.promise(f"fund:{token.reference}")
    assert {"TransferConfirmed": promise.tx_hash}.items() <= {
        f["fact"]: f.get("tx_hash") for f in await house.facts(token.invoice_reference)
    }.items()
    assert (await house.trail(token.invoice_reference))[-5:] == [
        "FIAT_IN",
        "CHAIN_TX_RESERVE",
        "CHAIN_TX_SIGN",
        "TOKEN_TRANSFER",
        "FUND_INVOICE",
    ]


async def test_a_transfer_that_the_chain_refuses_is_told_with_the_rules_reason(house: House) -> None:
    wallet = await house.registered_lender()
    token = await house.minted()
    known = house.chain.contracts.identities[wallet.address]
    house.chain.contracts.identities[wallet.address] = replace(known, claims=Claims.KYC_VERIFIED)
    await house.promise_transfer(token, "fund:1")
    await house.until_idle()
    assert (await house.facts(token.invoice_reference))[-1] == {
        "fact": "TransferRefused",
        "business_key": "fund:1",
        "token_reference": token.reference,
        "reason": "missing claim: AML_CLEARED",
    }
    assert await house.state(token.invoice_reference) == "MINTED"
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    house.chain.contracts.identities[wallet.address] = known
    await house.promise_transfer(token, "fund:2")
    await house.until_idle()
    await house.hold(token, "fund:2")
    assert await house.state(token.invoice_reference) == "HELD"


async def test_a_transfer_and_a_burn_whose_jobs_were_lost_are_concluded_after_the_walk(house: House) -> None:
    """The chain has them; without the conclusion the lender's money would wait for ever."""
    await house.registered_lender()
    token = await house.minted()
    house.chain.automine = False

    async def signed(key: str) -> bool:
        return (await house.promise(key)).state == "SIGNED"

    async def lose_the_job_of(key: str) -> None:
        await house.work_until(lambda: signed(key))
        await house.lose_all_jobs()
        house.chain.automine = True
        house.chain.mine()
        await house.walk()
        house.chain.automine = False

    await house.promise_transfer(token, "fund:1")
    await lose_the_job_of("fund:1")
    assert (await house.facts(token.invoice_reference))[-1]["fact"] == "TransferConfirmed"
    await house.hold(token, "fund:1")
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await house.request_burn(token)
    await lose_the_job_of(f"burn:{token.reference}")
    assert await house.state(token.invoice_reference) == "BURNED"
    assert len(house.chain.mined_calls(TransferToken)) == len(house.chain.mined_calls(BurnReceivable)) == 1


@pytest.mark.parametrize("call", ["sign", "broadcast", "receipt"])
async def test_a_crash_in_a_transfer_moves_the_token_once(house: House, call: str) -> None:
    await house.registered_lender()
    token = await house.minted()
    house.chain.fail_after(call, Crash())
    await house.promise_transfer(token, "fund:1")
    await house.until_idle()
    assert len(house.chain.mined_calls(TransferToken)) == 1
    assert (await house.promise("fund:1")).state == "CONFIRMED"


async def test_a_transfer_that_the_restored_database_forgot_is_not_taken_for_a_refusal(house: House) -> None:
    """Taken for refused, the lender would get its money back and keep the token."""
    wallet = await house.registered_lender()
    token = await house.minted()
    call = TransferToken(MINTER_KEY, address_of(MINTER_KEY), wallet.address, token.token_id, FACE)
    await house.chain.broadcast((await house.chain.sign(call, 1)).raw)
    await house.promise_transfer(token, "fund:1")
    await house.until_idle()
    assert (await house.promise("fund:1")).state == "CONFIRMED"
    assert len(house.chain.mined_calls(TransferToken)) == 1


async def test_the_same_promise_again_adds_nothing_and_another_is_refused(house: House) -> None:
    await house.registered_lender()
    token = await house.minted()
    await house.promise_transfer(token, "fund:1")
    await house.promise_transfer(token, "fund:1")
    with pytest.raises(tokenisation.TokenIsMoving):
        await house.promise_transfer(token, "fund:2")
    other = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": other})
    await house.until_idle()
    with pytest.raises(tokenisation.BusinessKeyReused):
        await house.promise_transfer(await house.token(other), "fund:1")
    with pytest.raises(tokenisation.TokenIsMoving):  # confirmed, and not taken up by held()
        await house.promise_transfer(token, "fund:3")


async def test_a_lender_without_a_registered_wallet_cannot_be_promised_a_token(house: House) -> None:
    token = await house.minted()
    with pytest.raises(tokenisation.WalletNotRegistered):
        await house.promise_transfer(token, "fund:1")


async def test_nobody_holds_on_somebody_elses_transfer(house: House) -> None:
    await house.registered_lender()
    token = await house.minted()
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    await house.promise_transfer(token, "fund:1")
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    await house.until_idle()
    lender, house.lender = house.lender, house.seller
    with pytest.raises(tokenisation.TransferNotConfirmed):
        await house.hold(token, "fund:1")
    house.lender = lender
    await house.hold(token, "fund:1")


async def test_exposure_counts_what_a_lender_holds_of_a_debtor(house: House) -> None:
    token = await house.held()
    async with house.tx() as tx:
        both = {
            obligor: await tokenisation.exposure(tx, PLATFORM, lender_subject_id=house.lender, obligor_id=obligor)
            for obligor in (house.buyer, house.seller)
        }
    assert both == {house.buyer: FACE, house.seller: Pence(0)}
    assert token.obligor_id == house.buyer


# ── Burns


async def test_a_burn_ends_the_token_and_settles_the_invoice_in_one_entry(house: House) -> None:
    token = await house.held()
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await house.request_burn(token)
    assert await house.state(token.invoice_reference) == "BURN_PENDING"
    await house.until_idle()
    burned = await house.token(token.invoice_reference)
    promise = await house.promise(f"burn:{token.reference}")
    assert (burned.state, burned.burn_tx) == ("BURNED", promise.tx_hash)
    assert burned.burned_at == promise.confirmed_at
    assert await house.chain.supply(token.token_id) == Pence(0)
    [call] = house.chain.mined_calls(BurnReceivable)
    assert isinstance(call, BurnReceivable)
    assert call.reason == b"SETTLED".ljust(32, b"\0")
    entry = (await house.entries(token.invoice_reference))[-1]
    states = {row["table"]: row["after"].get("state") for row in json.loads(entry.diff)["rows"]}
    assert (entry.action, states) == (
        "TOKEN_BURN",
        {"chain_tx": "CONFIRMED", "tokens": "BURNED", "invoices": "SETTLED"},
    )
    assert (await house.facts(token.invoice_reference))[-1]["fact"] == "TokenBurned"


async def test_a_burned_token_is_never_minted_again(house: House) -> None:
    token = await house.held()
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await house.request_burn(token)
    await house.until_idle()
    await house.ask("tokenisation.mint", {"reference": token.invoice_reference}, "again")
    await house.until_idle()
    assert await house.state(token.invoice_reference) == "BURNED"
    assert len(house.chain.mined_calls(MintReceivable)) == 1


@pytest.mark.parametrize("call", ["supply", "sign", "broadcast"])
async def test_a_crash_in_a_burn_burns_once(house: House, call: str) -> None:
    token = await house.held()
    await house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    house.chain.fail_before(call, Crash())
    await house.request_burn(token)
    await house.until_idle()
    assert await house.state(token.invoice_reference) == "BURNED"
    assert len(house.chain.mined_calls(BurnReceivable)) == 1
