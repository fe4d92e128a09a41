"""Any two checkpoints compared: by a consistency proof, or by tiles that were fetched into a folder (AD-09)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.verifier.bundles import Signer, consistency, mth, sha256, write_tiles
from tests.verifier.conftest import Answer, Verify

LEAVES = [sha256(b"\x00", str(at).encode()) for at in range(1500)]
SIGNER = Signer()
Compare = Callable[..., Answer]


@pytest.fixture
def compare(verify: Verify, tmp_path: Path) -> Compare:
    """Compares two notes; ``proof`` is written to a file, ``tiles`` is a folder."""

    def run(old: str, new: str, *, proof: object = None, tiles: Path | None = None, key: str = SIGNER.vkey) -> Answer:
        arguments = ["--checkpoints", str(tmp_path / "old"), str(tmp_path / "new"), "--key", key]
        (tmp_path / "old").write_bytes(old.encode())
        (tmp_path / "new").write_bytes(new.encode())
        if proof is not None:
            (tmp_path / "proof").write_text(proof if isinstance(proof, str) else json.dumps(proof))
            arguments += ["--proof", str(tmp_path / "proof")]
        if tiles is not None:
            arguments += ["--tiles", str(tiles)]
        return verify(None, *arguments)

    return run


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_tiles(folder, LEAVES)
    return folder


def checkpoint(size: int) -> str:
    return SIGNER.checkpoint(size, mth(LEAVES[:size]))


def proof_of(old: int, new: int) -> dict[str, object]:
    return {"from": old, "to": new, "path": [node.hex() for node in consistency(old, LEAVES[:new])]}


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 1500), (256, 257), (255, 1024), (700, 1499)])
def test_a_grown_record_is_proved_by_a_proof(compare: Compare, old: int, new: int) -> None:
    answer = compare(checkpoint(old), checkpoint(new), proof=proof_of(old, new))
    assert (answer.code, answer.errors) == (0, "")
    assert answer.sentence == f"Proved: the record of {new} entries is that of {old} entries, grown."


@pytest.mark.parametrize("old", [1, 2, 255, 256, 257, 512, 1000, 1024, 1279, 1499])
def test_a_grown_record_is_proved_by_its_tiles(compare: Compare, tiles: Path, old: int) -> None:
    assert compare(checkpoint(old), checkpoint(1500), tiles=tiles).code == 0
    assert compare(checkpoint(old), checkpoint(1500), tiles=tiles / "tile").code == 0


def test_full_tiles_of_a_later_tree_serve_an_earlier_one(compare: Compare, tiles: Path, tmp_path: Path) -> None:
    """C2SP tlog-tiles: a log may drop a partial tile once the full one stands."""
    write_tiles(tmp_path / "log", LEAVES[:1000])
    last = tmp_path / "log" / "tile" / "0" / "003"
    (last.parent / "003.p" / "232").unlink()
    assert compare(checkpoint(3), checkpoint(1000), tiles=tmp_path / "log").code == 2
    shutil.copy(tiles / "tile" / "0" / "003", last)
    assert compare(checkpoint(3), checkpoint(1000), tiles=tmp_path / "log").code == 0


def test_equal_checkpoints_agree_without_a_proof_and_a_fork_does_not(compare: Compare) -> None:
    assert compare(checkpoint(9), checkpoint(9)).code == 0
    answer = compare(checkpoint(9), SIGNER.checkpoint(9, bytes(32)))
    assert (answer.code, "the record was forked" in answer.sentence) == (1, True)


def test_a_rewritten_record_is_refused_by_proof_and_by_tiles(compare: Compare, tiles: Path) -> None:
    rewritten = SIGNER.checkpoint(300, mth([*LEAVES[:7], sha256(b"other"), *LEAVES[8:300]]))
    for given in ({"proof": proof_of(300, 1500)}, {"tiles": tiles}):
        answer = compare(rewritten, checkpoint(1500), **given)
        assert (answer.code, "does not start from the smaller" in answer.sentence) == (1, True)


def test_an_older_checkpoint_given_as_the_newer_is_refused(compare: Compare) -> None:
    answer = compare(checkpoint(12), checkpoint(3), proof=proof_of(3, 12))
    assert (answer.code, "The proof is for 3 and 12 entries, not 12 and 3" in answer.sentence) == (1, True)
    answer = compare(checkpoint(12), checkpoint(3))
    assert (answer.code, "cannot have grown into one of 3" in answer.sentence) == (1, True)


def test_a_truncated_tile_is_named(compare: Compare, tmp_path: Path) -> None:
    write_tiles(tmp_path / "log", LEAVES)
    tile = tmp_path / "log" / "tile" / "0" / "005.p" / "220"
    tile.write_bytes(tile.read_bytes()[:-1])
    answer = compare(checkpoint(1300), checkpoint(1500), tiles=tmp_path / "log")
    assert answer.code == 2
    assert "0/005.p/220 has 7039 bytes where 7040 are due: it is damaged" in answer.sentence


def test_a_missing_tile_is_named(compare: Compare, tmp_path: Path) -> None:
    write_tiles(tmp_path / "log", LEAVES)
    (tmp_path / "log" / "tile" / "0" / "001").unlink()
    answer = compare(checkpoint(300), checkpoint(1500), tiles=tmp_path / "log")
    assert (answer.code, "The tile 0/001" in answer.sentence) == (2, True)


def test_a_changed_tile_is_refused(compare: Compare, tmp_path: Path) -> None:
    write_tiles(tmp_path / "log", LEAVES)
    tile = tmp_path / "log" / "tile" / "0" / "001"
    content = bytearray(tile.read_bytes())
    content[-1] ^= 1
    tile.write_bytes(content)
    answer = compare(checkpoint(300), checkpoint(1500), tiles=tmp_path / "log")
    assert (answer.code, "does not lead to the larger" in answer.sentence) == (1, True)


def test_a_tile_that_is_too_long_is_refused(compare: Compare, tmp_path: Path) -> None:
    write_tiles(tmp_path / "log", LEAVES)
    tile = tmp_path / "log" / "tile" / "0" / "001"
    tile.write_bytes(tile.read_bytes() + bytes(32))
    assert compare(checkpoint(300), checkpoint(1500), tiles=tmp_path / "log").code == 2


@pytest.mark.parametrize("proof", ["", "{", "[]", "{}", '{"from":3,"to":12}', '{"from":3,"to":12,"path":"x"}',
                                   '{"from":3,"to":12,"path":[1]}', '{"from":3,"to":12,"path":["00"]}'])  # fmt: skip
def test_a_proof_that_cannot_be_read_is_exit_2(compare: Compare, proof: str) -> None:
    assert compare(checkpoint(3), checkpoint(12), proof=proof).code == 2


def test_what_there_is_to_compare_must_be_there(compare: Compare) -> None:
    answer = compare(checkpoint(3), checkpoint(12))
    assert (answer.code, "need a proof" in answer.sentence) == (2, True)
    answer = compare(checkpoint(0), checkpoint(12))
    assert (answer.code, "nothing to compare" in answer.sentence) == (2, True)


def test_checkpoints_under_a_wrong_key_or_of_two_logs_are_refused(compare: Compare) -> None:
    other = Signer("other.test/log", b"x" * 32)
    assert compare(checkpoint(3), checkpoint(12), proof=proof_of(3, 12), key=other.vkey).code == 1
    assert compare(checkpoint(3), checkpoint(12), proof=proof_of(3, 12), key="x").code == 2


def test_an_unsigned_checkpoint_is_refused(compare: Compare) -> None:
    body = checkpoint(3).split("\n\n")[0] + "\n"
    assert compare(body, checkpoint(12), proof=proof_of(3, 12)).code == 1
