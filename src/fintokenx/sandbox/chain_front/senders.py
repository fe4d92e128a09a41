"""Who signed a raw transaction, and with which nonce: legacy, EIP-2930 or EIP-1559."""

from __future__ import annotations

from typing import Any, Final

import rlp
from coincurve import PublicKey
from eth_utils.crypto import keccak

_TYPED_FIELDS: Final = {1: 8, 2: 9}
"""How many fields are signed, by transaction type; the parity and both halves of the signature follow them."""
_TYPED_NONCE_AT: Final = 1
"""After the chain's id; in a legacy transaction it comes first."""
_LEGACY_FIELDS: Final = 6
_EIP_155_FIRST: Final = 35


class UnreadableTransaction(ValueError):
    """The bytes are not a signed transaction of a kind that this network takes."""


def sender_and_nonce(raw: bytes) -> tuple[str, int]:
    """The sender's address in lower case and the nonce. :raises UnreadableTransaction: nobody can be named"""
    try:
        nonce, digest, parity, r, s = _legacy(raw) if raw[0] >= 0xC0 else _typed(raw)
        signature = r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([parity])
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception as fault:  # coincurve raises bare Exception where no point has that r
        raise UnreadableTransaction(str(fault)) from fault
    return "0x" + keccak(key.format(compressed=False)[1:])[-20:].hex(), nonce


def _typed(raw: bytes) -> tuple[int, bytes, int, bytes, bytes]:
    signed_fields = _TYPED_FIELDS[raw[0]]
    fields: list[Any] = rlp.decode(raw[1:])
    parity, r, s = fields[signed_fields:]
    digest = keccak(raw[:1] + rlp.encode(fields[:signed_fields]))
    return int.from_bytes(fields[_TYPED_NONCE_AT], "big"), digest, int.from_bytes(parity, "big"), r, s


def _legacy(raw: bytes) -> tuple[int, bytes, int, bytes, bytes]:
    fields: list[Any] = rlp.decode(raw)
    v, r, s = fields[_LEGACY_FIELDS:]
    number, nonce = int.from_bytes(v, "big"), int.from_bytes(fields[0], "big")
    signed = fields[:_LEGACY_FIELDS]
    if number >= _EIP_155_FIRST:
        chain_id, parity = divmod(number - _EIP_155_FIRST, 2)
        return nonce, keccak(rlp.encode([*signed, chain_id, 0, 0])), parity, r, s
    return nonce, keccak(rlp.encode(signed)), number - 27, r, s
