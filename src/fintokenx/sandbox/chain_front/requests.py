"""What is a request, and how its parameters are spelled.

JSON-RPC 2.0, 4 and 6; Ethereum JSON-RPC, "Hex value encoding".

A QUANTITY is ``0x`` and the fewest digits (zero is ``0x0``); DATA is ``0x`` and two digits an octet. Anvil is laxer in
both, and Besu in some: a client that passes here is understood by every node.
"""

from __future__ import annotations

import re
from typing import Any, Final

from fintokenx.sandbox.chain_front import besu

_QUANTITY: Final = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]*)", re.ASCII)
_DATA: Final = re.compile(r"0x([0-9a-fA-F]{2})*", re.ASCII)
_TAGS: Final = ("latest", "earliest", "pending", "safe", "finalized")
_ADDRESS, _HASH = 20, 32

_ADDRESSES: Final = {"eth_getBalance": 0, "eth_getTransactionCount": 0, "eth_getCode": 0, "eth_getStorageAt": 0}
_HASHES: Final = {"eth_getTransactionByHash": 0, "eth_getTransactionReceipt": 0, "eth_getBlockByHash": 0}
_BLOCKS: Final = {
    "eth_getBalance": 1, "eth_getTransactionCount": 1, "eth_getCode": 1, "eth_getStorageAt": 2, "eth_call": 1,
    "eth_estimateGas": 1, "eth_getBlockByNumber": 0, "eth_getBlockReceipts": 0,
}  # fmt: skip
_CALLS: Final = ("eth_call", "eth_estimateGas")
_CALL_QUANTITIES: Final = ("gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "value", "nonce", "chainId")


def parameters_of(request: Any) -> list[Any]:
    """The parameters of a request.

    :raises Refusal: it is no request of JSON-RPC 2.0, or its parameters are not a list or not spelled as they must be
    """
    if not isinstance(request, dict) or not isinstance(request.get("method"), str) or request.get("jsonrpc") != "2.0":
        raise besu.Refusal(besu.INVALID_REQUEST)
    if type(request.get("id")) not in (str, int, float, type(None)):
        raise besu.Refusal(besu.INVALID_REQUEST)
    parameters = request.get("params", [])
    if not isinstance(parameters, list):
        raise besu.Refusal(besu.INVALID_PARAMS)
    if not _are_spelled(request["method"], parameters):
        raise besu.Refusal(besu.INVALID_PARAMS)
    return parameters


def is_notification(request: Any) -> bool:
    """Whether nobody waits for the answer: a request without an id (4.1)."""
    return isinstance(request, dict) and isinstance(request.get("method"), str) and "id" not in request


def is_quantity(value: Any) -> bool:
    """Whether it is a QUANTITY."""
    return isinstance(value, str) and bool(_QUANTITY.fullmatch(value))


def is_data(value: Any, octets: int | None = None) -> bool:
    """Whether it is DATA, of so many octets."""
    return isinstance(value, str) and bool(_DATA.fullmatch(value)) and octets in (None, len(value) // 2 - 1)


def _are_spelled(method: str, parameters: list[Any]) -> bool:
    at = {place: parameters[place] if len(parameters) > place else None for place in range(3)}
    if method in _ADDRESSES and not is_data(at[_ADDRESSES[method]], _ADDRESS):
        return False
    if method in _HASHES and not is_data(at[_HASHES[method]], _HASH):
        return False
    if method in _BLOCKS and not _is_block(at[_BLOCKS[method]], optional=_BLOCKS[method] > 0):
        return False
    if method in _CALLS:
        return _is_call(at[0])
    return method != "eth_getLogs" or _is_filter(at[0])


def _is_block(value: Any, *, optional: bool) -> bool:
    if value is None:
        return optional
    return isinstance(value, dict) or value in _TAGS or is_quantity(value) or is_data(value, _HASH)


def _is_call(value: Any) -> bool:
    if not isinstance(value, dict) or not all(is_quantity(value[name]) for name in _CALL_QUANTITIES if name in value):
        return False
    if not all(is_data(value[name], _ADDRESS) for name in ("from", "to") if value.get(name) is not None):
        return False
    return all(is_data(value[name]) for name in ("data", "input") if value.get(name) is not None)


def _is_filter(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return all(_is_block(value[name], optional=True) for name in ("fromBlock", "toBlock") if name in value)
