"""The front over anvil: who is let in, who may send, what its nodes say, and when its blocks stop (CH-01, CH-03)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from fintokenx.adapters.chain import client_context
from fintokenx.adapters.chain.deployment import MINTER
from fintokenx.adapters.chain.network import read
from fintokenx.adapters.chain.rpc import RpcError
from fintokenx.adapters.chain.signing import Unsigned, sign
from fintokenx.kernel.clock import SystemClock
from fintokenx.sandbox.anvil import CHAIN_ID
from fintokenx.sandbox.chain_front import Certificate, UnknownNode, self_signed
from fintokenx.sandbox.chain_front.certificates import known_clients_only, listed
from fintokenx.sandbox.chain_front.senders import UnreadableTransaction, sender_and_nonce
from tests.sandbox.front_house import PLAN, Network, network

pytestmark = pytest.mark.anyio


@pytest.fixture
async def net() -> AsyncIterator[Network]:
    async with network() as running:
        yield running


ASKED = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
REQUEST = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(ASKED)}\r\n\r\n{ASKED}".encode()


def towards(net: Network, shown: Certificate | None) -> ssl.SSLContext:
    path = str(shown.save(net.folder / "shown")[0]) if shown else ""
    key_pem = shown.key_pem if shown else ""
    return client_context(authorities=str(net.front.authorities), certificate=path, key_pem=key_pem)


def meets(net: Network, shown: Certificate | None) -> str:
    """Shake hands with the first node and ask it something; its answer.

    In TLS 1.3 a client is done before the node has judged its certificate: what fails is its first reading. (asyncio
    closes without the alert that Besu would send.)
    """
    port = urlsplit(net.front.urls[0]).port or 0
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        towards(net, shown).wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
    ):
        tls.sendall(REQUEST)
        return tls.recv(4096).decode()


def node_says(net: Network, shown: Certificate | None) -> str:
    """What a node's TLS says of a certificate within the handshake; empty when it lets it in."""
    known = listed(f"{net.ours.common_name} {net.ours.fingerprint}\n", [net.ours.pem, net.unlisted.pem])
    name = net.front.names[0]
    context = known_clients_only(net.folder / "front" / f"{name}.crt", net.folder / "front" / f"{name}.key", known)
    to_node, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = towards(net, shown).wrap_bio(to_client, to_node, server_hostname="localhost")
    node = context.wrap_bio(to_node, to_client, server_side=True)
    for end in (client, node, client, node):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as refusal:
            return str(refusal.reason)
    return ""


async def test_a_known_client_is_answered(net: Network) -> None:
    assert "200 OK" in await asyncio.to_thread(meets, net, net.ours)
    assert node_says(net, net.ours) == ""
    assert await net.rpc().call("eth_chainId") == hex(1981)


async def test_a_client_without_a_certificate_fails_the_handshake(net: Network) -> None:
    assert node_says(net, None) == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(meets, net, None)


async def test_an_unknown_certificate_fails_the_handshake(net: Network) -> None:
    """Also one of the same common name, and one whose certificate the front has but the list has not."""
    now = SystemClock().now()
    for stranger in (self_signed("stranger.test", now), self_signed(net.ours.common_name, now), net.unlisted):
        assert node_says(net, stranger) == "CERTIFICATE_VERIFY_FAILED"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(meets, net, stranger)


async def test_plain_http_gets_nothing(net: Network) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(net.front.urls[0]).port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert b"HTTP" not in await reader.read()
    writer.close()


async def test_a_sender_who_is_not_permitted_is_refused_in_besus_words(net: Network) -> None:
    rpc = net.rpc()
    foreign = await net.signed(0, key="wallet/test/stranger")
    with pytest.raises(RpcError) as refusal:
        await rpc.send(foreign.raw)
    assert (refusal.value.code, refusal.value.message) == (
        -32007,
        "Sender account not authorized to send transactions",
    )
    with pytest.raises(RpcError) as refusal:
        await rpc.call("eth_sendRawTransaction", "0x02deadbeef")
    assert refusal.value.code == -32602
    permitted = await net.signed(0)
    assert await rpc.send(permitted.raw) == permitted.tx_hash
    await net.mined(permitted.tx_hash)
    assert await net.count("wallet/test/stranger") == 0


async def test_a_transaction_twice_is_told_apart_from_a_new_one_as_besu_does(net: Network) -> None:
    await net.front.switch_off(*net.front.names[4:])  # so that it stays in the pool
    rpc, signed = net.rpc(), await net.signed(0)
    raw = "0x" + signed.raw.hex()
    assert await rpc.call("eth_sendRawTransaction", raw) == signed.tx_hash
    with pytest.raises(RpcError, match="Known transaction"):
        await rpc.call("eth_sendRawTransaction", raw)
    await net.front.switch_on(*net.front.names)
    await net.mined(signed.tx_hash)
    with pytest.raises(RpcError, match="Nonce too low") as refusal:
        await rpc.call("eth_sendRawTransaction", raw)
    assert refusal.value.code == -32001


REVERTS = bytes.fromhex("63deadbeef5f526004601cfd")
"""PUSH4 deadbeef PUSH0 MSTORE PUSH1 4 PUSH1 28 REVERT, as a contract's creation."""


async def test_a_receipt_says_why_a_transaction_was_reverted_and_nothing_of_others(net: Network) -> None:
    """As revert-reason-enabled does it."""
    creates = Unsigned(CHAIN_ID, 0, 100_000, None, REVERTS)
    refused = (await sign(net.vault, MINTER, creates)).raw
    taken = (await net.signed(1)).raw
    hashes = [await net.rpc().send(raw) for raw in (refused, taken)]
    for tx_hash in hashes:
        await net.mined(tx_hash)
    [bad, good] = await net.rpc().call_many("eth_getTransactionReceipt", [[tx_hash] for tx_hash in hashes])
    assert (bad["status"], bad["revertReason"]) == ("0x0", "0xdeadbeef")
    assert good["status"] == "0x1"
    assert "revertReason" not in good
    assert await net.rpc().call("eth_getTransactionReceipt", "0x" + "00" * 32) is None
    assert bad in await net.rpc().call("eth_getBlockReceipts", bad["blockNumber"])


async def test_ibft_answers_have_besus_shapes(net: Network) -> None:
    await net.anvil.control.call("anvil_mine", "0x3")
    rpc = net.rpc()
    validators = sorted(validator.address.lower() for validator in read(PLAN).validators)
    assert await rpc.call("ibft_getValidatorsByBlockNumber", "latest") == validators
    assert await rpc.call("ibft_getValidatorsByBlockNumber", "0x1") == validators
    assert await rpc.call("ibft_getValidatorsByBlockNumber", "0xffffff") is None
    block = await rpc.call("eth_getBlockByNumber", "0x1", False)
    assert await rpc.call("ibft_getValidatorsByBlockHash", block["hash"]) == validators
    assert await rpc.call("ibft_getPendingVotes") == {}
    metrics = await rpc.call("ibft_getSignerMetrics", "0x1", "0x2")
    assert sorted(metric["address"] for metric in metrics) == validators
    assert sorted(metric["proposedBlockCount"] for metric in metrics) == ["0x0"] * 6 + ["0x1"]
    assert all(set(metric) == {"address", "proposedBlockCount", "lastProposedBlockNumber"} for metric in metrics)
    assert [metric["lastProposedBlockNumber"] for metric in metrics if metric["proposedBlockCount"] == "0x1"] == ["0x1"]
    for method, parameters, code in (
        ("ibft_getValidatorsByBlockNumber", [], -32602),
        ("ibft_getValidatorsByBlockNumber", ["finalized"], -39001),
        ("ibft_getSignerMetrics", ["0x2", "0x1"], -32602),
        ("ibft_proposeValidatorVote", [validators[0], True], -32604),
        ("qbft_getPendingVotes", [], -32604),
    ):
        with pytest.raises(RpcError) as refusal:
            await rpc.call(method, *parameters)
        assert (method, refusal.value.code) == (method, code)


async def test_a_node_that_is_down_proposes_nothing_and_is_nobodys_peer(net: Network) -> None:
    rpc, down = net.rpc(), net.front.names[6]
    assert await rpc.call("net_peerCount") == "0x6"
    await net.front.switch_off(down)
    assert await rpc.call("net_peerCount") == "0x5"
    first = (await net.anvil.control.head()).number + 1
    await net.anvil.control.call("anvil_mine", "0x8")
    metrics = await rpc.call("ibft_getSignerMetrics", hex(first), hex(first + 6))
    silent = [metric["address"] for metric in metrics if metric["proposedBlockCount"] == "0x0"]
    assert silent == [validator.address.lower() for validator in read(PLAN).validators if validator.name == down]


async def test_what_besu_does_not_offer_its_nodes_do_not_either(net: Network) -> None:
    rpc = net.rpc()
    for method, code in (("evm_mine", -32601), ("anvil_setBalance", -32601), ("admin_peers", -32604)):
        with pytest.raises(RpcError) as refusal:
            await rpc.call(method)
        assert (method, refusal.value.code) == (method, code)


async def test_a_batch_is_answered_in_order_whoever_answers(net: Network) -> None:
    rpc = net.rpc()
    numbers = [["0x0"], ["0xffffff"], ["latest"]]
    found = await rpc.call_many("ibft_getValidatorsByBlockNumber", numbers)
    assert [answer is None for answer in found] == [False, True, False]
    blocks = await rpc.call_many("eth_getBlockByNumber", [["0x0", False], ["0xffffff", False]])
    assert (blocks[0]["number"], blocks[1]) == ("0x0", None)


async def test_with_three_of_seven_down_blocks_stop_and_with_five_up_they_go_on(net: Network) -> None:
    """CH-01: two may be down. What is sent meanwhile waits, and is mined once."""
    names = net.front.names
    await net.front.switch_off(*names[5:])
    await net.next_block()
    await net.front.switch_off(names[4])
    assert not net.front.has_quorum
    assert await net.blocks_stand_still()
    rpc = net.rpc()
    sent = [await rpc.send((await net.signed(nonce)).raw) for nonce in range(3)]
    assert await net.count() == 0
    await net.front.switch_on(names[6])
    await net.next_block()
    assert await net.count() == 3
    blocks = [await net.mined(tx_hash) for tx_hash in sent]
    assert blocks == sorted(blocks)
    assert await net.count() == 3


async def test_a_node_that_is_down_refuses_and_comes_back_on_its_port(net: Network) -> None:
    name, before = net.front.names[0], net.front.urls
    rpc = net.rpc(urls=before[:1])
    await rpc.call("eth_chainId")
    await net.front.switch_off(name)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", urlsplit(before[0]).port)
    await net.front.switch_off(name)
    await net.front.switch_on(name)
    assert net.front.urls == before
    assert await rpc.call("eth_chainId") == hex(1981)


async def test_a_name_that_nobody_has_is_refused(net: Network) -> None:
    with pytest.raises(UnknownNode):
        await net.front.switch_off("nobody")
    with pytest.raises(UnknownNode):
        net.front.lose_answers("nobody")
    assert len(net.front.up) == 7


def test_bytes_that_nobody_signed_have_no_sender() -> None:
    for raw in (b"", b"\x05", b"\x02\xc0", b"\xc0", b"\xf8" * 40):
        with pytest.raises(UnreadableTransaction):
            sender_and_nonce(raw)


FREE = {"gasPrice": 0}


@pytest.mark.parametrize(
    "kind",
    [
        FREE,
        {**FREE, "chainId": 1981},
        {**FREE, "chainId": 1981, "accessList": [], "type": 1},
        {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "chainId": 1981, "type": 2},
    ],
)
def test_senders_are_found_in_every_kind_of_transaction(kind: dict[str, object]) -> None:
    """Against another implementation."""
    from eth_account import Account

    account = Account.from_key(b"\x07" * 32)
    fields = {"nonce": 3, "gas": 21_000, "to": "0x" + "11" * 20, "value": 0, "data": b"", **kind}
    raw = bytes(account.sign_transaction(fields).raw_transaction)
    assert sender_and_nonce(raw) == (account.address.lower(), 3)
