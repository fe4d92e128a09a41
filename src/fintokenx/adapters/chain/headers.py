"""Is a block final? The commit seals in its header, recovered and counted against the validators (CH-01, CH-02)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import rlp
from coincurve import PublicKey
from eth_utils.address import is_checksum_address, to_checksum_address
from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak

from fintokenx.adapters.chain.bft import Consensus, ExtraData, Form, MalformedExtraData, decode, encode, quorum
from fintokenx.adapters.chain.evidence import EXTRA_DATA, AnotherHash, header_fields
from fintokenx.adapters.chain.signing import address_of
from fintokenx.kernel.errors import Refused

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SEAL_BYTES: Final = 65


class NotFinal(Refused):
    """The header does not show that the network agreed on the block."""

    code: ClassVar[str] = "BLOCK_NOT_FINAL"
    status: ClassVar[int] = 422


class BadValidatorSet(NotFinal):
    """The validators to check against are not a set of checksummed addresses."""

    code = "BAD_VALIDATOR_SET"


class HeaderMalformed(NotFinal):
    """The header or its extraData cannot be read as one of this protocol."""

    code = "HEADER_MALFORMED"


class GenesisHasNoSeals(NotFinal):
    """The first block is agreed on by its file, not by seals: compare its hash."""

    code = "GENESIS_HAS_NO_SEALS"


class HashDiffers(NotFinal):
    """The header's fields do not have the block's hash."""

    code = "HASH_DIFFERS"


class ValidatorsDiffer(NotFinal):
    """The header lists other validators than the network has, or lists them out of order."""

    code = "VALIDATORS_DIFFER"


class SealMalformed(NotFinal):
    """A seal is not a signature: 65 bytes, r and s within the order, v 0 or 1, a point that can be recovered."""

    code = "SEAL_MALFORMED"


class SealMalleable(NotFinal):
    """A seal has the high s, from which anybody could make it out of the true one."""

    code = "SEAL_MALLEABLE"


class SealDuplicated(NotFinal):
    """A validator's seal stands in the header twice."""

    code = "SEAL_DUPLICATED"


class SealOfStranger(NotFinal):
    """A seal is by no validator, or is not over this header."""

    code = "SEAL_OF_STRANGER"


class SealsTooFew(NotFinal):
    """Fewer validators sealed the block than the quorum."""

    code = "SEALS_TOO_FEW"


@dataclass(frozen=True, slots=True)
class Finality:
    """A block that the network agreed on, and who says so (checksummed, in the order of the seals)."""

    number: int
    block_hash: str
    round: int
    signers: tuple[str, ...]
    quorum: int
    validators: int


def verify(block: dict[str, Any], validators: Sequence[str], consensus: Consensus) -> Finality:
    """Who sealed ``block`` (as ``eth_getBlockBy…`` gives it), at least a quorum of distinct ``validators``.

    Every seal must hold, as Besu's BftCommitSealsValidationRule asks; beyond Besu, the high s is refused.

    :raises NotFinal: one of its subclasses, each naming one way to fail
    """
    members = _members(validators)
    number, data = _read(block, consensus)
    if number == 0:
        raise GenesisHasNoSeals()
    digest = seal_digest(block, data, consensus)
    if list(data.validators) != sorted(members):
        raise ValidatorsDiffer(f"it lists {len(data.validators)}, the network has {len(members)}")
    signers = [_signer(seal, digest) for seal in data.seals]
    needed = quorum(len(members))
    twice = [signer for signer, seals in Counter(signers).items() if seals > 1]
    if twice:
        raise SealDuplicated(to_checksum_address(twice[0]))
    strangers = [signer for signer in signers if signer not in members]
    if strangers:
        raise SealOfStranger(to_checksum_address(strangers[0]))
    if len(signers) < needed:
        raise SealsTooFew(f"{len(signers)} of {len(members)}; {needed} are needed")
    return Finality(
        number, str(block["hash"]).lower(), data.round, tuple(map(to_checksum_address, signers)), needed, len(members)
    )


def seal_digest(block: dict[str, Any], data: ExtraData, consensus: Consensus) -> bytes:
    """What validators sign: the hash of the header without seals (Besu: calculateDataHashForCommittedSeal).

    :raises HashDiffers: the fields are not those of the block's hash
    :raises HeaderMalformed: a field is missing or unreadable
    """
    try:
        # The block's hash tells which forks' fields belong to the header; the seals cover the same fields.
        fields = header_fields(block, [encode(consensus, data, Form.HASHED)])
    except AnotherHash as fault:
        raise HashDiffers(str(fault)) from None
    except (KeyError, TypeError, ValueError, AttributeError, rlp.EncodingError) as fault:
        raise HeaderMalformed(f"a field is missing or unreadable: {fault}") from None
    fields[EXTRA_DATA] = encode(consensus, data, Form.SIGNED)
    return keccak(rlp.encode(fields))


def _members(validators: Sequence[str]) -> set[bytes]:
    members = {to_bytes(hexstr=address) for address in validators if is_checksum_address(address)}
    if not members or len(members) != len(validators):
        raise BadValidatorSet("none, one twice, or one without its checksum")
    return members


def _read(block: dict[str, Any], consensus: Consensus) -> tuple[int, ExtraData]:
    try:
        return int(block["number"], 16), decode(consensus, to_bytes(hexstr=block["extraData"]))
    except MalformedExtraData as fault:
        raise HeaderMalformed(f"extraData: {fault}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise HeaderMalformed(f"a field is missing or unreadable: {fault}") from None


def _signer(seal: bytes, digest: bytes) -> bytes:
    if len(seal) != _SEAL_BYTES:
        raise SealMalformed(f"{len(seal)} bytes")
    r, s, v = int.from_bytes(seal[:32], "big"), int.from_bytes(seal[32:64], "big"), seal[64]
    if not (0 < r < _ORDER and 0 < s < _ORDER and v in {0, 1}):
        raise SealMalformed("a number out of its range")
    if s > _ORDER // 2:
        raise SealMalleable()
    try:
        key = PublicKey.from_signature_and_message(seal, digest, hasher=None)
    except Exception as fault:  # coincurve raises bare Exception where no point has that r
        raise SealMalformed("no key has this signature") from fault
    return to_bytes(hexstr=address_of(key.format(compressed=False)))
