"""What a node answers: Besu's part here, everything else from anvil."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.chain_front import besu
from fintokenx.sandbox.chain_front.consortium import Consortium
from fintokenx.sandbox.chain_front.ibft import Ibft, Turns
from fintokenx.sandbox.chain_front.requests import is_data, is_notification, parameters_of
from fintokenx.sandbox.chain_front.senders import sender_and_nonce

SENDS: Final = "eth_sendRawTransaction"
RECEIPTS: Final = ("eth_getTransactionReceipt", "eth_getBlockReceipts")
_PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # anvil speaks plain HTTP on loopback; loading roots is slow


class Relay:
    """Between the nodes and anvil. One for all nodes: they show the same chain."""

    def __init__(self, anvil_url: str, consortium: Consortium, turns: Turns) -> None:
        self._anvil_url = anvil_url
        self._senders = consortium.senders
        self._ibft = Ibft(consortium, turns, self._ask)
        self._http = httpx.AsyncClient(timeout=10.0, trust_env=False, verify=_PLAIN)

    async def aclose(self) -> None:
        """Close the connections to anvil."""
        await self._http.aclose()

    async def answer(self, body: Any, *, peers: int) -> Any:
        """The answer to a request or a batch; ``peers`` is what ``net_peerCount`` says.

        None where nobody waits for one: a notification.

        :raises Unavailable: anvil gives no useful answer
        """
        if not isinstance(body, list):
            answer = (await self._answers([body], peers))[0]
            return None if is_notification(body) else answer
        if not body:
            return besu.refused(None, besu.INVALID_REQUEST)
        if len(body) > besu.BATCH_SIZE_MAX:
            return besu.refused(None, besu.BATCH_TOO_LARGE)
        answers = await self._answers(body, peers)
        return [told for asked, told in zip(body, answers, strict=True) if not is_notification(asked)] or None

    async def _answers(self, requests: list[Any], peers: int) -> list[Any]:
        counts: dict[str, int] = {}
        own = [await self._own(request, peers, counts) for request in requests]
        # Anvil, too, is silent where there is no id.
        passed = [{"id": None, **request} for request, answer in zip(requests, own, strict=True) if answer is None]
        others = iter(await self._forwarded(passed) if passed else [])
        return [besu.in_besus_words(next(others)) if answer is None else answer for answer in own]

    async def _own(self, request: Any, peers: int, counts: dict[str, int]) -> dict[str, Any] | None:
        """What a node says by itself; None where anvil is asked. ``counts`` are the senders' mined counts, as known."""
        try:
            parameters = parameters_of(request)
            if request["method"] == SENDS:
                await self._must_be_taken(parameters, counts)
                return None
            return await self._of_besu(request.get("id"), request["method"], parameters, peers)
        except besu.Refusal as refusal:
            known = isinstance(request, dict) and refusal.error is not besu.INVALID_REQUEST
            return besu.refused(request.get("id") if known else None, refusal.error)

    async def _of_besu(self, request_id: Any, method: str, parameters: list[Any], peers: int) -> dict[str, Any] | None:
        if method == "net_peerCount":
            return besu.given(request_id, hex(peers))
        if method in self._ibft.methods:
            return besu.given(request_id, await self._ibft.methods[method](parameters))
        besu.must_be_offered(method)
        return None

    async def _must_be_taken(self, parameters: list[Any], counts: dict[str, int]) -> None:
        """:raises Refusal: an unreadable transaction, a sender without permission, or a nonce too far ahead"""
        try:
            if len(parameters) != 1 or not is_data(parameters[0]):
                raise ValueError("no DATA")
            sender, nonce = sender_and_nonce(bytes.fromhex(parameters[0][2:]))
        except ValueError:
            raise besu.Refusal(besu.INVALID_PARAMS) from None
        if sender not in self._senders:
            raise besu.Refusal(besu.SENDER_NOT_PERMITTED)
        if sender not in counts:
            counts[sender] = int(await self._ask("eth_getTransactionCount", [sender, "latest"]), 16)
        if nonce >= counts[sender] + besu.PENDING_MAX:
            raise besu.Refusal(besu.NONCE_TOO_DISTANT)

    async def _forwarded(self, requests: list[Any]) -> list[dict[str, Any]]:
        answers = await self._post(requests)
        if not isinstance(answers, list) or len(answers) != len(requests):
            raise Unavailable("chain", "anvil's answer is no batch")
        for request, answer in zip(requests, answers, strict=True):
            if request["method"] in RECEIPTS:
                await self._tell_why(answer.get("result"))
        return answers

    async def _tell_why(self, found: Any) -> None:
        """Besu keeps a revert's bytes in the receipt (deploy/besu: revert-reason-enabled), anvil in its trace."""
        for receipt in found if isinstance(found, list) else [found]:
            if receipt is not None and receipt["status"] == "0x0":
                trace = await self._ask("debug_traceTransaction", [receipt["transactionHash"]])
                receipt["revertReason"] = trace["returnValue"]

    async def _ask(self, method: str, parameters: list[Any]) -> Any:
        answer = await self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        if "result" not in answer:
            raise Unavailable("chain", f"anvil refuses {method}")
        return answer["result"]

    async def _post(self, body: Any) -> Any:
        try:
            return (await self._http.post(self._anvil_url, json=body)).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as fault:
            raise Unavailable("chain", "no useful answer from anvil") from fault
