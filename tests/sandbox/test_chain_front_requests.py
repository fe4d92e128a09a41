"""The front refuses what is no JSON-RPC 2.0 or not spelled as Ethereum's JSON-RPC wants it, over mTLS (A5, CH-03)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from fintokenx.adapters.chain import client_context
from tests.sandbox.front_house import SOMEBODY, Network, network

pytestmark = pytest.mark.anyio

HASH = "0x" + "ab" * 32


@pytest.fixture(scope="module")
async def node() -> AsyncIterator[httpx.AsyncClient]:
    async with network() as net, towards(net) as http:
        yield http


def towards(net: Network) -> httpx.AsyncClient:
    shown, _ = net.ours.save(net.folder / "shown")
    authorities = str(net.front.authorities)
    tls = client_context(authorities=authorities, certificate=str(shown), key_pem=net.ours.key_pem)
    return httpx.AsyncClient(base_url=net.front.urls[0], verify=tls, trust_env=False)


def asked(method: Any, *parameters: Any, **changed: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters), **changed}


async def test_each_request_that_is_none_has_its_error(node: httpx.AsyncClient) -> None:
    call = {"to": SOMEBODY, "data": "0x"}
    rows: list[tuple[Any, int]] = [
        (5, -32600),
        ([], -32600),
        ({}, -32600),
        (asked(7), -32600),
        (asked("eth_chainId", jsonrpc="1.0"), -32600),
        (asked("eth_chainId", jsonrpc=2), -32600),
        (asked("eth_chainId", id={}), -32600),
        (asked("eth_chainId", id=True), -32600),
        (asked("eth_chainId", params={}), -32602),
        (asked("eth_chainId", params=None), -32602),
        (asked("eth_getBlockByNumber", 1, False), -32602),
        (asked("eth_getBlockByNumber", "1", False), -32602),
        (asked("eth_getBlockByNumber", "0x", False), -32602),
        (asked("eth_getBlockByNumber", "0x01", False), -32602),
        (asked("eth_getBlockByNumber", "0X1", False), -32602),
        (asked("eth_getBlockByNumber", "newest", False), -32602),
        (asked("eth_getBlockByNumber"), -32602),
        (asked("eth_getTransactionCount", SOMEBODY[:-1], "latest"), -32602),
        (asked("eth_getTransactionCount", SOMEBODY[2:], "latest"), -32602),
        (asked("eth_getTransactionCount", SOMEBODY, 0), -32602),
        (asked("eth_getTransactionReceipt", HASH[:-2]), -32602),
        (asked("eth_getTransactionReceipt", None), -32602),
        (asked("eth_call", {**call, "data": "0x0"}, "latest"), -32602),
        (asked("eth_call", {**call, "value": "0x00"}, "latest"), -32602),
        (asked("eth_call", {**call, "gas": 21000}, "latest"), -32602),
        (asked("eth_call", "0x", "latest"), -32602),
        (asked("eth_getLogs", {"fromBlock": 0}), -32602),
        (asked("eth_getLogs", []), -32602),
        (asked("eth_sendRawTransaction", "02c0"), -32602),
        (asked("eth_sendRawTransaction", "0x02 c0"), -32602),
        (asked("eth_sendRawTransaction", "0x02c"), -32602),
        (asked("eth_sendRawTransaction", 2), -32602),
        (asked("eth_sendRawTransaction"), -32602),
        (asked("ibft_getValidatorsByBlockNumber", "0x01"), -32602),
        (asked("ibft_getValidatorsByBlockNumber", "-0x1"), -32602),
    ]
    for body, code in rows:
        answer = await node.post("/", json=body)
        assert (body, answer.json().get("error", {}).get("code")) == (body, code)
        assert answer.status_code == (400 if code == -32600 else 200)
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        answer = await node.post("/", content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)


async def test_a_notification_is_not_answered_and_a_batch_answers_the_others(node: httpx.AsyncClient) -> None:
    silent = {"jsonrpc": "2.0", "method": "eth_chainId", "params": []}
    alone, batch = await node.post("/", json=silent), await node.post("/", json=[silent, asked("eth_chainId"), 5])
    assert (alone.status_code, alone.content) == (200, b"")
    told = batch.json()
    assert [one.get("id") for one in told] == [7, None]
    assert (told[0]["result"], told[1]["error"]["code"]) == (hex(1981), -32600)
    assert (await node.post("/", content=json.dumps([silent]))).content == b""


async def test_another_method_or_path_is_refused(node: httpx.AsyncClient) -> None:
    answers = [await node.request(method, path) for method, path in (("PUT", "/"), ("DELETE", "/"), ("POST", "/rpc"))]
    assert [answer.status_code for answer in answers] == [405, 405, 404]
