"""Besu's words on the wire: its errors by code and message, and anvil's refusals in them.

Read from hyperledger/besu 26.3 (RpcErrorType, JsonRpcExecutor, JsonRpcErrorConverter).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Error:
    """A refusal as a node spells it."""

    code: int
    message: str


class Refusal(Exception):
    """A node refuses the call; ``error`` is what it says."""

    def __init__(self, error: Error) -> None:
        self.error = error
        super().__init__(error.message)


PARSE_ERROR: Final = Error(-32700, "Parse error")
INVALID_REQUEST: Final = Error(-32600, "Invalid Request")
METHOD_NOT_FOUND: Final = Error(-32601, "Method not found")
METHOD_NOT_ENABLED: Final = Error(-32604, "Method not enabled")
INVALID_PARAMS: Final = Error(-32602, "Invalid params")
INVALID_BLOCK: Final = Error(-32602, "Invalid block, unable to parse RLP")
INVALID_BLOCK_NUMBER: Final = Error(-32602, "Invalid block number params")
INVALID_BLOCK_HASH: Final = Error(-32602, "Invalid block hash params")
INTERNAL_ERROR: Final = Error(-32603, "Internal error")
UNKNOWN_BLOCK: Final = Error(-39001, "Unknown block")
BATCH_TOO_LARGE: Final = Error(-32005, "Number of requests exceeds max batch size")
SENDER_NOT_PERMITTED: Final = Error(-32007, "Sender account not authorized to send transactions")
ALREADY_KNOWN: Final = Error(-32000, "Known transaction")
UNDERPRICED: Final = Error(-32000, "Replacement transaction underpriced")
NONCE_TOO_LOW: Final = Error(-32001, "Nonce too low")
NONCE_TOO_DISTANT: Final = Error(-32000, "Transaction nonce is too distant from current sender nonce")

BATCH_SIZE_MAX: Final = 1024
PENDING_MAX: Final = 200
"""--tx-pool-max-future-by-sender: a nonce that is so far ahead of the sender's mined count is refused."""

_ENABLED: Final = ("eth_", "net_", "web3_", "txpool_")
"""Beside ``ibft_``, of which the front knows the reading methods (deploy/besu: rpc-http-api)."""
_KNOWN: Final = ("admin_", "debug_", "ibft_", "miner_", "perm_", "plugins_", "qbft_", "trace_")
_ANVIL: Final = {
    "already imported": ALREADY_KNOWN,
    "already known": ALREADY_KNOWN,
    "nonce too low": NONCE_TOO_LOW,
    "underpriced": UNDERPRICED,
}


def refused(request_id: Any, error: Error) -> dict[str, Any]:
    """The answer that refuses."""
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": error.code, "message": error.message}}


def given(request_id: Any, result: Any) -> dict[str, Any]:
    """The answer that gives a result."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def must_be_offered(method: str) -> None:
    """:raises Refusal: a node does not answer this method. Anvil's own methods are unknown to Besu."""
    if not method.startswith(_ENABLED):
        raise Refusal(METHOD_NOT_ENABLED if method.startswith(_KNOWN) else METHOD_NOT_FOUND)


def in_besus_words(answer: dict[str, Any]) -> dict[str, Any]:
    """Anvil's answer, its refusals of a transaction spelled as Besu spells them."""
    error = answer.get("error")
    if not isinstance(error, dict):
        return answer
    said = str(error.get("message", "")).lower()
    for words, besu in _ANVIL.items():
        if words in said:
            return refused(answer.get("id"), besu)
    return answer
