"""Signed notes and checkpoints: the standards' own examples, and nothing that is not one."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.kernel.notes import (
    BadNote,
    Checkpoint,
    VerifierKey,
    checkpoint_of,
    opened_note,
    signed_checkpoint,
    signed_note,
)

# C2SP signed-note and tlog-checkpoint print these.
KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
CHECKPOINT = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE"
    "+xeMcTOAYQ8=\n"
)
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
MINE = VerifierKey("log.example/mine", PRIVATE.public_key().public_bytes_raw())


def mine(text: str) -> str:
    return signed_note(text, MINE, PRIVATE.sign(text.encode()))


def test_the_standards_note_opens_with_the_standards_key() -> None:
    key = VerifierKey.parse(KEY)
    assert str(key) == KEY
    assert opened_note(NOTE, key) == "This is an example message.\n"


def test_the_standards_checkpoint_is_read() -> None:
    said = checkpoint_of(CHECKPOINT)
    assert (said.origin, said.size) == ("example.com/behind-the-sofa", 20852163)
    assert said.text() == CHECKPOINT.split("\n\n", maxsplit=1)[0] + "\n"


def test_what_is_signed_is_what_is_read_back() -> None:
    said = Checkpoint(MINE.name, 12, b"r" * 32)
    assert signed_checkpoint(mine(said.text()), MINE) == said


@given(st.data())
def test_a_note_bears_no_changed_character(data: st.DataObject) -> None:
    note = mine(Checkpoint(MINE.name, 12, b"r" * 32).text())
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != note[at]))
    with pytest.raises(BadNote):
        signed_checkpoint(note[:at] + other + note[at + 1 :], MINE)


def test_the_signature_of_another_key_is_not_the_logs() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    text = Checkpoint(MINE.name, 12, b"r" * 32).text()
    with pytest.raises(BadNote, match="not the log's"):
        signed_note(text, MINE, other.sign(text.encode()))
    theirs = VerifierKey(MINE.name, other.public_key().public_bytes_raw())
    with pytest.raises(BadNote, match="has not signed it"):
        opened_note(mine(text), theirs)


def test_a_checkpoint_of_another_log_is_not_this_ones_though_its_key_signed_it() -> None:
    with pytest.raises(BadNote, match="of another log"):
        signed_checkpoint(mine(Checkpoint("log.example/other", 12, b"r" * 32).text()), MINE)


def test_there_is_one_spelling_of_a_signature() -> None:
    """The last digit of base64 before "=" has two bits to spare: another spelling of equal bytes is another note."""
    note = mine(Checkpoint(MINE.name, 12, b"r" * 32).text())
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = digits.index(note[-3])
    with pytest.raises(BadNote, match="base64"):
        opened_note(f"{note[:-3]}{digits[last + 1]}=\n", MINE)


def test_signatures_of_others_beside_the_logs_are_ignored() -> None:
    text = Checkpoint(MINE.name, 12, b"r" * 32).text()
    note = mine(text)
    stranger = f"— witness.example/w {base64.b64encode(b'x' * 68).decode()}\n"
    assert opened_note(note + stranger, MINE) == text
    with pytest.raises(BadNote, match="no signed note"):
        opened_note(note + stranger * 16, MINE)


ROOT = "A" * 43 + "="


@pytest.mark.parametrize(
    "text",
    [
        "", "a\n", "a\n1\n", f"a\n01\n{ROOT}\n", "a\n1\nAAAA\n", f"a\n-1\n{ROOT}\n", f"\n1\n{ROOT}\n",
        f"a\n1\n{ROOT[:-2]}B=\n",
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_none(text: str) -> None:
    with pytest.raises(BadNote):
        checkpoint_of(f"{text}\n— x AAAA\n")


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com/foo", "example.com/foo+530d903a", KEY.replace("530d903a", "530d903b"), KEY[:-4], f"{KEY}+x",
        KEY.replace("example.com/foo", "two words"), KEY.replace("Aeky", "Beky"),
    ],
)  # fmt: skip
def test_what_is_no_verifier_key_is_none(text: str) -> None:
    with pytest.raises(BadNote):
        VerifierKey.parse(text)
