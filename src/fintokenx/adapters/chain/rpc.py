"""Thin JSON-RPC over HTTP: several endpoints with failover, and the node's errors as data."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Final

import httpx

from fintokenx.lifecycle.tokenisation.ports import ChainUnavailable

BATCH_SIZE_MAX: Final = 1024
"""What Besu takes at once (--rpc-http-max-batch-size)."""


class RpcError(Exception):
    """The node understood and refused. ``data`` holds the revert bytes of an ``eth_call``."""

    def __init__(self, code: int, message: str, data: bytes) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(f"{code}: {message}")


_BETWEEN_BLOCKS_TRIES: Final = 5
_BETWEEN_BLOCKS_SECONDS: Final = 0.05
"""A node that is taking in a block may know its number before its state: asked for the latest it says that there is
none such. That is no refusal."""


class Rpc:
    """Calls the first endpoint that answers, staying with it until it fails. Numbers travel as hex (Besu insists)."""

    def __init__(self, urls: Sequence[str], *, timeout_seconds: float = 10.0) -> None:
        self._urls = list(urls)
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(timeout_seconds, connect=3.0), trust_env=False)
        self._request_ids = itertools.count(1)

    async def call(self, method: str, *parameters: Any) -> Any:
        """One call's result.

        :raises RpcError: the node refused
        :raises ChainUnavailable: no endpoint gave a useful answer
        """
        for _ in range(_BETWEEN_BLOCKS_TRIES):
            body = {"jsonrpc": "2.0", "id": next(self._request_ids), "method": method, "params": list(parameters)}
            answer = await self._post(body)
            if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
                raise ChainUnavailable("an answer that is not JSON-RPC")
            if (error := answer.get("error")) is None:
                return answer["result"]
            refusal = _error(error)
            if "BlockOutOfRange" not in refusal.message:
                raise refusal
            await asyncio.sleep(_BETWEEN_BLOCKS_SECONDS)
        raise ChainUnavailable("the node does not find its own latest block", outcome_unknown=False)

    async def call_many(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of many calls of one method, in order, sent in batches that Besu takes.

        :raises RpcError: the node refused one of them
        :raises ChainUnavailable: no endpoint gave a useful answer
        """
        results: list[Any] = []
        for start in range(0, len(parameters), BATCH_SIZE_MAX):
            results += await self._batch(method, parameters[start : start + BATCH_SIZE_MAX])
        return results

    async def _batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        bodies = [
            {"jsonrpc": "2.0", "id": next(self._request_ids), "method": method, "params": list(each)}
            for each in parameters
        ]
        answers = await self._post(bodies)
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise ChainUnavailable("an answer that is not a JSON-RPC batch")
        by_id = {answer.get("id"): answer for answer in answers}  # JSON-RPC 2.0 §6: they come in any order
        if refused := next((answer["error"] for answer in answers if answer.get("error") is not None), None):
            raise _error(refused)
        if any("result" not in by_id.get(body["id"], {}) for body in bodies):
            raise ChainUnavailable("a JSON-RPC batch with answers missing")
        return [by_id[body["id"]]["result"] for body in bodies]

    async def _post(self, body: Any) -> Any:
        fault: Exception | None = None
        for _ in range(len(self._urls)):
            try:
                response = await self._http.post(self._urls[0], json=body)
                response.raise_for_status()
                return response.json()
            except (httpx.HTTPError, ValueError) as failed:
                fault = failed
                self._urls.append(self._urls.pop(0))
        raise ChainUnavailable(type(fault).__name__) from fault

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _error(error: Any) -> RpcError:
    error = error if isinstance(error, dict) else {}
    data = error.get("data")
    if isinstance(data, dict):
        data = data.get("data")
    try:
        raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else b""
    except ValueError:
        raw = b""
    return RpcError(int(error.get("code", 0)), str(error.get("message", "")), raw)
