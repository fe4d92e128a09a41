"""The chain client over several nodes: one that fails costs nothing, what is sent counts once (CH-01, CH-03, P-15)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from fintokenx.adapters.chain import ChainClient, Rpc, client_context, deploy
from fintokenx.adapters.chain.rpc import BATCH_SIZE_MAX, RpcError
from fintokenx.app import outside
from fintokenx.app.provision import CHAIN_CLIENT_KEY
from fintokenx.kernel.money import Pence
from fintokenx.kernel.settings import BadSettings, Settings
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.tokenisation.ports import Claims, MintReceivable, RegisterIdentity, TransferToken
from fintokenx.sandbox.chain_front.besu import PENDING_MAX
from tests.kernel.good_settings import GOOD
from tests.sandbox.front_house import ROOT, Network, network

pytestmark = pytest.mark.anyio


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    async with network() as running:
        yield running


async def test_with_one_node_down_the_client_goes_on_by_the_next(net: Network) -> None:
    rpc = net.rpc()
    assert await rpc.call("eth_chainId") == hex(1981)
    await net.front.switch_off(net.front.names[0])
    assert await rpc.call("eth_chainId") == hex(1981)
    sent = await net.signed(0)
    assert await rpc.send(sent.raw) == sent.tx_hash
    await net.mined(sent.tx_hash)


async def test_the_contracts_are_deployed_and_a_token_moves_while_nodes_come_and_go(net: Network) -> None:
    """CH-04: by certificates and permitted senders only, with two nodes down throughout."""
    rpc, names = net.rpc(), net.front.names
    await net.front.switch_off(*names[:2])
    now = (await net.anvil.control.head()).timestamp
    deployment = await deploy(rpc, net.vault, chain_id=1981, artifacts=ROOT / "contracts" / "artifacts", now_unix=now)
    chain = ChainClient(rpc, net.vault, deployment)
    minting, wallet = deployment.minting_wallet, await chain.create_wallet("wallet/test/lender")
    claims = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
    for call in (
        RegisterIdentity(wallet, b"s" * 32, claims, is_investor=False, expires_at_unix=now + 10**7),
        MintReceivable(7, Pence(5000), now + 10**6, b"d" * 32, minting),
        TransferToken("", minting, wallet, 7, Pence(5000)),
    ):
        await net.front.switch_off(names[2])
        await net.front.switch_on(names[0])
        signed = await chain.sign(call, await chain.transaction_count(await chain.sender_of(call)))
        await chain.broadcast(signed.raw)
        await net.front.switch_on(names[2])
        await net.front.switch_off(names[0])
        await net.mined(signed.tx_hash)
    assert await chain.holding(wallet, 7) == Pence(5000)


async def test_many_callers_at_once_all_go_on_when_a_node_dies(net: Network) -> None:
    rpc = net.rpc()
    await rpc.call("eth_chainId")
    await net.front.switch_off(*net.front.names[:2])
    answers = await asyncio.gather(*(rpc.call("eth_chainId") for _ in range(40)))
    assert set(answers) == {hex(1981)}


async def test_with_all_nodes_down_the_chain_is_unavailable_and_nothing_was_sent(net: Network) -> None:
    rpc, signed = net.rpc(), await net.signed(0)
    await net.front.switch_off(*net.front.names)
    with pytest.raises(ChainUnavailable, match=r"chain: none of 7 endpoints .*ConnectError") as fault:
        await rpc.send(signed.raw)
    assert (fault.value.system, fault.value.outcome_unknown) == ("chain", False)
    await net.front.switch_on(*net.front.names)
    assert await rpc.send(signed.raw) == signed.tx_hash


async def test_a_node_that_answers_with_a_server_error_is_passed_over(net: Network) -> None:
    await net.anvil.stop()
    with pytest.raises(ChainUnavailable, match="HTTP 500"):
        await net.rpc().call("eth_chainId")


async def test_a_lost_answer_to_a_sent_transaction_makes_one_transaction_and_gives_its_hash(net: Network) -> None:
    rpc, signed = net.rpc(), await net.signed(0)
    net.front.lose_answers(net.front.names[0])
    assert await rpc.send(signed.raw) == signed.tx_hash
    await net.mined(signed.tx_hash)
    assert await net.count() == 1


async def test_answers_that_all_nodes_lose_leave_it_unknown_and_sending_again_finds_it(net: Network) -> None:
    rpc, signed = net.rpc(), await net.signed(0)
    for name in net.front.names:
        net.front.lose_answers(name)
    with pytest.raises(ChainUnavailable) as fault:
        await rpc.send(signed.raw)
    assert fault.value.outcome_unknown
    assert await rpc.send(signed.raw) == signed.tx_hash
    await net.mined(signed.tx_hash)
    assert await rpc.send(signed.raw) == signed.tx_hash, "mined: its nonce is too low, and it is found"
    assert await net.count() == 1


async def test_a_nonce_that_another_transaction_has_used_is_a_refusal(net: Network) -> None:
    rpc, first = net.rpc(), await net.signed(0)
    await rpc.send(first.raw)
    await net.mined(first.tx_hash)
    other = await net.signed(0, data=b"another")
    with pytest.raises(RpcError, match="Nonce too low"):
        await rpc.send(other.raw)


async def test_a_node_that_is_too_slow_is_passed_over_and_not_asked_first_again(net: Network) -> None:
    rpc, signed = net.rpc(timeout_seconds=0.5), await net.signed(0)
    net.front.slow_down(net.front.names[0], 3)
    assert await rpc.send(signed.raw) == signed.tx_hash
    begun = time.monotonic()
    await rpc.call("eth_chainId")
    assert time.monotonic() - begun < 0.5
    await net.mined(signed.tx_hash)
    assert await net.count() == 1


async def test_nodes_that_do_not_know_our_certificate_are_no_nodes(net: Network) -> None:
    with pytest.raises(ChainUnavailable, match=r"TLS|ReadError"):
        await net.rpc(shown=net.unlisted).call("eth_chainId")


async def test_a_node_that_we_do_not_know_is_told_nothing(net: Network) -> None:
    """Whoever listens on a node's port without its certificate gets no transaction."""
    rpc = Rpc(net.front.urls)
    with pytest.raises(ChainUnavailable, match="TLS CERTIFICATE_VERIFY_FAILED"):
        await rpc.call("eth_chainId")
    await rpc.aclose()


async def test_a_certificate_that_is_no_good_is_refused_before_anything_starts(net: Network) -> None:
    ours, key = net.ours.save(net.folder / "shown")
    for certificate, key_pem in (
        (str(net.folder / "none.crt"), net.ours.key_pem),
        (str(ours), net.unlisted.key_pem),
        (str(key), net.ours.key_pem),
        (str(ours), ""),
    ):
        with pytest.raises(BadSettings, match="TLS towards the chain"):
            client_context(authorities=str(net.front.authorities), certificate=certificate, key_pem=key_pem)


async def test_one_plain_endpoint_is_enough(net: Network) -> None:
    """The local chain: no certificate, no second node."""
    rpc = Rpc([net.anvil.rpc_url])
    assert await rpc.call("eth_chainId") == hex(1981)
    await net.anvil.stop()
    with pytest.raises(ChainUnavailable, match="none of 1 endpoints"):
        await rpc.call("eth_chainId")
    await rpc.aclose()


async def test_the_settings_name_certificates_and_the_vault_has_the_key(net: Network) -> None:
    certificate, _ = net.ours.save(net.folder / "shown")
    await net.vault.put_secret(CHAIN_CLIENT_KEY, net.ours.key_pem)
    shown = {"chain_authorities": str(net.front.authorities), "chain_client_certificate": str(certificate)}
    settings = Settings(**{**GOOD, "chain_rpc_urls": net.front.urls, **shown})
    rpc = Rpc(settings.chain_rpc_urls, tls=await outside.chain_tls(settings, net.vault))
    assert await rpc.call("net_peerCount") == "0x6"
    await rpc.aclose()
    assert await outside.chain_tls(Settings(**GOOD), net.vault) is None


# ── Batches of transactions


async def test_a_nonce_two_hundred_ahead_is_refused_in_besus_words_and_loses_no_other(net: Network) -> None:
    rpc = net.rpc()
    last, distant, first = [await net.signed(nonce) for nonce in (PENDING_MAX - 1, PENDING_MAX, 0)]
    refusals = await rpc.send_many([last.raw, distant.raw, first.raw])
    assert [refusals[0], refusals[2]] == [None, None]
    assert refusals[1] is not None
    assert (refusals[1].code, "too distant" in refusals[1].message) == (-32000, True)
    await net.mined(first.tx_hash)
    assert await rpc.send_many([distant.raw]) == [None], "the sender has one in a block now"


async def test_a_lost_answer_to_a_batch_makes_each_transaction_once(net: Network) -> None:
    rpc, signed = net.rpc(), [await net.signed(nonce) for nonce in range(20)]
    net.front.lose_answers(net.front.names[0])
    assert await rpc.send_many([each.raw for each in signed]) == [None] * 20
    await net.mined(signed[-1].tx_hash)
    assert await net.count() == 20


async def test_answers_to_a_batch_that_all_nodes_lose_leave_it_unknown_and_sending_again_finds_it(net: Network) -> None:
    rpc, signed = net.rpc(), [await net.signed(nonce) for nonce in range(20)]
    for name in net.front.names:
        net.front.lose_answers(name)
    with pytest.raises(ChainUnavailable) as fault:
        await rpc.send_many([each.raw for each in signed])
    assert fault.value.outcome_unknown
    assert await rpc.send_many([each.raw for each in signed]) == [None] * 20
    await net.mined(signed[-1].tx_hash)
    assert await net.count() == 20


async def test_no_batch_is_larger_than_a_node_takes(net: Network) -> None:
    """Sent whole, it would be refused whole."""
    rpc, signed = net.rpc(timeout_seconds=20), await net.signed(0)
    too_many = [signed.raw] * (BATCH_SIZE_MAX + 1)
    bodies = [{"jsonrpc": "2.0", "id": at, "method": "eth_chainId", "params": []} for at in range(len(too_many))]
    refused = await rpc._post(bodies)
    assert refused["error"]["code"] == -32005
    assert await rpc.send_many(too_many) == [None] * len(too_many)
    await net.mined(signed.tx_hash)
    assert await net.count() == 1
