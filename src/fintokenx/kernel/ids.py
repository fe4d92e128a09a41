"""Prefixed, time-ordered ids and the short references that people type (P-23)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from fintokenx.kernel.clock import Clock

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U to misread."""

ID_PATTERN: Final = r"^[a-z]{2,4}_[0-9a-hjkmnp-tv-z]{26}$"
INVOICE_REFERENCE_PATTERN: Final = r"^FXI-[0-9A-HJKMNP-TV-Z]{7}$"
TOKEN_REFERENCE_PATTERN: Final = r"^FXR-INV-[0-9A-HJKMNP-TV-Z]{5,7}$"

Entropy = Callable[[int], bytes]
"""Returns that many random bytes; ``os.urandom`` outside tests."""


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


class Ids:
    """Makes ids such as ``dis_01jd…`` out of a UUIDv7 (RFC 9562 §5.7): sortable by time, opaque otherwise."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy

    def new(self, prefix: str) -> str:
        """A fresh id: prefix, underscore, 26 lower-case base-32 characters."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        random_bits = int.from_bytes(self._entropy(10), "big")
        uuid = (
            (milliseconds & (2**48 - 1)) << 80
            | 0x7 << 76
            | ((random_bits >> 62) & 0xFFF) << 64
            | 0b10 << 62
            | (random_bits & (2**62 - 1))
        )
        return f"{prefix}_{_base32(uuid, 26).lower()}"

    def secret(self, prefix: str) -> str:
        """256 random bits behind a prefix, for API keys and magic links; shown once, stored as a hash."""
        return f"{prefix}_{self._entropy(32).hex()}"

    def digits(self, length: int) -> str:
        """Random decimal digits, for codes that people type."""
        return str(int.from_bytes(self._entropy(16), "big") % 10**length).zfill(length)


def _permute(number: int, half_bits: int, key: bytes) -> int:
    """A keyed bijection on ``2 × half_bits`` bits (four Feistel rounds): references do not count aloud (TI-06)."""
    mask = (1 << half_bits) - 1
    left, right = number >> half_bits, number & mask
    for round_number in range(4):
        block = hashlib.sha256(key + bytes([round_number, half_bits]) + right.to_bytes(8, "big")).digest()
        left, right = right, left ^ (int.from_bytes(block[:8], "big") & mask)
    return left << half_bits | right


def _code(number: int, lengths: tuple[int, ...], key: bytes) -> str:
    """A code for the ``number``-th thing ever. Unique for ever: a bijection per length, each number used once."""
    start = 0
    for length in lengths:
        bits = length * 5 - (length * 5) % 2
        if number - start < 1 << bits:
            return _base32(_permute(number - start, bits // 2, key), length)
        start += 1 << bits
    raise OverflowError("the reference space is used up")


def invoice_reference(number: int, key: bytes) -> str:
    """``FXI-`` + 7: fits the 18 characters that reach a payee through Faster Payments."""
    return "FXI-" + _code(number, (7,), key)


def token_reference(number: int, key: bytes) -> str:
    """``FXR-INV-`` + 5, growing to 7 (TK-07). Never reused: numbers come from a sequence (TK-06)."""
    return "FXR-INV-" + _code(number, (5, 6, 7), key)
