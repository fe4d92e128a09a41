"""Any honest proof is accepted, any single flipped bit is not, and nothing whatever makes the verifier stumble."""

from __future__ import annotations

import copy
import functools
import io
import json
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.verifier.bundles import Json, Record, Signer, consistency, mth, path, sha256, write_tiles

LEAVES = [sha256(b"\x00", str(at).encode()) for at in range(700)]
SIGNER = Signer()
HONEST = Record(3, 9, 2).bundle(2, 5, 13)
UNPROVED = {"tx_hash", "chain_id", "made_at"}
"""What a bundle says and does not prove (docs/evidence.md)."""

root_of = functools.cache(lambda size: mth(LEAVES[:size]))


def flip(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), size=st.integers(1, len(LEAVES)), bit=st.integers(0, 255))
def test_inclusion(fxverify: ModuleType, data: st.DataObject, size: int, bit: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = path(index, LEAVES[:size]), root_of(size)
    assert fxverify.inclusion_root(LEAVES[index], index, size, proof, "x") == root
    assert fxverify.inclusion_root(flip(LEAVES[index], bit), index, size, proof, "x") != root
    for at in range(len(proof)):
        changed = [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]]
        assert fxverify.inclusion_root(LEAVES[index], index, size, changed, "x") != root
    for other in {index ^ 1 << at for at in range(10)}:
        try:
            assert fxverify.inclusion_root(LEAVES[index], other, size, proof, "x") != root
        except fxverify.Untrue:
            continue
    for wrong in (proof[:-1] if proof else [bytes(32)], [*proof, bytes(32)]):
        with pytest.raises(fxverify.Untrue):
            fxverify.inclusion_root(LEAVES[index], index, size, wrong, "x")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), new=st.integers(2, len(LEAVES)), bit=st.integers(0, 255))
def test_consistency(fxverify: ModuleType, data: st.DataObject, new: int, bit: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof = consistency(old, LEAVES[:new])
    fxverify.check_consistency(old, root_of(old), new, root_of(new), proof)
    wrong = [
        (flip(root_of(old), bit), root_of(new), proof),
        (root_of(old), flip(root_of(new), bit), proof),
        (root_of(old), root_of(new), proof[:-1]),
        (root_of(old), root_of(new), [*proof, bytes(32)]),
        *(
            (root_of(old), root_of(new), [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]])
            for at in range(len(proof))
        ),
    ]
    for old_root, new_root, changed in wrong:
        with pytest.raises(fxverify.Untrue):
            fxverify.check_consistency(old, old_root, new, new_root, changed)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_tiles(folder, LEAVES)
    return folder


@settings(max_examples=60, deadline=None)
@given(old=st.integers(1, len(LEAVES)))
def test_tiles_give_the_proof_of_the_definition(fxverify: ModuleType, tiles: Path, old: int) -> None:
    assert fxverify.Tiles(str(tiles), len(LEAVES)).consistency(old) == consistency(old, LEAVES)


def judge(fxverify: ModuleType, folder: Path, content: bytes) -> tuple[int, str]:
    """In this process, for speed: what ``main`` answers."""
    (folder / "bundle.json").write_bytes(content)
    told = io.StringIO()
    with redirect_stdout(told):
        code = fxverify.main([str(folder / "bundle.json"), "--key", SIGNER.vkey, "--json"])
    answer = json.loads(told.getvalue())
    assert answer["exit_code"] == code
    assert "cannot be judged" not in answer["sentence"], "an error of the program, and no verdict"
    return code, answer["sentence"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


def spelled(bundle: Json) -> tuple[bytes, list[range]]:
    """A bundle's compact bytes, and where in them stands what it does not prove."""
    content = json.dumps(bundle, separators=(",", ":")).encode()
    free = []
    for name in UNPROVED:
        at = -1
        while (at := content.find(f'"{name}":'.encode(), at + 1)) >= 0:
            start = at + len(name) + 3
            value, length = json.JSONDecoder().raw_decode(content[start:].decode())
            assert value is not None
            free.append(range(start, start + length))
    return content, free


CONTENT, FREE = spelled(HONEST)


def test_the_spelled_bundle_is_honest(fxverify: ModuleType, folder: Path) -> None:
    assert judge(fxverify, folder, CONTENT)[0] == 0
    assert len(FREE) == 7


@settings(max_examples=400, deadline=None)
@given(bit=st.integers(0, 8 * len(CONTENT) - 1))
def test_any_flipped_bit_of_a_bundle_is_refused(fxverify: ModuleType, folder: Path, bit: int) -> None:
    assume(not any(bit // 8 in free for free in FREE))
    assert judge(fxverify, folder, flip(CONTENT, bit))[0] in (1, 2)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, len(CONTENT) - 1))
def test_any_truncated_bundle_is_unreadable(fxverify: ModuleType, folder: Path, length: int) -> None:
    assert judge(fxverify, folder, CONTENT[:length])[0] == 2


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=40).map(bytes.hex),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here]
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*here, key))
    return found


PLACES = places(HONEST)[1:]


@settings(max_examples=400, deadline=None)
@given(place=st.sampled_from(PLACES), value=ANYTHING)
def test_anything_in_any_place_is_judged_and_never_an_error(
    fxverify: ModuleType, folder: Path, place: tuple[Any, ...], value: Any
) -> None:
    bundle = copy.deepcopy(HONEST)
    holder: Any = bundle
    for key in place[:-1]:
        holder = holder[key]
    same = type(holder[place[-1]]) is type(value) and holder[place[-1]] == value
    holder[place[-1]] = value
    code, _ = judge(fxverify, folder, json.dumps(bundle).encode())
    if code == 0:
        assert same or UNPROVED & set(place) or value == [] or place[0] == "anchors", place


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_garbage_is_unreadable(fxverify: ModuleType, folder: Path, content: bytes) -> None:
    assert judge(fxverify, folder, content)[0] == 2


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=200), text=st.text(max_size=120))
def test_parsers_refuse_and_never_stumble(fxverify: ModuleType, content: bytes, text: str) -> None:
    refusals = (fxverify.Untrue, fxverify.Unreadable)
    key = fxverify.Key(SIGNER.vkey, "x")
    for attempt in (
        lambda: fxverify.rlp(content, "x"),
        lambda: fxverify.patricia_value(fxverify.keccak256(content), b"\x01", [content], "x"),
        lambda: fxverify.Key(text, "x"),
        lambda: fxverify.signed_text(text, [key], "The note"),
        lambda: fxverify.pointed(HONEST, "/" + text, "x"),
        lambda: fxverify.read_entry(text, "x"),
    ):
        with suppress(*refusals):
            attempt()
