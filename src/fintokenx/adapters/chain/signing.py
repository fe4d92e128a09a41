"""EIP-1559 transactions, encoded here and signed by the vault: no private key ever enters this process's memory."""

from __future__ import annotations

from dataclasses import dataclass

import rlp
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak

from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.ports import SignedTransaction

_TYPE_1559 = b"\x02"


def address_of(public_key: bytes) -> str:
    """The checksummed address of an uncompressed public key."""
    return to_checksum_address(keccak(public_key[1:])[-20:])


def selector(signature: str) -> bytes:
    """The four bytes of ``name(type,…)``."""
    return keccak(text=signature)[:4]


def calldata(signature: str, *arguments: object) -> bytes:
    """Encoded call of ``name(type,…)``."""
    types = signature[signature.index("(") + 1 : -1]
    return selector(signature) + encode(types.split(",") if types else [], arguments)


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A transaction before its signature. ``to`` is None for a deployment. Gas is free on this network (TK-15)."""

    chain_id: int
    nonce: int
    gas: int
    to: str | None
    data: bytes

    def _fields(self) -> list[object]:
        to = to_bytes(hexstr=self.to) if self.to else b""
        return [self.chain_id, self.nonce, 0, 0, self.gas, to, 0, self.data, []]

    def digest(self) -> bytes:
        """What is signed (EIP-1559)."""
        return keccak(_TYPE_1559 + rlp.encode(self._fields()))

    def with_signature(self, r: int, s: int, y_parity: int) -> bytes:
        """The bytes to broadcast."""
        return bytes(_TYPE_1559 + rlp.encode([*self._fields(), y_parity, r, s]))


async def sign(vault: Vault, key_name: str, unsigned: Unsigned) -> SignedTransaction:
    """Signed by the named key. A vault in a file gives the same bytes again for the same call and nonce; a token draws
    another nonce for the signature, so what was sent is known by its kept bytes only."""
    sender = address_of(await vault.ensure_secp256k1(key_name))
    r, s, y_parity = await vault.sign_secp256k1(key_name, unsigned.digest())
    raw = unsigned.with_signature(r, s, y_parity)
    return SignedTransaction(sender, unsigned.nonce, "0x" + keccak(raw).hex(), raw)
