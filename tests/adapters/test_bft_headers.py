"""Finality read from headers: Besu's own vectors, then headers that seven keys seal here.

The vectors are those of hyperledger/besu at 3fd224e (Apache-2.0): IbftExtraDataRLPEncoderTest, QbftExtraDataCodecTest,
OperatorSubCommandTest, RLPSubCommandTest and BftHelpersTest. The header, keys and vote of BftBlockHashingTest stand
here too; that test has no hash in it, so the signing digest is put together here a second time, by hand.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import rlp
from coincurve import PrivateKey
from eth_utils.crypto import keccak

from fintokenx.adapters.chain import headers
from fintokenx.adapters.chain.bft import (
    Consensus,
    ExtraData,
    Form,
    MalformedExtraData,
    Vote,
    decode,
    encode,
    genesis_extra_data,
    quorum,
    round_change_quorum,
)  # fmt: skip
from fintokenx.adapters.chain.evidence import header_bytes
from fintokenx.adapters.chain.signing import address_of

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
IBFT2, QBFT = Consensus.IBFT2, Consensus.QBFT
ONE, TWO = bytes(19) + b"\x01", bytes(19) + b"\x02"
SEALS = (bytes(31) + b"\x01" + bytes(31) + b"\x0a" + b"\x00", bytes(31) + b"\x0a" + bytes(31) + b"\x01" + b"\x00")
BESU = ExtraData(bytes(range(1, 33)), (ONE, TWO), Vote(ONE, add=True), 0x00FEDCBA, SEALS)
_SEALS_HEX = f"f886b841{'00' * 31}01{'00' * 31}0a00b841{'00' * 31}0a{'00' * 31}0100"  # r = 1, s = 10 and r = 10, s = 1
_START = "a0" + bytes(range(1, 33)).hex() + f"ea94{ONE.hex()}94{TWO.hex()}d794{ONE.hex()}81ff"
RAW = {IBFT2: f"f8f1{_START}8400fedcba{_SEALS_HEX}", QBFT: f"f8f0{_START}83fedcba{_SEALS_HEX}"}
GENESIS = [
    (IBFT2, "be068f726a13c8d46c44be6ce9d275600e1735a4 5ff6f4b66a46a2b2310a6f3a93aaddc0d9a1c193", "808400000000c0"),
    (QBFT, "be068f726a13c8d46c44be6ce9d275600e1735a4 5ff6f4b66a46a2b2310a6f3a93aaddc0d9a1c193", "c080c0"),
    (IBFT2, "d5feb0fc5a54a89f97aeb34c3df15397c19f6dd2 d6a9a4c886eb008ac307abdc1f38745c1dd13a88", "808400000000c0"),
    (QBFT, "d5feb0fc5a54a89f97aeb34c3df15397c19f6dd2 d6a9a4c886eb008ac307abdc1f38745c1dd13a88", "c080c0"),
]

KEYS = [PrivateKey.from_int(number) for number in range(1, 8)]
STRANGER = PrivateKey.from_int(8)
VALIDATORS = [address_of(key.public_key.format(compressed=False)) for key in KEYS]
LISTED = tuple(sorted(bytes.fromhex(address[2:]) for address in VALIDATORS))
FIELDS = [
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "difficulty",
    "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas", "withdrawalsRoot",
]  # fmt: skip
HEADER = [
    bytes.fromhex("a7762d3307dbf2ae6a1ae1b09cf61c7603722b2379731b6b90409cdb8c8288a0"),
    bytes.fromhex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"),
    bytes(20),
    bytes.fromhex("ca07595b82f908822971b7e848398e3395e59ee52565c7ef3603df1a1fa7bc80"),
    *[bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")] * 2,
    bytes(256), 1, 1, 4704588, 0, 1530674616, b"",
    bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"), bytes(8),
    0, bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"),
]  # fmt: skip
"""BftBlockHashingTest's header, with the two fields that London and Shanghai added."""


def hashed(fields: list[Any], extra: list[Any]) -> bytes:
    return keccak(rlp.encode([*fields[:12], rlp.encode(extra), *fields[13:]]))


def extra_of(consensus: Consensus, round_number: int) -> tuple[list[Any], list[Any]]:
    """What is signed and what is hashed, put together here by hand."""
    start = [bytes(32), list(LISTED)]
    if consensus is IBFT2:
        return [*start, b"", round_number.to_bytes(4, "big")], [*start, b""]
    return [*start, [], round_number, []], [*start, [], 0, []]


def block_of(
    consensus: Consensus, seals: list[bytes], round_number: int = 0, fields: list[Any] | None = None
) -> dict[str, Any]:
    """As a node answers."""
    fields = fields or HEADER
    signed, under_hash = extra_of(consensus, round_number)
    whole = [*(signed if consensus is IBFT2 else signed[:4]), seals]
    values = [*fields[:12], rlp.encode(whole), *fields[13:]]
    texts = [hex(value) if isinstance(value, int) else "0x" + value.hex() for value in values]
    return {**dict(zip(FIELDS, texts, strict=False)), "hash": "0x" + hashed(fields, under_hash).hex()}


def sealed(
    consensus: Consensus, keys: list[PrivateKey], round_number: int = 0, fields: list[Any] | None = None
) -> dict[str, Any]:
    digest = hashed(fields or HEADER, extra_of(consensus, round_number)[0])
    return block_of(consensus, [key.sign_recoverable(digest, hasher=None) for key in keys], round_number, fields)


both = pytest.mark.parametrize("consensus", [IBFT2, QBFT])


@both
def test_besus_vectors_are_read_and_written(consensus: Consensus) -> None:
    assert encode(consensus, BESU).hex() == RAW[consensus]
    assert decode(consensus, bytes.fromhex(RAW[consensus])) == BESU


@pytest.mark.parametrize(("consensus", "validators", "end"), GENESIS)
def test_besus_genesis_vectors_are_reproduced(consensus: Consensus, validators: str, end: str) -> None:
    """Besu writes the addresses in the order given; ours are always ascending, as every later header must have them."""
    addresses = tuple(bytes.fromhex(address) for address in validators.split())
    start = "f853" if consensus is IBFT2 else "f84f"
    wanted = f"{start}a0{'00' * 32}ea" + "".join("94" + address.hex() for address in addresses) + end
    assert encode(consensus, ExtraData(bytes(32), addresses, None, 0, ())).hex() == wanted
    generated = genesis_extra_data(consensus, addresses)
    assert decode(consensus, generated).validators == tuple(sorted(addresses))
    assert (generated.hex() == wanted) == (list(addresses) == sorted(addresses))


def test_the_quorum_is_besus() -> None:
    besus = {1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 7: 5, 10: 7, 15: 10, 20: 14}
    assert {validators: quorum(validators) for validators in besus} == besus
    besus = {4: 2, 6: 2, 7: 3, 9: 3, 10: 4, 13: 5, 15: 5}
    assert {validators: round_change_quorum(validators) for validators in besus} == besus


@pytest.mark.parametrize(
    ("consensus", "parts", "said"),
    [
        (IBFT2, [bytes(32), [], b"", b"\xfe\xdc\xba", []], "four bytes"),
        (QBFT, [bytes(32), [], [], b"\x00\xdc", []], "scalar"),
        (QBFT, [bytes(32), [], [], b"\xff" * 4, []], "negative"),
        (QBFT, [bytes(32), [], [], [], []], "round is a list"),
        (IBFT2, [bytes(32), [], [], bytes(4), []], "an address and a kind"),
        (QBFT, [bytes(32), [], b"", b"", []], "an address and a kind"),
        (IBFT2, [bytes(32), [], [ONE, b"\xaa"], bytes(4), []], "neither adds nor drops"),
        (QBFT, [bytes(32), [], [ONE, b"\xaa"], b"", []], "neither adds nor drops"),
        (IBFT2, [bytes(32), [], [ONE, b""], bytes(4), []], "neither adds nor drops"),
        (IBFT2, [bytes(31), [], b"", bytes(4), []], "32 bytes"),
        (QBFT, [bytes(32), [b"short"], [], b"", []], "list of addresses"),
        (QBFT, [bytes(32), [], [], b"", [[b""]]], "list of byte strings"),
        (QBFT, [bytes(32), [], [], b"", [], b"\x01"], "five parts"),
        (IBFT2, [bytes(32), [], b"", bytes(4)], "five parts"),
    ],
)
def test_what_besu_refuses_to_read_is_not_read(consensus: Consensus, parts: list[Any], said: str) -> None:
    with pytest.raises(MalformedExtraData, match=said):
        decode(consensus, rlp.encode(parts))


@pytest.mark.parametrize("content", ["", "c0", "80", "ff", RAW[QBFT] + "00", RAW[QBFT][:-2]])
def test_what_is_no_rlp_of_five_parts_is_not_read(content: str) -> None:
    with pytest.raises(MalformedExtraData):
        decode(QBFT, bytes.fromhex(content))


def test_votes_survive_and_qbfts_drop_is_the_empty_string() -> None:
    for consensus, vote in itertools.product(Consensus, [None, Vote(ONE, add=True), Vote(ONE, add=False)]):
        data = ExtraData(bytes(32), (ONE,), vote, 2, ())
        assert decode(consensus, encode(consensus, data)) == data
    assert rlp.decode(encode(QBFT, ExtraData(bytes(32), (), Vote(ONE, add=False), 0, ())))[2][1] == b""
    assert rlp.decode(encode(IBFT2, ExtraData(bytes(32), (), Vote(ONE, add=False), 0, ())))[2][1] == b"\x00"


@both
def test_every_subset_of_seven_is_final_from_five_on(consensus: Consensus) -> None:
    digest = hashed(HEADER, extra_of(consensus, 0)[0])
    seals = [key.sign_recoverable(digest, hasher=None) for key in KEYS]
    for size in range(8):
        for chosen in itertools.combinations(range(7), size):
            block = block_of(consensus, [seals[index] for index in chosen])
            if size < 5:
                with pytest.raises(headers.SealsTooFew, match=f"{size} of 7; 5 are needed"):
                    headers.verify(block, VALIDATORS, consensus)
            else:
                found = headers.verify(block, VALIDATORS, consensus)
                assert found.signers == tuple(VALIDATORS[index] for index in chosen)
                assert (found.number, found.quorum, found.validators) == (1, 5, 7)


@both
def test_a_later_round_is_signed_but_not_hashed(consensus: Consensus) -> None:
    first, later = sealed(consensus, KEYS, 0), sealed(consensus, KEYS, 3)
    assert first["hash"] == later["hash"]
    assert headers.verify(later, VALIDATORS, consensus).round == 3
    with pytest.raises(headers.SealOfStranger):  # seals of round 0 under the header of round 3
        headers.verify(
            block_of(consensus, list(decode(consensus, bytes.fromhex(first["extraData"][2:])).seals), 3),
            VALIDATORS, consensus,
        )  # fmt: skip
    assert keccak(header_bytes(later)).hex() == later["hash"][2:]


@both
@pytest.mark.parametrize("field", range(17))
def test_no_field_of_a_sealed_header_can_be_changed(consensus: Consensus, field: int) -> None:
    """Without the hash it is another hash; with the hash made anew, the seals are over another header."""
    if FIELDS[field] == "extraData":
        changed: list[Any] = HEADER
        forged = sealed(consensus, KEYS)
        parts = rlp.decode(bytes.fromhex(forged["extraData"][2:]))
        parts[0] = b"\x01" + bytes(31)
        forged["extraData"] = "0x" + rlp.encode(parts).hex()
    else:
        value = HEADER[field]
        other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        changed = [*HEADER[:field], other, *HEADER[field + 1 :]]
        text = hex(other) if isinstance(other, int) else "0x" + other.hex()
        forged = {**sealed(consensus, KEYS), FIELDS[field]: text}
    with pytest.raises(headers.HashDiffers):
        headers.verify(forged, VALIDATORS, consensus)
    if FIELDS[field] == "extraData":
        data = decode(consensus, bytes.fromhex(forged["extraData"][2:]))
        under = [*HEADER[:12], encode(consensus, data, Form.HASHED), *HEADER[13:]]
        forged["hash"] = "0x" + keccak(rlp.encode(under)).hex()
    else:
        seals = list(decode(consensus, bytes.fromhex(forged["extraData"][2:])).seals)
        forged = block_of(consensus, seals, 0, changed)
    with pytest.raises((headers.SealOfStranger, headers.SealMalformed)):
        headers.verify(forged, VALIDATORS, consensus)


@both
def test_fields_of_older_forks_only_are_verified_too(consensus: Consensus) -> None:
    assert len(headers.verify(sealed(consensus, KEYS, 0, HEADER[:15]), VALIDATORS, consensus).signers) == 7


@both
def test_each_way_to_cheat_has_its_name(consensus: Consensus) -> None:
    digest = hashed(HEADER, extra_of(consensus, 0)[0])
    good = [key.sign_recoverable(digest, hasher=None) for key in KEYS]
    s = int.from_bytes(good[4][32:64], "big")
    high = good[4][:32] + (ORDER - s).to_bytes(32, "big") + bytes([good[4][64] ^ 1])
    no_point = (5).to_bytes(32, "big") + good[4][32:]  # x = 5 is on no point of secp256k1
    cases: list[tuple[type[headers.NotFinal], list[bytes]]] = [
        (headers.SealDuplicated, [*good[:5], good[0]]),
        (headers.SealDuplicated, [good[0]] * 5),
        (headers.SealOfStranger, [*good[:5], STRANGER.sign_recoverable(digest, hasher=None)]),
        (headers.SealMalleable, [*good[:4], high]),
        (headers.SealMalleable, [*good[:5], high]),  # the same signature again, in its other form
        (headers.SealMalformed, [*good[:4], no_point]),
        (headers.SealMalformed, [*good[:4], good[4][:64]]),
        (headers.SealMalformed, [*good[:4], good[4][:64] + b"\x1b"]),
        (headers.SealMalformed, [*good[:4], good[4][:64] + b"\x02"]),
        (headers.SealMalformed, [*good[:4], bytes(32) + good[4][32:]]),
        (headers.SealMalformed, [*good[:4], good[4][:32] + bytes(32) + good[4][64:]]),
        (headers.SealMalformed, [*good[:4], ORDER.to_bytes(32, "big") + good[4][32:]]),
        (headers.SealsTooFew, []),
    ]
    for refusal, seals in cases:
        with pytest.raises(refusal):
            headers.verify(block_of(consensus, seals), VALIDATORS, consensus)


@both
def test_other_validators_and_other_protocols_are_refused(consensus: Consensus) -> None:
    block = sealed(consensus, KEYS)
    with pytest.raises(headers.ValidatorsDiffer):
        headers.verify(block, VALIDATORS[:6], consensus)
    with pytest.raises(headers.HeaderMalformed):
        headers.verify(block, VALIDATORS, QBFT if consensus is IBFT2 else IBFT2)
    with pytest.raises(headers.HeaderMalformed):
        headers.verify({**block, "extraData": "0x"}, VALIDATORS, consensus)
    for field in [*FIELDS[:15], "hash"]:
        with pytest.raises(headers.HeaderMalformed):
            headers.verify({name: block[name] for name in block if name != field}, VALIDATORS, consensus)
        for unreadable in (None, "0xzz", 7):
            with pytest.raises(headers.HeaderMalformed):
                headers.verify({**block, field: unreadable}, VALIDATORS, consensus)
    with pytest.raises(headers.GenesisHasNoSeals):
        headers.verify({**block, "number": "0x0"}, VALIDATORS, consensus)
    bad_sets = [[], [*VALIDATORS, VALIDATORS[0]], [VALIDATORS[0].lower(), *VALIDATORS[1:]], ["0x12"]]
    for bad in bad_sets:
        with pytest.raises(headers.BadValidatorSet):
            headers.verify(block, bad, consensus)


@both
def test_validators_out_of_order_are_refused(consensus: Consensus) -> None:
    data = ExtraData(bytes(32), LISTED[::-1], None, 0, ())
    digest = keccak(rlp.encode([*HEADER[:12], encode(consensus, data, Form.SIGNED), *HEADER[13:]]))
    seals = tuple(key.sign_recoverable(digest, hasher=None) for key in KEYS)
    block = block_of(consensus, [])
    block["extraData"] = "0x" + encode(consensus, ExtraData(bytes(32), LISTED[::-1], None, 0, seals)).hex()
    under = [*HEADER[:12], encode(consensus, data, Form.HASHED), *HEADER[13:]]
    block["hash"] = "0x" + keccak(rlp.encode(under)).hex()
    with pytest.raises(headers.ValidatorsDiffer):
        headers.verify(block, VALIDATORS, consensus)
