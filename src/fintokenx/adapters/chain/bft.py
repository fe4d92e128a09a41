"""What IBFT 2.0 and QBFT agree on before a block is final: the quorum, and the extraData that carries the seals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final

import rlp

VANITY_BYTES: Final = 32
ADDRESS_BYTES: Final = 20
_IBFT_ROUND_BYTES: Final = 4
_SCALAR_BYTES_MAX: Final = 4
_ADD: Final = b"\xff"
_IBFT_DROP: Final = b"\x00"


class Consensus(StrEnum):
    """The protocols Besu offers to a permissioned network; QBFT is the one its documentation recommends today."""

    IBFT2 = "ibft2"
    QBFT = "qbft"


class Form(Enum):
    """How much of extraData stands in a header, by what the header is for (Besu: BftExtraDataCodec.EncodingType)."""

    WHOLE = "as it is sent"
    SIGNED = "as validators sign it: no seals"
    HASHED = "as the block's hash covers it: no seals and no round"


class MalformedExtraData(ValueError):
    """Raised where extraData is not that of the protocol; the text says which part."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A proposer's vote on one validator."""

    recipient: bytes
    add: bool


@dataclass(frozen=True, slots=True)
class ExtraData:
    """The decoded field; ``seals`` are r, s and v of 65 bytes each where they are well formed."""

    vanity: bytes
    validators: tuple[bytes, ...]
    vote: Vote | None
    round: int
    seals: tuple[bytes, ...]


def quorum(validators: int) -> int:
    """The seals that make a block final: ⌈2n/3⌉ (Besu: BftHelpers.calculateRequiredValidatorQuorum); 5 of 7 (CH-01)."""
    return -(-2 * validators // 3)


def round_change_quorum(validators: int) -> int:
    """The messages that move a validator to a later round (Besu: BftHelpers.calculateRequiredFutureRCQuorum)."""
    return (validators - 1) // 3 + 1


def genesis_extra_data(consensus: Consensus, validators: Sequence[bytes]) -> bytes:
    """The field of block 0: empty vanity, validators in ascending order, no vote, round 0, no seals.

    Besu refuses every later header whose validators are not ascending (BftValidatorsValidationRule).
    """
    return encode(consensus, ExtraData(bytes(VANITY_BYTES), tuple(sorted(validators)), None, 0, ()))


def encode(consensus: Consensus, data: ExtraData, form: Form = Form.WHOLE) -> bytes:
    """The RLP of the field (Besu: IbftExtraDataCodec, QbftExtraDataCodec)."""
    parts: list[Any] = [data.vanity, list(data.validators), _vote(consensus, data.vote)]
    if consensus is Consensus.IBFT2:
        # IBFT 2.0 leaves out what it does not cover and writes the round in four bytes.
        if form is not Form.HASHED:
            parts.append(data.round.to_bytes(_IBFT_ROUND_BYTES, "big"))
        if form is Form.WHOLE:
            parts.append(list(data.seals))
    else:
        # QBFT keeps the places, with zero and an empty list in them, and writes the round as a scalar.
        parts.append(0 if form is Form.HASHED else data.round)
        parts.append(list(data.seals) if form is Form.WHOLE else [])
    return bytes(rlp.encode(parts))


def decode(consensus: Consensus, content: bytes) -> ExtraData:
    """The field, read strictly. :raises MalformedExtraData: naming the part that is wrong"""
    try:
        parts = rlp.decode(content)
    except rlp.DecodingError as fault:
        raise MalformedExtraData(f"it is not RLP: {fault}") from None
    if not isinstance(parts, list) or len(parts) != 5:
        raise MalformedExtraData("it is not a list of five parts")
    vanity, validators, vote, round_bytes, seals = parts
    if not isinstance(vanity, bytes) or len(vanity) != VANITY_BYTES:
        raise MalformedExtraData("the vanity is not 32 bytes")
    if not _are_bytes(validators) or any(len(validator) != ADDRESS_BYTES for validator in validators):
        raise MalformedExtraData("the validators are not a list of addresses")
    if not _are_bytes(seals):
        raise MalformedExtraData("the seals are not a list of byte strings")
    return ExtraData(
        vanity, tuple(validators), _read_vote(consensus, vote), _read_round(consensus, round_bytes), tuple(seals)
    )


def _vote(consensus: Consensus, vote: Vote | None) -> Any:
    if consensus is Consensus.IBFT2:
        return b"" if vote is None else [vote.recipient, _ADD if vote.add else _IBFT_DROP]
    return [] if vote is None else [vote.recipient, _ADD if vote.add else b""]


def _read_vote(consensus: Consensus, value: Any) -> Vote | None:
    if value == (b"" if consensus is Consensus.IBFT2 else []):
        return None
    if not _are_bytes(value) or len(value) != 2 or len(value[0]) != ADDRESS_BYTES:
        raise MalformedExtraData("the vote is not an address and a kind")
    # Besu also reads QBFT's drop from a zero byte, but writes and signs the empty string.
    drops = (_IBFT_DROP,) if consensus is Consensus.IBFT2 else (b"", _IBFT_DROP)
    if value[1] != _ADD and value[1] not in drops:
        raise MalformedExtraData("the vote neither adds nor drops")
    return Vote(value[0], value[1] == _ADD)


def _read_round(consensus: Consensus, value: Any) -> int:
    if not isinstance(value, bytes):
        raise MalformedExtraData("the round is a list")
    if consensus is Consensus.IBFT2 and len(value) != _IBFT_ROUND_BYTES:
        raise MalformedExtraData("the round is not four bytes")
    if consensus is Consensus.QBFT and (len(value) > _SCALAR_BYTES_MAX or value.startswith(b"\x00")):
        raise MalformedExtraData("the round is not a scalar")
    found = int.from_bytes(value, "big")
    if found >= 1 << 31:
        raise MalformedExtraData("the round is negative")
    return found


def _are_bytes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, bytes) for item in value)
