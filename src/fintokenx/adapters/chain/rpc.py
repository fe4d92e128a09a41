"""Thin JSON-RPC over HTTP: several endpoints with failover, and the node's errors as data."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Sequence
from typing import Any, Final

import httpx
import structlog
from eth_utils.crypto import keccak

from fintokenx.lifecycle.chainwork.ports import ChainUnavailable

log = structlog.get_logger("fintokenx.chain")

BATCH_SIZE_MAX: Final = 1024
"""What Besu takes at once (--rpc-http-max-batch-size)."""

SENT_AT_ONCE: Final = 100
"""Transactions of one request. A node works through a request one by one and through several side by side; which nonce
comes first is then no matter, since it keeps 200 of a sender until their turn."""


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


_SENT_BEFORE: Final = ("already known", "already imported", "known transaction", "nonce too low")


class Rpc:
    """Calls the first endpoint that answers, staying with it until it fails. Numbers travel as hex (Besu insists).

    ``tls`` is for endpoints that ask for our certificate (:func:`adapters.chain.tls.client_context`); without it, the
    usual trust.
    """

    def __init__(
        self, urls: Sequence[str], *, timeout_seconds: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._urls = tuple(urls)
        self._preferred = 0
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_seconds, connect=3.0), trust_env=False, verify=tls or True
        )
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

    async def send(self, raw: bytes) -> str:
        """Broadcast a signed transaction; its hash. The same bytes may reach any number of nodes: they count once.

        A node that has these bytes already, or has the nonce behind it, may only have lost its answer to us. So what it
        says is not believed either way: the transaction is looked up by its hash.

        :raises RpcError: the node refused, and no such transaction is known
        :raises ChainUnavailable: no endpoint gave a useful answer; one of them may have taken it
        """
        tx_hash = "0x" + keccak(raw).hex()
        try:
            await self.call("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as refusal:
            if not _perhaps_sent(refusal) or await self.call("eth_getTransactionByHash", tx_hash) is None:
                raise
        return tx_hash

    async def send_many(self, raws: Sequence[bytes]) -> list[RpcError | None]:
        """Broadcast signed transactions in their order; for each the node's refusal, or None when the node has it.

        As with :meth:`send`, what a node says of one that it may have already is not believed but looked up.

        :raises ChainUnavailable: no endpoint gave a useful answer; one of them may have taken any of them
        """
        parts = [raws[start : start + SENT_AT_ONCE] for start in range(0, len(raws), SENT_AT_ONCE)]
        sent = await asyncio.gather(*map(self._send_part, parts), return_exceptions=True)
        answers: list[Any | RpcError] = []
        for part in sent:  # all have ended: what is unknown of one must not hide that another is still under way
            if isinstance(part, BaseException):
                raise part
            answers += part
        refusals = [answer if isinstance(answer, RpcError) else None for answer in answers]
        doubted = [at for at, refusal in enumerate(refusals) if refusal is not None and _perhaps_sent(refusal)]
        known = await self.call_each("eth_getTransactionByHash", [("0x" + keccak(raws[at]).hex(),) for at in doubted])
        for at, found in zip(doubted, known, strict=True):
            if isinstance(found, dict):
                refusals[at] = None
        return refusals

    async def _send_part(self, raws: Sequence[bytes]) -> list[Any | RpcError]:
        return await self.call_each("eth_sendRawTransaction", [("0x" + raw.hex(),) for raw in raws])

    async def call_many(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of many calls of one method, in order.

        :raises RpcError: the node refused one of them
        :raises ChainUnavailable: no endpoint gave a useful answer
        """
        answers = await self.call_each(method, parameters)
        if refused := next((answer for answer in answers if isinstance(answer, RpcError)), None):
            raise refused
        return answers

    async def call_each(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any | RpcError]:
        """The result or the refusal of each of many calls of one method, in order, sent in batches that Besu takes.

        :raises ChainUnavailable: no endpoint gave a useful answer
        """
        answers: list[Any | RpcError] = []
        for start in range(0, len(parameters), BATCH_SIZE_MAX):
            answers += await self._batch(method, parameters[start : start + BATCH_SIZE_MAX])
        return answers

    async def _batch(self, method: str, parameters: Sequence[Sequence[Any]]) -> list[Any | RpcError]:
        bodies = [
            {"jsonrpc": "2.0", "id": next(self._request_ids), "method": method, "params": list(each)}
            for each in parameters
        ]
        answers = await self._post(bodies)
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise ChainUnavailable("an answer that is not a JSON-RPC batch")
        by_id = {answer.get("id"): answer for answer in answers}  # JSON-RPC 2.0 §6: they come in any order
        given = [by_id.get(body["id"], {}) for body in bodies]
        if any(not {"result", "error"} & answer.keys() for answer in given):
            raise ChainUnavailable("a JSON-RPC batch with answers missing")
        return [answer["result"] if answer.get("error") is None else _error(answer["error"]) for answer in given]

    async def _post(self, body: Any) -> Any:
        """The answer of the first endpoint that gives a useful one, each asked once.

        Asking another after an unknown outcome is safe for all that is sent here: reads, and raw transactions.
        """
        faults: list[Exception] = []
        begin = self._preferred
        for at in (*range(begin, len(self._urls)), *range(begin)):
            try:
                response = await self._http.post(self._urls[at], json=body)
                response.raise_for_status()
                return response.json()
            except (httpx.HTTPError, ValueError) as fault:
                log.warning("chain_endpoint_failed", endpoint=at + 1, of=len(self._urls), fault=_said(fault))
                faults.append(fault)
                if self._preferred == at:  # or another call has moved on already
                    self._preferred = (at + 1) % len(self._urls)
        said = ", ".join(dict.fromkeys(map(_said, faults)))
        raise ChainUnavailable(
            f"none of {len(self._urls)} endpoints gives a useful answer ({said})",
            outcome_unknown=not all(isinstance(fault, httpx.ConnectError | httpx.ConnectTimeout) for fault in faults),
        ) from (faults[-1] if faults else None)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _perhaps_sent(refusal: RpcError) -> bool:
    """Whether the node may mean these very bytes."""
    return any(words in refusal.message.lower() for words in _SENT_BEFORE)


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


def _said(fault: Exception) -> str:
    """What is wrong with an endpoint in a word or two; a certificate that is refused hides deep in its causes."""
    if isinstance(fault, httpx.HTTPStatusError):
        return f"HTTP {fault.response.status_code}"
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS {cause.reason or type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    return type(fault).__name__
