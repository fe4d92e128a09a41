"""One token per invoice, whatever happens between us and the chain (TK-01 … TK-06, TK-12, P-15, IX-09)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from fintokenx.kernel.machine import NOTHING
from fintokenx.kernel.money import Pence
from fintokenx.kernel.vault import VaultUnavailable
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.chainwork.service import sending
from fintokenx.lifecycle.invoice.transitions import INVOICE
from fintokenx.lifecycle.tokenisation.ports import (
    MintReceivable,
)
from fintokenx.lifecycle.tokenisation.service import minting
from fintokenx.lifecycle.tokenisation.types import token_id_of
from tests.modules.tokens_house import (
    FACE,
    KEY,
    PLATFORM,
    TENANT,
    House,
    tokens_house,
)
from tests.support import World
from tests.support.fakes.chain import MINTER_KEY, Crash, address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(world: World) -> House:
    return await tokens_house(world)


async def test_a_confirmed_invoice_becomes_a_token_in_the_minting_wallet(house: House) -> None:
    token = await house.minted()
    assert (token.state, token.face, token.holder_subject_id) == ("MINTED", FACE, None)
    assert token.holder_wallet == address_of(MINTER_KEY)
    assert token.token_id_hex == token_id_of(TENANT, token.invoice_reference, token.document_sha256)
    assert token.due_at_unix == 1_785_456_000  # 2026-07-31T00:00:00Z
    [call] = house.chain.mined_calls(MintReceivable)
    assert isinstance(call, MintReceivable)
    assert (call.token_id, call.face, call.to_wallet) == (token.token_id, FACE, address_of(MINTER_KEY))
    assert call.document_sha256.hex() == token.document_sha256
    assert await house.trail(token.invoice_reference) == [
        "TOKEN_REQUEST",
        "CHAIN_TX_RESERVE",
        "TOKEN_SUBMIT",
        "TOKEN_MINT",
    ]
    assert await house.facts(token.invoice_reference) == [
        {"fact": "TokenMinted", "token_reference": token.reference, "invoice_reference": token.invoice_reference}
    ]


async def test_the_invoice_is_tokenised_in_the_entry_of_the_mint(house: House) -> None:
    token = await house.minted()
    entry = (await house.entries(token.invoice_reference))[-1]
    changed = {row["table"]: row["after"] for row in json.loads(entry.diff)["rows"]}
    assert changed["invoices"] == {"state": "TOKENISED", "token_reference": token.reference}
    assert changed["tokens"]["state"] == "MINTED"
    assert changed["chain_tx"]["state"] == "CONFIRMED"


async def test_an_invoice_in_any_other_state_is_not_minted(house: House) -> None:
    for state in INVOICE.states:
        if state == "CONFIRMED":
            continue
        reference = await house.invoice(state)
        with pytest.raises(tokenisation.InvoiceNotConfirmed):
            async with house.tx() as tx:
                await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
        assert await house.state(reference) == NOTHING


async def test_an_unconfirmed_invoice_causes_no_call_to_the_chain(house: House) -> None:
    reference = await house.invoice("AWAITING_BUYER")
    await house.ask("tokenisation.mint", {"reference": reference})

    async def refused() -> bool:
        async with house.tx() as tx:
            return await tx.value("select last_error from ops.jobs") is not None

    await house.work_until(refused)
    assert house.chain.calls.total() == 0


async def test_the_token_is_not_minted_before_the_chain_confirms_it(house: House) -> None:
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def sent() -> bool:
        return bool(house.chain.broadcasts)

    await house.work_until(sent)
    assert await house.state(reference) == "MINT_SUBMITTED"
    house.chain.mine()
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


async def test_a_second_confirmation_fact_mints_nothing_more(house: House) -> None:
    token = await house.minted()
    await house.ask("tokenisation.mint", {"reference": token.invoice_reference}, "again")
    await house.until_idle()
    assert len(house.chain.mined_calls(MintReceivable)) == 1
    assert len(await house.trail(token.invoice_reference)) == 4


async def test_while_no_block_comes_mints_wait_as_pending_and_happen_once_afterwards(house: House) -> None:
    """TK-05: N confirmations → N PENDING_MINT; resume → all MINTED, one mint each."""
    house.chain.stall()
    references = [await house.invoice() for _ in range(3)]
    for reference in references:
        await house.ask("tokenisation.mint", {"reference": reference})

    async def all_in(state: str) -> bool:
        house.machine_seconds += 1
        return {await house.state(reference) for reference in references} == {state}

    await house.work_until(lambda: all_in("PENDING_MINT"))
    house.chain.resume()
    await house.work_until(lambda: all_in("MINTED"))
    assert len(house.chain.mined_calls(MintReceivable)) == 3
    trail = await house.trail(references[0])
    assert trail == [
        "TOKEN_REQUEST",
        "CHAIN_TX_RESERVE",
        "TOKEN_SUBMIT",
        "TOKEN_PENDING",
        "TOKEN_SUBMIT",
        "TOKEN_MINT",
    ]


async def test_blocks_that_come_again_show_before_the_mint_is_in_one(house: House) -> None:
    house.chain.stall()
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def is_in(state: str, seconds: float) -> bool:
        house.machine_seconds += seconds
        return await house.state(reference) == state

    await house.work_until(lambda: is_in("PENDING_MINT", 1))
    house.chain.resume()
    await house.work_until(lambda: is_in("MINT_SUBMITTED", 0))
    house.chain.mine()
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


@pytest.mark.parametrize("fault", [ChainUnavailable("refused"), VaultUnavailable("sealed")], ids=["chain", "vault"])
async def test_an_outage_of_two_days_leaves_the_mint_pending_and_its_job_alive(house: House, fault: Exception) -> None:
    """IX-09: waiting is not failing, so the job does not die of it."""
    house.chain.go_away(fault)
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def pending() -> bool:
        return await house.state(reference) == "PENDING_MINT"

    await house.work_until(pending)
    for _ in range(20):
        house.world.clock.set(house.world.clock.now() + timedelta(hours=3))
        looks = house.chain.calls.total()

        async def looked_again(before: int = looks) -> bool:
            return house.chain.calls.total() > before

        await house.work_until(looked_again)
    assert await house.trail(reference) == ["TOKEN_REQUEST", "TOKEN_PENDING"]
    house.chain.go_away(None)
    await house.until_idle()
    assert await house.state(reference) == "MINTED"


CALLS_OF_A_MINT = (
    "contract_address",
    "minting_wallet",
    "supply",
    "sender_of",
    "transaction_count",
    "sign",
    "broadcast",
    "receipt",
    "holding",
)


@pytest.mark.parametrize(
    ("moment", "call"),
    [("before", call) for call in CALLS_OF_A_MINT] + [("after", call) for call in ("sign", "broadcast", "receipt")],
)
async def test_a_crash_at_any_step_of_a_mint_is_taken_up_and_ends_in_one_mint(
    house: House, moment: str, call: str
) -> None:
    reference = await house.invoice()
    fail = house.chain.fail_before if moment == "before" else house.chain.fail_after
    fail(call, Crash())
    await house.ask("tokenisation.mint", {"reference": reference})

    async def crashed() -> bool:
        async with house.tx() as tx:
            # The next try may be over before we look, and clears the error: then it was the second at least.
            return bool(await tx.value("select last_error = 'Crash' or attempts > 1 from ops.jobs"))

    await house.work_until(crashed)
    house.restart()
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
    assert len(house.chain.mined) == 1
    assert (await house.trail(reference)).count("CHAIN_TX_RESERVE") == 1


async def test_a_lost_answer_to_a_broadcast_leads_to_one_mint(house: House) -> None:
    house.chain.fail_after("broadcast", ChainUnavailable("timed out"))
    token = await house.minted()
    assert token.state == "MINTED"
    assert len(house.chain.mined) == 1


async def test_a_transaction_that_the_node_forgot_is_sent_again_with_the_same_bytes(house: House) -> None:
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def sent() -> bool:
        return bool(house.chain.broadcasts)

    await house.work_until(sent)
    house.chain.forget_pool()
    house.chain.automine = True
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
    assert len(set(house.chain.broadcasts)) == 1


async def test_twenty_mints_at_once_get_distinct_nonces_without_a_gap(house: House) -> None:
    references = [await house.invoice() for _ in range(20)]
    for reference in references:
        await house.ask("tokenisation.mint", {"reference": reference})
    await house.until_idle(concurrency=20)
    promises = [await house.promise(f"mint:{reference}") for reference in references]
    assert sorted(p.nonce for p in promises if p.nonce is not None) == list(range(20))
    assert {p.state for p in promises} == {"CONFIRMED"}
    assert len(house.chain.mined_calls(MintReceivable)) == 20


async def test_two_jobs_for_one_invoice_end_in_one_mint(house: House) -> None:
    reference = await house.invoice()
    for number in range(4):
        await house.ask("tokenisation.mint", {"reference": reference}, f"{number}")
    await house.until_idle()
    assert len(house.chain.mined) == 1
    assert (await house.trail(reference)).count("TOKEN_MINT") == 1


async def test_a_promise_keeps_its_nonce_until_the_chain_has_used_it_for_something_else(house: House) -> None:
    reference, sender = await house.invoice(), address_of(MINTER_KEY)

    async def reserved(lost: int | None = None) -> int | None:
        async with house.tx() as tx:
            key = minting.mint_key(reference)
            return (await sending.reserve(tx, PLATFORM, business_key=key, sender=sender, mined=5, lost=lost)).nonce

    async with house.tx() as tx:
        await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    await house.world.tell_mined(sender, 5)
    assert [await reserved(), await reserved(), await reserved(lost=5), await reserved(lost=5)] == [5, 5, 6, 6]


async def test_a_mint_that_the_restored_database_forgot_is_found_and_not_repeated(house: House) -> None:
    """The chain remembers more than the backup: the same invoice gives the same token id, and the mint is found."""
    reference = await house.invoice()
    async with house.tx() as tx:
        token, _ = await minting.request(tx, PLATFORM, invoice_reference=reference, reference_key=KEY)
    call = MintReceivable(
        token.token_id,
        token.face,
        token.due_at_unix,
        bytes.fromhex(token.document_sha256),
        address_of(MINTER_KEY),
    )
    for nonce, forgotten in enumerate([_a_mint(1), call, _a_mint(2)]):
        await house.chain.broadcast((await house.chain.sign(forgotten, nonce)).raw)
    await house.ask("tokenisation.mint", {"reference": reference})
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
    assert len(house.chain.mined) == 3
    found = await house.promise(f"mint:{reference}")
    assert (found.nonce, found.tx_hash) == (1, house.chain.mined[1][0].tx_hash)


async def test_a_nonce_that_the_chain_used_for_something_else_is_replaced(house: House) -> None:
    """The database was restored: the chain counts further than ours, also for a promise that has a nonce already."""
    house.chain.automine = False
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def sent() -> bool:
        return bool(house.chain.broadcasts)

    await house.work_until(sent)
    house.chain.forget_pool()
    house.chain.automine = True
    await house.chain.broadcast((await house.chain.sign(_a_mint(1), 0)).raw)
    await house.until_idle()
    found = await house.promise(f"mint:{reference}")
    assert (found.state, found.nonce) == ("CONFIRMED", 1)
    assert await house.state(reference) == "MINTED"


def _a_mint(token_id: int) -> MintReceivable:
    return MintReceivable(token_id, Pence(1), 0, bytes(32), address_of(MINTER_KEY))


async def test_a_mint_that_the_chain_refuses_waits_and_alarms_people(house: House) -> None:
    minter = house.chain.contracts.identities.pop(address_of(MINTER_KEY))
    reference = await house.invoice()
    await house.ask("tokenisation.mint", {"reference": reference})

    async def pending() -> bool:
        return await house.state(reference) == "PENDING_MINT"

    await house.work_until(pending)
    refused = await house.promise(f"mint:{reference}")
    assert (refused.state, refused.revert_reason) == ("REVERTED", "wallet not verified")
    assert (await house.trail(reference))[-2:] == ["TOKEN_PENDING", "ALERT_RAISE"]
    house.chain.contracts.identities[minter.wallet] = minter
    house.world.clock.set(house.world.clock.now() + timedelta(hours=1))
    await house.until_idle()
    assert await house.state(reference) == "MINTED"
