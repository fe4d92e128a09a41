"""The verifier against the vectors of the standards that it implements, and against libraries that others wrote."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rfc8785
import rlp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from fintokenx.audit.types import Entry
from fintokenx.kernel.canonical import canonical_json

HERE = Path(__file__).parent
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
MERKLE: dict[str, Any] = json.loads((HERE / "vectors" / "merkle.json").read_text())
ENTRIES: list[dict[str, Any]] = json.loads((HERE.parent / "audit" / "vectors.json").read_text())["vectors"]


def b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def hexes(*texts: str) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


# ── RFC 6962 and RFC 9162: the vectors of transparency-dev/merkle, which Trillian and Tessera use


def hash_of(fxverify: ModuleType, text: str) -> bytes:
    """As the verifier reads one."""
    return bytes(fxverify.HASH(b64(text).hex(), "x"))


def inclusion_holds(fxverify: ModuleType, vector: dict[str, Any]) -> bool:
    try:
        path = [hash_of(fxverify, node) for node in vector["proof"] or ()]
        leaf = hash_of(fxverify, vector["leafHash"])
        root = fxverify.inclusion_root(leaf, vector["leafIdx"], vector["treeSize"], path, "x")
    except (fxverify.Untrue, fxverify.Unreadable):
        return False
    return bool(root == b64(vector["root"]))


@pytest.mark.parametrize("vector", MERKLE["inclusion"], ids=lambda v: v["file"].removeprefix("testdata/inclusion/"))
def test_inclusion_vectors(fxverify: ModuleType, vector: dict[str, Any]) -> None:
    assert inclusion_holds(fxverify, vector) is not vector["wantErr"]


@pytest.mark.parametrize("vector", MERKLE["consistency"], ids=lambda v: v["file"].removeprefix("testdata/consistency/"))
def test_consistency_vectors(fxverify: ModuleType, vector: dict[str, Any]) -> None:
    path = [b64(node) for node in vector["proof"] or ()]
    check = (vector["size1"], b64(vector["root1"]), vector["size2"], b64(vector["root2"]), path)
    if vector["wantErr"]:
        with pytest.raises((fxverify.Untrue, fxverify.Unreadable)):
            fxverify.check_consistency(*check)
    else:
        fxverify.check_consistency(*check)


def test_the_eight_leaves_of_certificate_transparency(fxverify: ModuleType) -> None:
    """The leaves and roots of the reference tests, hashed by the verifier itself."""
    leaves = hexes("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    nodes = [fxverify.leaf_hash(leaf) for leaf in leaves]
    assert nodes[0].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    while len(nodes) > 1:
        nodes = [fxverify.node_hash(*nodes[at : at + 2]) for at in range(0, len(nodes), 2)]
    assert nodes[0].hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


# ── Entries: tests/audit/vectors.json (AD-05)


def test_the_frozen_entries_hash_as_they_were_frozen(fxverify: ModuleType) -> None:
    """Some of them hold diffs that show a spelling and are no diff, so they are not read as entries here."""
    assert len(ENTRIES) >= 11
    for vector in ENTRIES:
        assert fxverify.leaf_hash(vector["canonical"].encode()).hex() == vector["hash"], vector["title"]
        assert fxverify.canonical({**vector["entry"], "v": 1}) == vector["canonical"]
        assert fxverify.canonical(fxverify.read_json(vector["canonical"], "x")) == vector["canonical"]


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ROWS = st.lists(
    st.builds(lambda row: {"op": "insert", "table": "app.t", "row": row}, st.dictionaries(TEXT, VALUES, max_size=4)),
    max_size=3,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seq=st.integers(1, 2**40), names=st.lists(NAMES, min_size=6, max_size=6), behalf=st.none() | NAMES, rows=ROWS,
       at=st.integers(0, 10**17).map(lambda us: EPOCH + timedelta(microseconds=us)),
       before=st.binary(min_size=32, max_size=32))  # fmt: skip
def test_a_hundred_entries_of_the_product_hash_alike(
    fxverify: ModuleType,
    seq: int,
    names: list[str],
    behalf: str | None,
    rows: list[Any],
    at: datetime,
    before: bytes,
) -> None:
    """AD-05: what the product writes and hashes, a reader who shares no code with it reads and hashes."""
    diff = canonical_json({"facts": [{"fact": names[0]}], "rows": rows}).decode()
    entry = Entry(
        seq=seq, id="aud_01kt3rzam0e77vw540gwf44hg9", timestamp=at, action=names[0], actor=names[1],
        actor_role=names[2], on_behalf_of=behalf, tenant_id=names[3], resource=names[4], request_id=names[5],
        diff=diff, prev_hash=before, hash=bytes(32), merkle_batch_id=7,
    )  # fmt: skip
    content = entry.canonical_bytes()
    _, members = fxverify.read_entry(content.decode(), "x")
    assert (members["seq"], members["actor"], members["prev_hash"]) == (seq, names[1], before)
    assert fxverify.leaf_hash(content) == entry.recomputed_hash()


# ── RFC 8785


@pytest.mark.parametrize(("text", "canonical"), [
    (r'"\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/"', r'"€$\u000f\nA' + "'" + r'B\"\\\\\"/"'),  # §3.2.2
    ("[56, {\"d\":true, \"10\":null, \"1\":[ ]}]", '[56,{"1":[],"10":null,"d":true}]'),
    ('{"peach":"x","péché":"y","pêche":"z","sin":"w"}', '{"peach":"x","péché":"y","pêche":"z","sin":"w"}'),
    ((r'{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",'
     r'"\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}'),
     ('{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",'
     '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}')),  # §3.2.3
], ids=["strings", "arrays", "french", "utf-16 order"])  # fmt: skip
def test_rfc_8785_vectors(fxverify: ModuleType, text: str, canonical: str) -> None:
    assert fxverify.canonical(fxverify.read_json(text, "x")) == canonical
    assert rfc8785.dumps(json.loads(text)).decode() == canonical, "and another library says the same"


@settings(max_examples=300, deadline=None)
@given(value=VALUES)
def test_canonical_form_is_that_of_another_library(fxverify: ModuleType, value: Any) -> None:
    assert fxverify.canonical(value) == rfc8785.dumps(value).decode()
    assert fxverify.read_json(json.dumps(value), "x") == value


# ── RFC 8032

SHA_ABC = hashlib.sha512(b"abc").digest()
RFC_8032 = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", b"",
     ("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
     "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", b"\x72",
     ("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", b"\xaf\x82",
     ("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
     "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a")),
    ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf", SHA_ABC,
     ("dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
     "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704")),
]  # fmt: skip
L = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""Every spelling of a point of small order: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", table 6b."""


@pytest.mark.parametrize(("seed", "key", "message", "signature"), RFC_8032, ids=["1", "2", "3", "SHA(abc)"])
def test_rfc_8032_vectors(fxverify: ModuleType, seed: str, key: str, message: bytes, signature: str) -> None:
    point, made = hexes(key, signature)
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    assert (private.public_key().public_bytes_raw(), private.sign(message)) == (point, made)
    assert fxverify.signature_holds(point, message, made)
    assert not fxverify.signature_holds(point, message + b"x", made)
    for at in range(0, 512, 7):
        flipped = bytearray(made)
        flipped[at // 8] ^= 1 << at % 8
        assert not fxverify.signature_holds(point, message, bytes(flipped))
    for more in (L, 2 * L, 2**255):
        s = int.from_bytes(made[32:], "little") + more
        assert not fxverify.signature_holds(point, message, made[:32] + s.to_bytes(33, "little")[:32])
    for length in (0, 32, 63, 65):
        assert not fxverify.signature_holds(point, message, (made + b"\0")[:length])


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_keys_of_small_order_or_of_another_spelling_are_refused(fxverify: ModuleType, key: str) -> None:
    """Under such a key the signature (A, 0) fits many messages."""
    point = bytes.fromhex(key)
    assert fxverify.public_key(point) is None
    for r in SMALL_ORDER:
        assert not fxverify.signature_holds(point, b"m", bytes.fromhex(r) + bytes(32))


def test_points_off_the_curve_and_beyond_the_prime_are_refused(fxverify: ModuleType) -> None:
    assert fxverify.public_key((2).to_bytes(32, "little")) is None
    for y in range(19):
        assert fxverify.public_key((2**255 - 19 + y).to_bytes(32, "little")) is None
    assert fxverify.public_key(b"\xff" * 32) is None


@settings(max_examples=60, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), bit=st.integers(0, 511))
def test_signatures_are_judged_as_by_openssl(fxverify: ModuleType, seed: bytes, message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert fxverify.signature_holds(key, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not fxverify.signature_holds(key, message, bytes(flipped))
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key).verify(bytes(flipped), message)


# ── C2SP signed-note and tlog-checkpoint

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT_OF_PETER = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
BY_PETER = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
BY_ENOCH = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def test_the_example_of_c2sp_signed_note_is_accepted(fxverify: ModuleType) -> None:
    key = fxverify.Key(EXAMPLE_KEY, "x")
    assert fxverify.signed_text(EXAMPLE, [key], "The note")[0] == "This is an example message.\n"


@pytest.mark.parametrize("signatures", [BY_PETER, BY_PETER + BY_ENOCH, BY_ENOCH + BY_PETER, BY_PETER * 2])
def test_notes_of_go_are_accepted(fxverify: ModuleType, signatures: str) -> None:
    """golang.org/x/mod/sumdb/note: what its Open accepts under Peter's key, Enoch's being unknown."""
    key = fxverify.Key(PETER, "x")
    text, signer = fxverify.signed_text(TEXT_OF_PETER + "\n" + signatures, [key], "The note")
    assert (text, signer) == (TEXT_OF_PETER, key)


@pytest.mark.parametrize("note", [
    TEXT_OF_PETER, TEXT_OF_PETER + "\n", TEXT_OF_PETER + "\n" + BY_PETER[:-1], "\x01" + TEXT_OF_PETER + "\n" + BY_PETER,
    TEXT_OF_PETER + "\n"
    "\u2014 Bad Name x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6=",
    TEXT_OF_PETER + "\n" + BY_PETER + "Unexpected line.\n",
    TEXT_OF_PETER + "\n" + BY_PETER[:60] + "ABCD" + BY_PETER[60:],
    TEXT_OF_PETER + "\n" + BY_ENOCH, TEXT_OF_PETER + "\n" + BY_PETER * 101,
    TEXT_OF_PETER + "\n" + BY_PETER.replace("PeterNeumann", "CarmenSandiego"), "", "\n", "\n\n",
])  # fmt: skip
def test_notes_that_go_refuses_are_refused(fxverify: ModuleType, note: str) -> None:
    with pytest.raises((fxverify.Untrue, fxverify.Unreadable)):
        fxverify.signed_text(note, [fxverify.Key(PETER, "x")], "The note")


@pytest.mark.parametrize("key", [
    "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
    "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    *(PETER[:at] + chr(ord(PETER[at]) ^ 1) + PETER[at + 1 :] for at in range(0, len(PETER), 3)),
])  # fmt: skip
def test_verifier_keys_that_go_refuses_are_refused(fxverify: ModuleType, key: str) -> None:
    with pytest.raises(fxverify.Unreadable):
        fxverify.Key(key, "The key")


def test_two_keys_may_both_have_signed(fxverify: ModuleType) -> None:
    keys = [fxverify.Key(PETER, "x"), fxverify.Key(ENOCH, "x")]
    fxverify.signed_text(TEXT_OF_PETER + "\n" + BY_PETER + BY_ENOCH, keys, "The note")
    broken = BY_ENOCH.replace("5n2t", "5n3t")
    with pytest.raises(fxverify.Untrue, match="EnochRoot"):
        fxverify.signed_text(TEXT_OF_PETER + "\n" + BY_PETER + broken, keys, "The note")


# ── Keccak, RLP, Patricia


@pytest.mark.parametrize(("content", "digest"), [
    (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
    (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    (b"\x80", "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"),  # the root of an empty trie
    (b"\xc0", "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"),  # the hash of no uncles
])  # fmt: skip
def test_keccak_vectors(fxverify: ModuleType, content: bytes, digest: str) -> None:
    assert fxverify.keccak256(content).hex() == digest


def test_keccak_is_that_of_another_library_at_every_length(fxverify: ModuleType) -> None:
    for length in range(420):
        content = bytes(at * 7 % 256 for at in range(length))
        assert fxverify.keccak256(content) == keccak(content)


@pytest.mark.parametrize(("spelling", "value"), [
    ("83646f67", b"dog"), ("c88363617483646f67", [b"cat", b"dog"]), ("80", b""), ("c0", []), ("00", b"\0"),
    ("0f", b"\x0f"), ("820400", b"\x04\x00"), ("c7c0c1c0c3c0c1c0", [[], [[]], [[], [[]]]]),
    ("b838" + "61" * 56, b"a" * 56), ("f83c" + "83646f67" * 15, [b"dog"] * 15),
])  # fmt: skip
def test_rlp_vectors(fxverify: ModuleType, spelling: str, value: Any) -> None:
    assert fxverify.rlp(bytes.fromhex(spelling), "x") == value


@pytest.mark.parametrize("spelling", [
    "", "8100", "817f", "b800", "b83761", "b90038" + "61" * 56, "f800", "f8" + "00", "c1", "83646f", "c883636174",
    "8080", "c0c0", "b8", "bf" + "ff" * 8, "ff" + "ff" * 8, "f837" + "c0" * 55, "c1" * 100 + "c0",
])  # fmt: skip
def test_rlp_of_another_spelling_is_refused(fxverify: ModuleType, spelling: str) -> None:
    with pytest.raises(fxverify.Untrue):
        fxverify.rlp(bytes.fromhex(spelling), "x")


@pytest.mark.parametrize("count", [1, 2, 16, 17, 127, 128, 129, 300])
def test_receipt_tries_of_another_library_are_followed_to_every_receipt(fxverify: ModuleType, count: int) -> None:
    trie = HexaryTrie({})
    values = [b"\x02" + bytes([at % 256]) * (40 + at) for at in range(count)]
    for at, value in enumerate(values):
        trie[rlp.encode(at)] = value
    for at in {0, 1, count // 2, count - 1} & set(range(count)):
        key = rlp.encode(at)
        nodes = [rlp.encode(node) for node in trie.get_proof(key)]
        assert fxverify.patricia_value(trie.root_hash, key, nodes, "x") == values[at]
        for other in {0, 1, count - 1, count} - {at}:
            with pytest.raises(fxverify.Untrue):
                fxverify.patricia_value(trie.root_hash, rlp.encode(other), nodes, "x")
