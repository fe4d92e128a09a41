"""The chain client and the anchors against the real contracts on a real anvil."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from fintokenx.adapters.chain import (
    MINTING_WALLET,
    AnchorClient,
    ChainClient,
    Deployment,
    Rpc,
    StateClient,
)
from fintokenx.adapters.chain.deployment import AGENT
from fintokenx.adapters.chain.rpc import BATCH_SIZE_MAX, RpcError
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.app.cli.common import run
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, NotInABlock, StateNotKept
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Claims,
    MintReceivable,
    RefreshSanctions,
    Standing,
    TransferToken,
)
from fintokenx.sandbox.processes import free_port
from tests.adapters.chain_network import NOW, REQUIRED, TOKEN, Network, eventually, network

pytestmark = pytest.mark.anyio
__all__ = ["network"]


async def test_a_receivable_is_minted_moved_and_burned_without_anybody_owning_gas(network: Network) -> None:
    lender = await network.lender(REQUIRED)
    assert (await network.minted()).succeeded
    minting = await network.chain.minting_wallet()
    assert await network.chain.holding(minting, TOKEN) == Pence(5000)
    assert await network.chain.can_transfer(minting, lender, TOKEN, Pence(5000)) == (True, "ok")
    assert (await network.mined(TransferToken("", minting, lender, TOKEN, Pence(5000)))).succeeded
    assert await network.chain.holding(lender, TOKEN) == Pence(5000)
    assert (await network.mined(BurnReceivable(TOKEN, (lender,), b"SETTLED".ljust(32, b"\0")))).succeeded
    assert await network.chain.supply(TOKEN) == Pence(0)


async def test_a_second_mint_of_the_same_receivable_reverts(network: Network) -> None:
    assert (await network.minted()).succeeded
    again = await network.minted()
    assert not again.succeeded
    assert await network.chain.supply(TOKEN) == Pence(5000)


async def test_the_same_bytes_broadcast_again_are_one_transaction(network: Network) -> None:
    call = MintReceivable(TOKEN, Pence(5000), NOW + 10**6, b"d" * 32, await network.chain.minting_wallet())
    sender = await network.chain.sender_of(call)
    signed = await network.chain.sign(call, 0)
    assert signed == await network.chain.sign(call, 0), "signing is deterministic"
    await network.chain.broadcast(signed.raw)
    await network.chain.broadcast(signed.raw)
    assert (await eventually(lambda: network.chain.receipt(signed.tx_hash))).succeeded
    await network.chain.broadcast(signed.raw)
    assert await network.chain.transaction_count(sender) == 1


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (Claims.KYC_VERIFIED | Claims.AML_CLEARED, "missing claim: JURISDICTION_UK"),
        (Claims.KYC_VERIFIED | Claims.JURISDICTION_UK, "missing claim: AML_CLEARED"),
    ],
)
async def test_the_chain_refuses_a_receiver_without_its_claims_and_says_why(
    network: Network, claims: Claims, reason: str
) -> None:
    """P-18: nothing of ours is asked; the contract alone refuses."""
    lender = await network.lender(claims)
    await network.minted()
    minting = await network.chain.minting_wallet()
    assert await network.chain.can_transfer(minting, lender, TOKEN, Pence(1)) == (False, reason)
    receipt = await network.mined(TransferToken("", minting, lender, TOKEN, Pence(1)))
    assert (receipt.succeeded, receipt.revert_reason) == (False, reason)
    assert await network.chain.holding(minting, TOKEN) == Pence(5000)


async def test_an_unknown_wallet_is_not_verified(network: Network) -> None:
    await network.minted()
    stranger = await network.chain.create_wallet("wallet/test/stranger")
    minting = await network.chain.minting_wallet()
    assert await network.chain.can_transfer(minting, stranger, TOKEN, Pence(1)) == (False, "wallet not verified")
    assert not await network.chain.is_verified(stranger)


async def test_an_anchor_is_published_once_and_read_back(network: Network) -> None:
    anchors = AnchorClient(network.rpc, network.vault, network.deployment)
    assert await anchors.latest() is None
    first = await anchors.publish(1, 10, b"r" * 32)
    assert first == await anchors.publish(1, 10, b"r" * 32) == await anchors.read(1) == await anchors.latest()
    assert first.tx_hash.startswith("0x")
    with pytest.raises(ValueError, match="other values"):
        await anchors.publish(1, 11, b"x" * 32)
    second = await anchors.publish(2, 20, bytes(range(32)))
    assert second.block_number > first.block_number
    assert [await anchors.read(batch_id) for batch_id in (1, 2, 3)] == [first, second, None]


async def test_an_anchor_whose_event_the_node_keeps_back_is_not_half_read(network: Network) -> None:
    """The state has 22 bytes of a root; the rest is never made up."""
    anchors = AnchorClient(network.rpc, network.vault, network.deployment)
    await anchors.publish(1, 10, bytes(range(32)))

    class WithoutLogs(Rpc):
        async def call(self, method: str, *parameters: object) -> Any:
            return [] if method == "eth_getLogs" else await super().call(method, *parameters)

    forgetful = WithoutLogs([network.anvil.rpc_url])
    with pytest.raises(ChainUnavailable, match="event"):
        await AnchorClient(forgetful, network.vault, network.deployment).read(1)
    await forgetful.aclose()


async def test_a_paused_chain_leaves_the_anchor_unknown_and_the_next_try_finds_it(network: Network) -> None:
    anchors = AnchorClient(network.rpc, network.vault, network.deployment, wait_seconds=1)
    await network.anvil.control.pause()
    with pytest.raises(NotInABlock, match="no block took the anchor in 1 s"):
        await anchors.publish(1, 10, b"r" * 32)
    with pytest.raises(NotInABlock):
        await anchors.publish(1, 10, b"r" * 32)
    await network.anvil.control.resume()
    patient = AnchorClient(network.rpc, network.vault, network.deployment)
    assert (await patient.publish(1, 10, b"r" * 32)).tree_size == 10


@pytest.mark.usefixtures("logs_untouched")
@pytest.mark.parametrize(
    ("fault", "says", "advises_a_start"),
    [
        (
            NotInABlock("no block took the anchor in 20 s"),
            "the chain answers and does nothing (no block took the anchor in 20 s)",
            False,
        ),
        (ChainUnavailable("connection refused"), "the chain does not answer", True),
    ],
)
def test_a_command_that_a_halted_chain_stops_advises_nobody_to_start_it(
    fault: ChainUnavailable, says: str, *, advises_a_start: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `fintokenx audit anchor` does: the chain answers, so that `make up` would change nothing."""

    async def work() -> None:
        raise fault

    with pytest.raises(typer.Exit):
        run(work())
    told = " ".join(capsys.readouterr().err.split())
    assert says in told
    assert ("make up" in told) is advises_a_start


async def test_a_dead_endpoint_is_passed_over(network: Network) -> None:
    rpc = Rpc([f"http://127.0.0.1:{free_port()}", network.anvil.rpc_url])
    assert (await ChainClient(rpc, network.vault, network.deployment).head()).number > 0
    await rpc.aclose()


async def test_no_endpoint_means_unavailable(network: Network) -> None:
    rpc = Rpc([f"http://127.0.0.1:{free_port()}"])
    client = ChainClient(rpc, network.vault, network.deployment)
    with pytest.raises(ChainUnavailable):
        await client.head()
    await rpc.aclose()


async def test_many_calls_are_answered_in_order_in_batches_that_besu_takes(network: Network) -> None:
    minting = await network.chain.minting_wallet()
    blocks = ["latest" if at % 2 else "0x0" for at in range(BATCH_SIZE_MAX + 1)]
    answers = await network.rpc.call_many("eth_getBlockByNumber", [(block, False) for block in blocks])
    assert [answer["number"] == "0x0" for answer in answers] == [block == "0x0" for block in blocks]
    with pytest.raises(RpcError):
        await network.rpc.call_many("eth_getBalance", [(minting, "latest"), ("no address", "latest")])


# ── What stands at one block


async def _sent(network: Network, key_name: str, signature: str, *arguments: object) -> None:
    """A call of the token contract, in a block."""
    sender = address_of(await network.vault.ensure_secp256k1(key_name))
    nonce = await network.chain.transaction_count(sender)
    unsigned = Unsigned(1981, nonce, 400_000, network.deployment.token, calldata(signature, *arguments))
    signed = await sign(network.vault, key_name, unsigned)
    await network.chain.broadcast(signed.raw)
    assert (await eventually(lambda: network.chain.receipt(signed.tx_hash))).succeeded


def _quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""


async def _newest(state: StateClient, **asked: Any) -> Standing:
    """At the newest block; anvil keeps the state of no other, and the next one may come in between."""
    while True:
        with suppress(StateNotKept):
            return await state.standing((await state.head()).number, **asked)


async def test_what_stands_of_tokens_holdings_and_wallets_is_read_in_one_go(network: Network) -> None:
    state = StateClient(network.rpc, network.deployment)
    minting, stranger = await state.minting_wallet(), await network.chain.create_wallet("wallet/test/stranger")
    lender = await network.lender(REQUIRED)
    await network.minted()
    asked = {"token_ids": [TOKEN, 7], "holdings": [(TOKEN, minting), (7, lender)], "wallets": [lender, stranger]}
    found = await _newest(state, **asked)
    assert found.balances == {(TOKEN, minting): 5000, (7, lender): 0}
    ours = found.receivables[TOKEN]
    assert (ours.exists, ours.burned, ours.face_pence, ours.supply_pence) == (True, False, 5000, 5000)
    assert (ours.due_at_unix, ours.document_sha256) == (NOW + 10**6, (b"d" * 32).hex())
    assert (found.receivables[7].exists, found.receivables[7].face_pence) == (False, 0)
    known, unknown = found.identities[lender], found.identities[stranger]
    assert (known.registered, known.verified, known.claims, known.country) == (True, True, int(REQUIRED), 826)
    assert (known.is_investor, known.expires_at_unix) == (False, NOW + 10**7)
    assert (unknown.registered, unknown.verified, unknown.claims, unknown.expires_at_unix) == (False, False, 0, 0)


async def test_a_block_whose_state_is_gone_is_named_as_such_and_no_other_is_read_instead(network: Network) -> None:
    state = StateClient(network.rpc, network.deployment)
    with pytest.raises(StateNotKept):
        await state.standing(1, token_ids=[TOKEN], holdings=[], wallets=[])


class NarrowRpc(Rpc):
    """A node that looks for logs through three blocks at most."""

    async def call(self, method: str, *parameters: Any) -> Any:
        if method == "eth_getLogs" and int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) >= 3:
            raise RpcError(-32005, "too many blocks", b"")
        return await super().call(method, *parameters)


async def test_the_logs_add_up_to_what_everybody_holds(network: Network) -> None:
    lender = await network.lender(REQUIRED)
    minting = await network.chain.minting_wallet()
    for token_id in (TOKEN, TOKEN + 1, TOKEN + 2):
        await network.minted(token_id)
    batch = "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)"
    await _sent(network, MINTING_WALLET, batch, minting, lender, [TOKEN, TOKEN + 1], [5, 7], b"")
    forced = "forcedTransfer(address,address,uint256,uint256)"
    await _sent(network, AGENT, forced, lender, minting, TOKEN, 2)
    assert (await network.mined(BurnReceivable(TOKEN + 2, (minting,), b"X" * 32))).succeeded
    head = (await network.chain.head()).number
    narrow = NarrowRpc([network.anvil.rpc_url])
    told: list[int] = []
    clients = [StateClient(rpc, network.deployment) for rpc in (network.rpc, narrow)]
    logged = [await client.logged(head, lambda _what, done, _total: told.append(done)) for client in clients]
    assert logged[0] == logged[1]
    assert len(told) > 2, "the narrow one was asked in parts"
    assert logged[0].token_ids == {TOKEN, TOKEN + 1, TOKEN + 2}
    assert logged[0].wallets == {minting, lender}
    assert {holding: amount for holding, amount in logged[0].balances.items() if amount} == {
        (TOKEN, minting): 4997, (TOKEN, lender): 3, (TOKEN + 1, minting): 4993, (TOKEN + 1, lender): 7,
    }  # fmt: skip
    standing = await _newest(clients[0], token_ids=[], holdings=list(logged[0].balances), wallets=[])
    assert standing.balances == logged[0].balances
    await narrow.aclose()


async def test_logs_are_read_once_and_an_older_block_is_added_up_anew(network: Network) -> None:
    counted = StateClient(network.rpc, network.deployment)
    first = (await network.minted()).block_number
    second = (await network.minted(TOKEN + 1)).block_number
    assert (await counted.logged(second, _quiet)).token_ids == {TOKEN, TOKEN + 1}
    assert await counted.logged(second, _quiet) == await counted.logged(second, _quiet)
    assert (await counted.logged(first, _quiet)).token_ids == {TOKEN}
    assert (await counted.logged(second, _quiet)).token_ids == {TOKEN, TOKEN + 1}


async def test_a_network_without_the_contracts_is_unavailable(network: Network) -> None:
    nobody = "0x" + "11" * 20
    lost = StateClient(network.rpc, replace(network.deployment, token=nobody, identity_registry=nobody))
    with pytest.raises(ChainUnavailable, match="no such contract"):
        await _newest(lost, token_ids=[TOKEN], holdings=[], wallets=[])


async def test_a_deployment_that_was_saved_before_blocks_were_kept_is_read_from_the_first(
    network: Network, tmp_path: Path
) -> None:
    file = tmp_path / "deployment.json"
    network.deployment.save(file)
    assert Deployment.load(file) == network.deployment
    old = json.loads(file.read_text())
    del old["from_block"]
    file.write_text(json.dumps(old))
    assert Deployment.load(file) == replace(network.deployment, from_block=0)


async def test_a_gap_of_nonces_is_filled_with_a_transaction_that_does_nothing(network: Network) -> None:
    """The mint behind it waits at the node, and is mined once the gap is closed."""
    sender = await network.chain.sender_of(
        call := MintReceivable(TOKEN, Pence(5000), NOW + 10**6, b"d" * 32, await network.chain.minting_wallet())
    )
    gap = await network.chain.transaction_count(sender)
    behind = await network.chain.sign(call, gap + 1)
    assert await network.chain.send_many([behind.raw]) == [None]
    assert await network.chain.waiting(sender, [behind.tx_hash, "0x" + "1" * 64]) == {gap + 1}
    assert await network.chain.waiting(network.deployment.token, [behind.tx_hash]) == set()
    filling = await network.chain.cancellation(sender, gap)
    assert filling is not None
    assert await network.chain.send_many([filling.raw]) == [None]
    assert (await eventually(lambda: network.chain.receipt(behind.tx_hash))).succeeded
    assert await network.chain.waiting(sender, [behind.tx_hash]) == set()
    assert await network.chain.cancellation(network.deployment.token, 0) is None


async def _listed_at(network: Network) -> int:
    asked = {"to": network.deployment.sanctions_rule, "data": "0x" + calldata("updatedAt()").hex()}
    return int(await network.rpc.call("eth_call", asked, "latest"), 16)


async def test_the_sanctions_list_is_as_old_as_its_screening_and_never_goes_back(network: Network) -> None:
    """However late it is mined; and nobody confirms it as of a time to come."""
    screened = (await network.chain.head()).timestamp_unix
    await network.anvil.control.call("evm_increaseTime", 3600)
    assert (await network.mined(RefreshSanctions(screened))).succeeded
    assert await _listed_at(network) == screened
    assert (await network.mined(RefreshSanctions(screened - 60))).succeeded
    assert await _listed_at(network) == screened
    to_come = await network.mined(RefreshSanctions(screened + 10**6))
    assert (to_come.succeeded, to_come.revert_reason) == (False, "reverted")
    assert await _listed_at(network) == screened
