"""FXAuditAnchor: audit's ``Anchors`` port over JSON-RPC."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from eth_utils.conversions import to_bytes

from fintokenx.adapters.chain.deployment import ANCHORER, Deployment
from fintokenx.adapters.chain.evidence import ANCHORED, receipt_of
from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, sign
from fintokenx.audit.ports import AnchorOnChain, AnchorReceipt
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable, NotInABlock

_GAS: Final = 200_000
_KEPT: Final = 22
"""Bytes of each root in the contract's state; the whole root is in the event of its block."""
_POLL_SECONDS: Final = 0.25
_SENT_BEFORE: Final = ("known", "imported", "underpriced", "nonce too low")


class AnchorClient:
    """Publishes and reads anchors. The contract itself refuses a second or a smaller one."""

    def __init__(self, rpc: Rpc, vault: Vault, deployment: Deployment, *, wait_seconds: float = 20.0) -> None:
        self._rpc = rpc
        self._vault = vault
        self._to = deployment
        self._polls = int(wait_seconds / _POLL_SECONDS)

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> AnchorOnChain:
        """Anchor, once. The nonce is the mined count, so a repeat while the first one waits cannot anchor twice.

        :raises ValueError: the chain holds other values for this batch
        :raises NotInABlock: no block within the wait; calling again is safe
        :raises ChainUnavailable: no node; calling again is safe
        """
        if (standing := await self._same_or_none(batch_id, tree_size, root)) is not None:
            return standing
        sender = address_of(await self._vault.ensure_secp256k1(ANCHORER))
        nonce = int(await self._call("eth_getTransactionCount", sender, "latest"), 16)
        data = calldata("anchor(uint256,uint256,bytes32)", batch_id, tree_size, root)
        unsigned = Unsigned(self._to.chain_id, nonce, _GAS, self._to.audit_anchor, data)
        signed = await sign(self._vault, ANCHORER, unsigned)
        try:
            await self._rpc.send(signed.raw)
        except RpcError as refusal:
            # A token signs the repeat with other bytes, which the node refuses in favour of those that wait.
            if not any(words in refusal.message.lower() for words in _SENT_BEFORE):
                raise ChainUnavailable(f"the node refused the anchor ({refusal.code})") from refusal
        for _ in range(self._polls):
            if await self._call("eth_getTransactionReceipt", signed.tx_hash) is not None:
                break
            if (standing := await self._same_or_none(batch_id, tree_size, root)) is not None:
                return standing
            await asyncio.sleep(_POLL_SECONDS)
        if (standing := await self._same_or_none(batch_id, tree_size, root)) is not None:
            return standing
        raise NotInABlock(f"no block took the anchor in {self._polls * _POLL_SECONDS:g} s")

    async def read(self, batch_id: int) -> AnchorOnChain | None:
        """The anchor of a batch.

        :raises ChainUnavailable: no node, or one that holds the anchor without the event that tells its whole root
        """
        tree_size, prefix, block_number = (await self._view("anchors(uint256)", batch_id))[:3]
        if tree_size == 0:
            return None
        for log in await self._logs(batch_id, block_number):
            told_size, root = (to_bytes(hexstr=log["data"])[at : at + 32] for at in (0, 32))
            if int.from_bytes(told_size, "big") == tree_size and root[:_KEPT] == prefix.to_bytes(32, "big")[:_KEPT]:
                return AnchorOnChain(batch_id, tree_size, root, block_number, str(log["transactionHash"]))
        raise ChainUnavailable("the node does not have the anchor's event", outcome_unknown=False)

    async def latest(self) -> AnchorOnChain | None:
        """The newest anchor."""
        batch_id = (await self._view("latest()"))[0]
        return await self.read(batch_id) if batch_id else None

    async def receipt(self, anchor: AnchorOnChain) -> AnchorReceipt:
        """The proof of an anchor against the hash of its block."""
        return await receipt_of(self._rpc, self._to.chain_id, self._to.audit_anchor, anchor)

    async def _same_or_none(self, batch_id: int, tree_size: int, root: bytes) -> AnchorOnChain | None:
        standing = await self.read(batch_id)
        if standing is not None and (standing.tree_size, standing.root) != (tree_size, root):
            raise ValueError(f"batch {batch_id} is anchored with other values")
        return standing

    async def _logs(self, batch_id: int, block_number: int) -> list[dict[str, Any]]:
        wanted = {
            "address": self._to.audit_anchor,
            "topics": [ANCHORED, "0x" + batch_id.to_bytes(32, "big").hex()],
            "fromBlock": hex(block_number),
            "toBlock": hex(block_number),
        }
        return list(await self._call("eth_getLogs", wanted))

    async def _view(self, signature: str, *arguments: object) -> list[int]:
        call = {"to": self._to.audit_anchor, "data": "0x" + calldata(signature, *arguments).hex()}
        content = to_bytes(hexstr=await self._call("eth_call", call, "latest"))
        if len(content) < 96:
            raise ChainUnavailable("no FXAuditAnchor on this network", outcome_unknown=False)
        return [int.from_bytes(content[i : i + 32], "big") for i in range(0, len(content), 32)]

    async def _call(self, method: str, *parameters: object) -> Any:
        try:
            return await self._rpc.call(method, *parameters)
        except RpcError as refusal:
            raise ChainUnavailable(f"{method} refused ({refusal.code})", outcome_unknown=False) from refusal
