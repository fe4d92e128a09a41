"""Canonical JSON (RFC 8785): the bytes that are hashed. Integers at most 2^53 − 1, no floats, UTC instants as text."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Any

import rfc8785

from fintokenx.kernel.clock import to_wire
from fintokenx.kernel.money import Pence


def plain(value: Any) -> Any:
    """Reduce domain values to JSON's own: pence to integers, instants to text, bytes to ``\\x…`` (as Postgres does).

    :raises TypeError: a float or anything else that has no exact spelling
    """
    plain_value: Any
    match value:
        case Enum():
            plain_value = plain(value.value)
        case None | bool() | str() | int():
            plain_value = value
        case Pence():
            plain_value = value.value
        case datetime():
            plain_value = to_wire(value)
        case date():
            plain_value = value.isoformat()
        case bytes():
            plain_value = "\\x" + value.hex()
        case dict():
            plain_value = {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            plain_value = [plain(item) for item in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical spelling")
    return plain_value


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of ``plain(value)``. :raises rfc8785.CanonicalizationError: an integer beyond ±(2^53 − 1)"""
    return rfc8785.dumps(plain(value))
