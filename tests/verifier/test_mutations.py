"""Whatever is changed in a bundle, the verifier refuses it: the right exit code, one sentence that names it (AD-10)."""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
import rlp
from eth_utils.crypto import keccak

from tests.verifier.bundles import Json, Record, Signer, consistency, mth, path, sealed, sha256
from tests.verifier.conftest import Verify

FALSE, UNREADABLE = 1, 2
RECORD = Record(3, 9, 2)
SIGNER = Signer()
HONEST = RECORD.bundle(2, 5, 6, 13)
CONTRACT = HONEST["anchors"][0]["contract"]
BLOCKS = [part for anchor in HONEST["anchors"] for part in ("--block-hash", anchor["block_hash"])]
L = 2**252 + 27742317777372353535851937790883648493


def flip(text: str, at: int = 0) -> str:
    """Hex or base64 with one digit changed."""
    return text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]


def note(bundle: Json, batch: int = 2) -> str:
    return str(bundle["checkpoints"][batch - 1]["note"])


def set_note(bundle: Json, text: str, batch: int = 2) -> None:
    bundle["checkpoints"][batch - 1]["note"] = text


def edited(old: str, new: str) -> Callable[[Json], None]:
    """Entry 5's bytes, edited."""

    def change(bundle: Json) -> None:
        before = bundle["entries"][1]["canonical"]
        bundle["entries"][1]["canonical"] = before.replace(old, new, 1)
        assert bundle["entries"][1]["canonical"] != before

    return change


def put(*keys_and_value: Any) -> Callable[[Json], None]:
    """Set one member, by its path."""

    def change(bundle: Json) -> None:
        *keys, last, value = keys_and_value
        place: Any = bundle
        for key in keys:
            place = place[key]
        assert place[last] != value
        place[last] = value

    return change


def drop(*keys: Any) -> Callable[[Json], None]:
    def change(bundle: Json) -> None:
        place: Any = bundle
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return change


def flipped(*keys: Any, at: int = 0) -> Callable[[Json], None]:
    """Change one digit of a text, by its path."""

    def change(bundle: Json) -> None:
        place: Any = bundle
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = flip(place[keys[-1]], at)

    return change


def in_note(old: str, new: str, batch: int = 2) -> Callable[[Json], None]:
    def change(bundle: Json) -> None:
        before = note(bundle, batch)
        set_note(bundle, before.replace(old, new, 1), batch)
        assert note(bundle, batch) != before

    return change


def signature(change_bytes: Callable[[bytearray], None]) -> Callable[[Json], None]:
    """Change the bytes (key id, R, S) of a checkpoint's signature."""

    def change(bundle: Json) -> None:
        import base64

        body, _, tail = note(bundle).rpartition(" ")
        content = bytearray(base64.b64decode(tail))
        change_bytes(content)
        set_note(bundle, f"{body} {base64.b64encode(content).decode()}\n")

    return change


def xor(at: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[at] ^= 1

    return change


def malleate(content: bytearray) -> None:
    """S + L: the same signature to whoever does not compare S with L."""
    content[36:] = (int.from_bytes(content[36:], "little") + L).to_bytes(32, "little")


def receipt(change_fields: Callable[[list[Any]], None]) -> Callable[[Json], None]:
    """A forged receipt in a block of its own that hashes together: only what the receipt says is wrong."""

    def change(bundle: Json) -> None:
        anchor = bundle["anchors"][1]
        leaf = rlp.decode(bytes.fromhex(anchor["receipt_proof"][-1]))
        fields = rlp.decode(leaf[1][1:])
        change_fields(fields)
        key = b"\x20" + rlp.encode(anchor["receipt_index"])
        node = rlp.encode([key, b"\x02" + rlp.encode(fields)])
        rehash(anchor, [node])

    return change


def rehash(anchor: Json, nodes: list[bytes], number: int | None = None) -> None:
    header = rlp.decode(bytes.fromhex(anchor["header"]))
    header[5] = keccak(nodes[0])
    if number is not None:
        header[8] = number
    anchor["receipt_proof"] = [node.hex() for node in nodes]
    anchor["header"] = rlp.encode(header).hex()
    anchor["block_hash"] = "0x" + keccak(rlp.encode(header)).hex()


def log_part(*keys_and_value: Any) -> Callable[[list[Any]], None]:
    def change(fields: list[Any]) -> None:
        *keys, last, value = keys_and_value
        place: Any = fields[3][0]
        for key in keys:
            place = place[key]
        place[last] = value

    return change


def clear_status(fields: list[Any]) -> None:
    fields[0] = b""


def no_logs(fields: list[Any]) -> None:
    fields[3] = []


def block_number(bundle: Json) -> None:
    anchor = bundle["anchors"][1]
    rehash(anchor, [bytes.fromhex(node) for node in anchor["receipt_proof"]], number=9)


def anchor_of_a_fork(bundle: Json) -> None:
    """A chain that took another root, in bytes that all hash together."""
    bundle["anchors"][1] = Record(3, 8, 1).bundle(1)["anchors"][1]
    bundle["anchors"][1]["tree_size"] = 12


def older_checkpoint(bundle: Json) -> None:
    set_note(bundle, note(bundle, 1), 2)


def two_of_a_batch(bundle: Json) -> None:
    bundle["checkpoints"].append(bundle["checkpoints"][1])


def forked_checkpoint(bundle: Json) -> None:
    """The log signs another record of 14 entries; every other byte is true."""
    set_note(bundle, SIGNER.checkpoint(14, mth([*RECORD.leaves[:13], sha256(b"other")])), 3)


def shrunk_checkpoint(bundle: Json) -> None:
    set_note(bundle, SIGNER.checkpoint(12, mth(RECORD.leaves[:12])), 3)


def signed(body: str) -> Callable[[Json], None]:
    """A note with a true signature over something that is no checkpoint."""
    return lambda bundle: set_note(bundle, SIGNER.note(body))


def other_logs_checkpoint(bundle: Json) -> None:
    set_note(bundle, SIGNER.checkpoint(12, mth(RECORD.leaves[:12]), origin="other.test/log"))


def strangers_note(bundle: Json) -> None:
    set_note(bundle, Signer(seed=b"x" * 32).checkpoint(12, mth(RECORD.leaves[:12])))


def swapped_path(bundle: Json) -> None:
    hashes = bundle["entries"][1]["path"]
    hashes[0], hashes[1] = hashes[1], hashes[0]


def node_as_leaf(bundle: Json) -> None:
    """A path that ends early, so that an inner node would pass for the entry."""
    bundle["entries"][1]["path"] = bundle["entries"][1]["path"][1:]
    bundle["entries"][1]["leaf_index"] //= 2


def moved(bundle: Json) -> None:
    """Another entry's place, with that place's true path."""
    bundle["entries"][1]["leaf_index"] = 5
    bundle["entries"][1]["path"] = [node.hex() for node in path(5, RECORD.leaves[:12])]


def twice(bundle: Json) -> None:
    bundle["entries"].append(bundle["entries"][1])


def reversed_consistency(bundle: Json) -> None:
    bundle["consistency"][0]["path"].reverse()


def consistency_of_another(bundle: Json) -> None:
    bundle["consistency"][0]["path"] = [node.hex() for node in consistency(3, Record(3, 8, 1).leaves)]


def other_disclosure(**changed: str) -> Callable[[Json], None]:
    return lambda bundle: bundle["entries"][1]["disclosed"][0].update(changed)


def shifted_field(bundle: Json) -> None:
    """Salt and field with the border between them moved: the same hashed bytes, another field."""
    field = bundle["entries"][1]["disclosed"][0]
    field["salt"], field["field"] = field["salt"][:-2], chr(int(field["salt"][-2:], 16)) + field["field"]


def shifted_value(bundle: Json) -> None:
    """Field and value with the border between them moved, for a field name that holds NUL."""
    place = bundle["entries"][1]["disclosed"][0]
    place["field"], place["value"] = place["field"] + "\0" + place["value"], ""


def cut_short(content: bytearray) -> None:
    del content[60:]


# ── Dishonest logs: all hashes, signatures, anchors and proofs are true; the entry itself is not what it must be


def dishonest(canonical: Callable[[Json], str], seq: int = 5) -> Callable[[Json], None]:
    def change(bundle: Json) -> None:
        record = Record(3, 1)
        record.add_bytes(canonical(json.loads(RECORD.canonical[4])))
        record.sizes = [3, 5]
        bundle.clear()
        bundle.update(record.bundle(5))
        bundle["entries"][0]["leaf_index"] = seq - 1
        bundle["entries"][0]["disclosed"] = []

    return change


def with_members(**changed: Any) -> Callable[[Json], None]:
    return dishonest(lambda entry: rfc8785.dumps({**entry, **changed}).decode())


def spelled(old: str, new: str) -> Callable[[Json], None]:
    def respell(entry: Json) -> str:
        text = rfc8785.dumps(entry).decode()
        assert old in text
        return text.replace(old, new, 1)

    return dishonest(respell)


def denormalised(bundle: Json) -> None:
    """The same text to the eye: é as one character becomes e and an accent."""
    before = bundle["entries"][1]["canonical"]
    bundle["entries"][1]["canonical"] = unicodedata.normalize("NFD", before)
    assert bundle["entries"][1]["canonical"] != before


ROOT = "Entry seq 5 is not in the record"
MUTATIONS: dict[str, tuple[Callable[[Json], None], int, str]] = {
    # the envelope
    "an unknown format": (put("format", "fintokenx-evidence/2"), UNREADABLE, "has the format"),
    "a missing member": (drop("consistency"), UNREADABLE, 'lacks the member "consistency"'),
    "an unknown member": (put("entries", 0, {**HONEST["entries"][0], "x": 1}), UNREADABLE, 'unknown member "x"'),
    "no entries": (put("entries", []), UNREADABLE, "nothing to prove"),
    "no checkpoints": (put("checkpoints", []), UNREADABLE, "nothing to prove"),
    "entries that are no list": (put("entries", {}), UNREADABLE, '"entries" of the bundle is not a list'),
    "a subject matter without an instant": (
        put("subject_matter", "made_at", "2026-06-31T00:00:00.000000Z"), UNREADABLE, "not an instant"),
    "another resource than that of its entries": (
        put("subject_matter", "resource", "FXI-2"), FALSE, "is not what the bundle is about"),
    "a hash in upper case": (
        put("entries", 1, "path", 0, HONEST["entries"][1]["path"][0].upper()), UNREADABLE, "lower case"),
    "a hash that is too short": (put("entries", 1, "path", 0, "ab" * 31), UNREADABLE, "64 hex digits"),
    "another origin in the bundle": (put("log", "origin", "other.test/log"), FALSE, "is of the log"),
    "another key in the bundle": (put("log", "key", Signer(seed=b"x" * 32).vkey), FALSE, "which you gave"),
    "a key that contradicts its id": (
        put("log", "key", SIGNER.vkey.replace(SIGNER.id.hex(), "00000000")), UNREADABLE, "contradicts itself"),
    "a key that is no key": (put("log", "key", "key"), UNREADABLE, "not a verifier key"),
    "a key of another algorithm": (
        put("log", "key", "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
        UNREADABLE, "not an Ed25519 key"),
    # the checkpoint
    "a checkpoint's origin": (in_note("fintokenx.test/log\n12", "fintokenx.best/log\n12"), FALSE, "signature .* false"),
    "a checkpoint's size": (in_note("\n12\n", "\n13\n"), FALSE, "signature .* batch 2 is false"),
    "a checkpoint's root": (lambda b: set_note(b, re.sub(r"\n12\n.", "\n12\n_", note(b))), FALSE, "signature .* false"),
    "a checkpoint's extra line": (in_note("=\n\n", "=\nextra\n\n"), FALSE, "signature .* false"),
    "a signature's R": (signature(xor(4)), FALSE, "signature .* false"),
    "a signature's S": (signature(xor(40)), FALSE, "signature .* false"),
    "a signature's S + L": (signature(malleate), FALSE, "signature .* false"),
    "a signature's key id": (signature(xor(0)), FALSE, "is signed by .* and not by"),
    "a signature cut short": (signature(cut_short), FALSE, "signature .* false"),
    "a signature's key name": (in_note("\u2014 fintokenx", "\u2014 gintokenx"), FALSE, "is signed by"),
    "a signature line with a hyphen for its dash": (in_note("\u2014 ", "- "), FALSE, "malformed signature line"),
    "a note without its last newline": (lambda b: set_note(b, note(b)[:-1]), FALSE, "not a signed note"),
    "a note without a signature": (
        lambda b: set_note(b, note(b).split("\u2014")[0]), FALSE, "signed note|signature line"),
    "a note with a control character": (in_note("\n12", "\r\n12"), FALSE, "control character"),
    "a note that is too long": (lambda b: set_note(b, "x" * 70_000 + note(b)), UNREADABLE, "longer than"),
    "base64 of another spelling": (lambda b: set_note(b, note(b)[:-2] + "\n"), FALSE, "malformed signature line"),
    "a stranger's checkpoint": (strangers_note, FALSE, "is signed by .* and not by"),
    "another log's checkpoint by the same key": (other_logs_checkpoint, FALSE, "is of the log"),
    "a signed text that is no checkpoint": (signed("hello\n"), FALSE, "not a checkpoint"),
    "a signed size with a leading zero": (signed(f"{SIGNER.name}\n012\nAAAA\n"), FALSE, "not a number of entries"),
    "a signed size beyond every tree": (
        signed(f"{SIGNER.name}\n{'9' * 30}\n{'A' * 43}=\n"), FALSE, "not a number of entries"),
    "a signed root that is too short": (signed(f"{SIGNER.name}\n12\nAAAA\n"), FALSE, "not 32 bytes"),
    "a checkpoint swapped for an older one": (older_checkpoint, FALSE, "batch 2 is not larger"),
    "a checkpoint dropped": (drop("checkpoints", 1), FALSE, "joins no two checkpoints"),
    "two checkpoints of a batch": (two_of_a_batch, FALSE, "two checkpoints of batch 2"),
    "a checkpoint's batch": (put("checkpoints", 1, "batch_id", 4), FALSE, "batch 4 is not larger"),
    "a fork that the log signed": (forked_checkpoint, FALSE, "lead to the larger checkpoint"),
    "a record that shrank": (shrunk_checkpoint, FALSE, "batch 3 is not larger"),
    # consistency
    "a consistency hash": (flipped("consistency", 0, "path", 0), FALSE, "does not start from|does not lead"),
    "a consistency path too short": (drop("consistency", 0, "path", -1), FALSE, "too short"),
    "a consistency path too long": (
        lambda b: b["consistency"][0]["path"].append("00" * 32), FALSE, "too long"),
    "a consistency path in reverse": (reversed_consistency, FALSE, "does not start from"),
    "a consistency path of another record": (consistency_of_another, FALSE, "does not lead to"),
    "an empty consistency path": (put("consistency", 0, "path", []), FALSE, "is empty"),
    "a missing consistency proof": (drop("consistency", 1), FALSE, "No consistency proof ties"),
    "a consistency proof of other sizes": (put("consistency", 0, "from", 2), FALSE, "joins no two"),
    "a consistency proof twice": (
        lambda b: b["consistency"].append(b["consistency"][0]), FALSE, "joins no two"),
    # the entry's place
    "a path hash": (flipped("entries", 1, "path", 2), FALSE, ROOT),
    "a path too short": (drop("entries", 1, "path", -1), FALSE, "path of Entry seq 5 is too short"),
    "a path too long": (lambda b: b["entries"][1]["path"].append("00" * 32), FALSE, "path of Entry seq 5 is too long"),
    "a path reordered": (swapped_path, FALSE, ROOT),
    "a path of absurd length": (put("entries", 1, "path", ["00" * 32] * 65), UNREADABLE, "more than the 64"),
    "an inner node for a leaf": (node_as_leaf, FALSE, "place of another"),
    "an entry's index": (put("entries", 1, "leaf_index", 5), FALSE, "place of another"),
    "an entry moved": (moved, FALSE, "place of another"),
    "an index beyond the tree": (put("entries", 1, "leaf_index", 2**53 - 1), FALSE, "place of another"),
    "a negative index": (put("entries", 1, "leaf_index", -1), UNREADABLE, "not a whole number"),
    "an index that is a truth value": (put("entries", 1, "leaf_index", True), UNREADABLE, "not a whole number"),
    "a tree size without a checkpoint": (put("entries", 1, "tree_size", 11), FALSE, "has no checkpoint"),
    "a tree size too small": (put("entries", 1, "tree_size", 3), FALSE, "tree of only 3"),
    "another checkpoint's tree size": (put("entries", 1, "tree_size", 14), FALSE, ROOT),
    "an entry twice": (twice, FALSE, "in the bundle twice"),
    # the entry's bytes
    "an amount": (edited("125005", "125006"), FALSE, ROOT),
    "an actor": (edited("sub_1", "sub_2"), FALSE, ROOT),
    "an instant": (edited("000005Z", "000006Z"), FALSE, ROOT),
    "a tenant": (edited("tnt_a", "tnt_b"), FALSE, ROOT),
    "the hash before": (
        flipped("entries", 1, "canonical", at=HONEST["entries"][1]["canonical"].index("prev_hash") + 14),
                        FALSE, ROOT),
    "a space": (edited('"v":1', '"v": 1'), FALSE, "canonical form"),
    "a trailing newline": (lambda b: put("entries", 1, "canonical", b["entries"][1]["canonical"] + "\n")(b),
                           FALSE, "canonical form"),
    "members in another order": (edited('"action":"SUBMIT_INVOICE","actor":"sub_1"',
                                        '"actor":"sub_1","action":"SUBMIT_INVOICE"'), FALSE, "canonical form"),
    "a member twice": (edited('"v":1', '"v":1,"v":1'), FALSE, 'member "v" twice'),
    "a number as 1.0": (edited('"v":1', '"v":1.0'), FALSE, "only integers"),
    "a number as 1e0": (edited('"v":1', '"v":1e0'), FALSE, "only integers"),
    "a number as -0": (edited('"n":5', '"n":-0'), FALSE, "not an integer"),
    "a number as NaN": (edited('"n":5', '"n":NaN'), FALSE, "only integers"),
    "a number beyond 2^53": (edited('"n":5', '"n":9007199254740993'), FALSE, "not an integer"),
    "a number of ten thousand digits": (edited('"n":5', '"n":' + "9" * 10_000), FALSE, "not an integer"),
    "an escaped letter": (edited("SUBMIT", "\\u0053UBMIT"), FALSE, "canonical form"),
    "text in another normal form": (denormalised, FALSE, ROOT),
    "half of a surrogate pair": (edited("naïve", "\\ud83d"), FALSE, "surrogate"),
    "an entry that is no JSON": (put("entries", 1, "canonical", "{"), FALSE, "not JSON"),
    "an entry that is no object": (put("entries", 1, "canonical", "[]"), FALSE, "not an object"),
    "an entry that nests without end": (
        put("entries", 1, "canonical", "[" * 100_000 + "]" * 100_000), FALSE, "levels deep"),
    # an entry that was truly recorded, but is no entry
    "recorded: an unknown member": (with_members(hash="00" * 32), FALSE, 'unknown member "hash"'),
    "recorded: a missing member": (
        dishonest(lambda e: rfc8785.dumps({k: e[k] for k in e if k != "actor"}).decode()),
        FALSE, 'lacks the member "actor"'),
    "recorded: another seq": (with_members(seq=6), FALSE, "place of another"),
    "recorded: another version": (with_members(v=2), FALSE, "knows version 1"),
    "recorded: a version that is a truth value": (with_members(v=True), FALSE, "not a whole number"),
    "recorded: an instant without microseconds": (
        with_members(timestamp="2026-06-02T09:00:00Z"), FALSE, "not an instant"),
    "recorded: a day that never was": (with_members(timestamp="2026-02-30T09:00:00.000000Z"), FALSE, "not an instant"),
    "recorded: an actor that is null": (with_members(actor=None), FALSE, "is not text"),
    "recorded: an actor with NUL": (with_members(actor="a\0"), FALSE, "U\\+0000"),
    "recorded: an id of something else": (with_members(id="inv_1"), FALSE, "not the id of an entry"),
    "recorded: a hash before in upper case": (with_members(prev_hash="AB" * 32), FALSE, "lower case"),
    "recorded: an earlier batch": (with_members(merkle_batch_id=1), FALSE, "against the checkpoints"),
    "recorded: a later batch": (with_members(merkle_batch_id=3), FALSE, "against the checkpoints"),
    "recorded: a diff without rows": (with_members(diff={"facts": []}), FALSE, 'lacks the member "rows"'),
    "recorded: a fact without a name": (with_members(diff={"facts": [{"x": 1}], "rows": []}), FALSE, '"fact" of'),
    "recorded: an unknown operation": (
        with_members(diff={"facts": [], "rows": [{"op": "truncate", "table": "t"}]}), FALSE, "neither an insert"),
    "recorded: an update of other columns": (
        with_members(diff={"facts": [], "rows": [
            {"op": "update", "table": "t", "key": {}, "before": {"a": 1}, "after": {"b": 1}}]}),
        FALSE, "the same columns"),
    "recorded: a fraction": (spelled('"n":5', '"n":5.5'), FALSE, "only integers"),
    "recorded: bytes that are not canonical": (spelled('"v":1', '"v": 1'), FALSE, "canonical form"),
    "recorded: a member twice": (spelled('"v":1', '"v":1,"v":1'), FALSE, "twice"),
    # the anchor
    "an anchor's batch": (put("anchors", 1, "batch_id", 9), FALSE, "belongs to no checkpoint"),
    "an anchor twice": (lambda b: b["anchors"].append(b["anchors"][1]), FALSE, "two anchors of batch 2"),
    "an anchor's tree size": (put("anchors", 1, "tree_size", 13), FALSE, "another tree size"),
    "an anchor's root": (flipped("anchors", 1, "root"), FALSE, "another root"),
    "an anchor of a fork": (anchor_of_a_fork, FALSE, "another root"),
    "an anchor's block number": (put("anchors", 1, "block_number", 9), FALSE, "not number 9"),
    "a header of another number": (block_number, FALSE, "not number 101"),
    "an anchor's block hash": (flipped("anchors", 1, "block_hash", at=5), FALSE, "does not have the block hash"),
    "a header's byte": (flipped("anchors", 1, "header", at=90), FALSE, "does not have the block hash"),
    "a header cut short": (
        lambda b: put("anchors", 1, "header", b["anchors"][1]["header"][:-2])(b), FALSE, "block hash"),
    "an anchor's transaction that is no hash": (put("anchors", 1, "tx_hash", "0x12"), UNREADABLE, "64 hex digits"),
    "an anchor's contract": (put("anchors", 1, "contract", "0x" + "b6" * 20), FALSE, "another contract"),
    "an anchor's chain that is no number": (put("anchors", 1, "chain_id", "1"), UNREADABLE, "not a whole number"),
    "a receipt's index": (
        put("anchors", 1, "receipt_index", 1), FALSE, "another receipt|leads to it|trie|leads nowhere"),
    "a receipt's index beyond the block": (put("anchors", 1, "receipt_index", 99), FALSE, "receipt"),
    "a trie node's byte": (flipped("anchors", 1, "receipt_proof", 1, at=20), FALSE, "Node 2 .* hash that leads to it"),
    "a trie's root node": (flipped("anchors", 1, "receipt_proof", 0, at=20), FALSE, "Node 1 .* hash that leads to it"),
    "a trie path too short": (drop("anchors", 1, "receipt_proof", -1), FALSE, "too short"),
    "a trie path too long": (
        lambda b: b["anchors"][1]["receipt_proof"].append("80"), FALSE, "exactly one receipt"),
    "a trie path reordered": (lambda b: b["anchors"][1]["receipt_proof"].reverse(), FALSE, "Node 1"),
    "an empty trie path": (put("anchors", 1, "receipt_proof", []), FALSE, "too short"),
    "a trie node that is too long": (
        put("anchors", 1, "receipt_proof", 0, "00" * 70_000), UNREADABLE, "longer than"),
    "a transaction that failed": (receipt(clear_status), FALSE, "transaction .* failed"),
    "a receipt without logs": (receipt(no_logs), FALSE, "holds no log"),
    "a log of another contract": (receipt(log_part(0, b"\x01" * 20)), FALSE, "holds no log"),
    "a log of another event": (receipt(log_part(1, 0, keccak(b"Other()"))), FALSE, "holds no log"),
    "a log of another batch": (receipt(log_part(1, 1, (3).to_bytes(32, "big"))), FALSE, "holds no log"),
    "a log of another size and root": (receipt(log_part(2, bytes(64))), FALSE, "holds no log"),
    # disclosed fields
    "a disclosed value": (other_disclosure(value="other@example.com"), FALSE, "not what the entry commits to"),
    "a disclosed value in another normal form": (
        put("entries", 1, "disclosed", 0, "value", unicodedata.normalize("NFD", "zoë+5@example.com")),
        FALSE, "not what the entry commits to"),
    "a disclosed salt": (flipped("entries", 1, "disclosed", 0, "salt"), FALSE, "not what the entry commits to"),
    "a disclosed field": (other_disclosure(field="phone"), FALSE, "not what the entry commits to"),
    "a pointer to another field": (
        other_disclosure(pointer="/diff/rows/0/row/phone_sealed"), FALSE, "not what the entry commits to"),
    "a pointer to an open field": (other_disclosure(pointer="/actor"), FALSE, "no sealed text"),
    "a pointer to nothing": (other_disclosure(pointer="/diff/rows/9/row/email_sealed"), FALSE, "has nothing there"),
    "a pointer with a leading zero": (
        other_disclosure(pointer="/diff/rows/00/row/email_sealed"), FALSE, "nothing there"),
    "a pointer without a slash": (other_disclosure(pointer="diff"), FALSE, "not a JSON pointer"),
    "a pointer with a stray tilde": (other_disclosure(pointer="/diff~2"), FALSE, "not a JSON pointer"),
    "a border moved between salt and field": (shifted_field, UNREADABLE, "64 hex digits"),
    "a border moved between field and value": (shifted_value, FALSE, "no field can have"),
}  # fmt: skip


def test_the_honest_bundle_is_proved(verify: Verify) -> None:
    answer = verify(HONEST, "--key", SIGNER.vkey, "--contract", CONTRACT, *BLOCKS)
    assert (answer.code, answer.errors) == (0, "")
    assert answer.sentence == "Proved: 4 entries are in the signed and anchored record of fintokenx.test/log."


def test_where_no_block_is_named_the_sentence_leaves_it_open_whether_they_are_the_networks(verify: Verify) -> None:
    answer = verify(HONEST, "--key", SIGNER.vkey)
    assert (answer.code, "anchored if the blocks named here are the network's" in answer.sentence) == (0, True)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_bundle_is_refused(verify: Verify, name: str) -> None:
    change, code, matter = MUTATIONS[name]
    bundle = copy.deepcopy(HONEST)
    change(bundle)
    assert bundle != HONEST
    answer = verify(bundle, "--key", SIGNER.vkey, "--contract", CONTRACT)
    assert answer.code == code, answer
    assert re.search(matter, answer.sentence), answer.sentence
    assert answer.sentence.startswith(("False: ", "Unreadable: ")[code - 1])
    assert (answer.output.count("\n"), answer.errors) == (1, ""), "exactly one line, no traceback"
    assert len(answer.sentence) < 400
    assert answer.sentence.endswith(".")


def test_a_dishonest_record_is_otherwise_true(verify: Verify) -> None:
    """The twin of the mutations named "recorded": with an honest entry the same machinery is proved."""
    bundle: Json = {}
    dishonest(lambda entry: rfc8785.dumps(entry).decode())(bundle)
    assert verify(bundle, "--key", SIGNER.vkey, "--contract", CONTRACT).code == 0
    forged = copy.deepcopy(HONEST)
    receipt(lambda fields: None)(forged)
    assert verify(forged, "--key", SIGNER.vkey).code == 0, "the forged block holds a true receipt"
    assert verify(forged, "--key", SIGNER.vkey, "--block-hash", HONEST["anchors"][1]["block_hash"]).code == 1


def test_an_entry_that_does_not_hold_the_hash_before_is_refused(verify: Verify) -> None:
    record = Record(3)
    record.append(1, prev_hash="11" * 32)
    record.sizes = [4]
    assert verify(record.bundle(4), "--key", SIGNER.vkey).code == 0, "alone, nothing contradicts it"
    answer = verify(record.bundle(3, 4), "--key", SIGNER.vkey)
    assert (answer.code, "does not hold the hash of the entry before" in answer.sentence) == (1, True)
    first = Record()
    first.append(1, prev_hash="11" * 32)
    first.sizes = [1]
    assert "Entry seq 1 does not hold" in verify(first.bundle(1), "--key", SIGNER.vkey).sentence


@pytest.mark.parametrize("content", [
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"\0" * 1000, b"[" * 10**6, b'{"a":' * 10**5,
    b'{"format":"fintokenx-evidence/1","format":"fintokenx-evidence/1"}', b"9" * 10**6, b"1e999", b"Infinity",
    b'{"format": "\\ud800"}', json.dumps(HONEST).encode()[:-5], json.dumps(HONEST).encode() + b"}",
], ids=lambda content: repr(content[:12]))  # fmt: skip
def test_what_is_no_bundle_is_unreadable(verify: Verify, content: bytes) -> None:
    answer = verify(content, "--key", SIGNER.vkey)
    assert (answer.code, answer.errors, answer.output.count("\n")) == (2, "", 1), answer
    assert answer.sentence.startswith("Unreadable: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"null", "is not an object"), (b"[]", "is not an object"),
     (b"{}", "has no format"), (b'{"format":"x/2"}', 'has the format "x/2"')],
)  # fmt: skip
def test_the_sentence_says_why_it_is_no_bundle(verify: Verify, content: bytes, said: str) -> None:
    assert said in verify(content, "--key", SIGNER.vkey).sentence


def test_a_file_of_absurd_size_is_refused_unread(verify: Verify) -> None:
    answer = verify(None, "/dev/zero", "--key", SIGNER.vkey)
    assert (answer.code, "longer than" in answer.sentence) == (2, True)


@pytest.mark.parametrize(("arguments", "matter"), [
    ([], "give one bundle"),
    (["a", "b"], "give one bundle"),
    (["nowhere.json"], "cannot be read"),
    (["."], "cannot be read"),
    (["bad\udcffname"], "cannot be read"),
    (["bundle.json", "--key"], "expected one argument"),
    (["bundle.json", "--frobnicate"], "unrecognized"),
    (["bundle.json", "--key", "nonsense"], "not a verifier key"),
    (["bundle.json", "--key", "a+00000000+AQ=="], "not an Ed25519 key"),
    (["bundle.json", "--block-hash", "0x12"], "64 hex digits"),
    (["bundle.json", "--contract", "x"], "40 hex digits"),
    (["bundle.json", "--tiles", "x"], "takes one of"),
    (["--checkpoints", "a", "b", "--proof", "x", "--tiles", "y", "--key", "k"], "takes one of"),
    (["--checkpoints", "a", "b"], "under a key"),
    (["--checkpoints", "a", "b", "--contract", "0x"], "no contract"),
])  # fmt: skip
def test_a_command_line_that_makes_no_sense_is_exit_2(verify: Verify, arguments: list[str], matter: str) -> None:
    answer = verify(None, *arguments)
    assert (answer.code, answer.errors, answer.output.count("\n")) == (2, "", 1)
    assert matter in answer.sentence


def test_the_wrong_key_is_refused_even_where_the_bundle_brings_its_own(verify: Verify) -> None:
    answer = verify(HONEST, "--key", Signer(seed=b"x" * 32).vkey)
    assert (answer.code, "which you gave" in answer.sentence) == (1, True)


def test_a_bundle_under_its_own_key_is_not_proved(verify: Verify) -> None:
    """Whoever forges a record signs it: exit 0 here would be a verdict that the forger gives."""
    answer = verify(HONEST, *BLOCKS)
    assert (answer.code, "only proved to agree with itself" in answer.sentence) == (3, True)


def test_a_rotated_key_is_one_of_several(verify: Verify) -> None:
    old, new = Signer(seed=b"o" * 32), SIGNER
    bundle = copy.deepcopy(HONEST)
    set_note(bundle, old.checkpoint(3, mth(RECORD.leaves[:3])), 1)
    assert verify(bundle, "--key", old.vkey, "--key", new.vkey).code == 0
    assert verify(bundle, "--key", new.vkey).code == 1


def test_a_cosigned_checkpoint_is_accepted_under_the_key_that_is_known(verify: Verify) -> None:
    """C2SP signed-note: signatures of unknown keys are ignored, before or after ours."""
    witness = Signer("witness.test", b"w" * 32)
    bundle = copy.deepcopy(HONEST)
    body, line = note(bundle).split("\n\n")
    other = witness.note(body + "\n").split("\n\n")[1]
    set_note(bundle, f"{body}\n\n{other}{line}{other}")
    assert verify(bundle, "--key", SIGNER.vkey).code == 0


def test_named_blocks_must_be_those_of_the_anchors(verify: Verify) -> None:
    answer = verify(HONEST, "--key", SIGNER.vkey, *BLOCKS)
    assert (answer.code, "ask any node" in answer.output) == (0, False)
    answer = verify(HONEST, "--key", SIGNER.vkey, *BLOCKS[:4])
    assert (answer.code, "not one that you named" in answer.sentence) == (1, True)


def test_without_a_receipt_the_evidence_is_incomplete_and_not_false(verify: Verify) -> None:
    answer = verify(RECORD.bundle(2, 13, anchored=()), "--key", SIGNER.vkey)
    assert (answer.code, answer.sentence.startswith("Incomplete: ")) == (3, True)
    no_anchors = {**RECORD.bundle(2), "anchors": []}
    assert verify(no_anchors, "--key", SIGNER.vkey).code == 3
    answer = verify(RECORD.bundle(2, 13, anchored=(1, 2)), "--key", SIGNER.vkey)
    assert (answer.code, "entry seq 13" in answer.sentence) == (3, True)


@pytest.mark.parametrize("member", ["block_hash", "header", "receipt_index", "receipt_proof"])
def test_a_receipt_with_a_member_missing_is_no_receipt(verify: Verify, member: str) -> None:
    bundle = copy.deepcopy(HONEST)
    bundle["anchors"][2][member] = None
    assert verify(bundle, "--key", SIGNER.vkey).code == 3


def test_a_later_anchor_covers_what_came_before(verify: Verify) -> None:
    assert verify(RECORD.bundle(2, 13, anchored=(3,)), "--key", SIGNER.vkey).code == 0


def test_programs_are_answered_in_json(verify: Verify) -> None:
    answer = verify(HONEST, "--key", SIGNER.vkey, "--json")
    told = json.loads(answer.output)
    assert (answer.code, told["exit_code"], told["result"]) == (0, 0, "proved")
    assert [entry["seq"] for entry in told["entries"]] == [2, 5, 6, 13]
    assert told["entries"][0]["disclosed"]["/diff/rows/0/row/email_sealed"] == "zoë+2@example.com"
    assert told["anchors"][0]["block_hash"] == HONEST["anchors"][0]["block_hash"]
    told = json.loads(verify(b"{", "--json").output)
    assert (told["exit_code"], told["result"]) == (2, "unreadable")


def test_a_hostile_bundle_does_not_steer_the_terminal(verify: Verify) -> None:
    record = Record()
    record.append(1, actor="\x1b[2J\u009b31m", resource="FXI-\u202e1")
    record.sizes = [1]
    bundle = record.bundle(1)
    bundle["subject_matter"]["resource"] = "FXI-\u202e1"
    answer = verify(bundle, "--key", SIGNER.vkey)
    assert answer.code == 0
    assert answer.output.isascii()
    assert "\x1b" not in answer.output
    answer = verify({"format": "\x1b[2J"})
    assert "\x1b" not in answer.output


def test_help_says_what_is_checked_and_what_is_not(verify: Verify) -> None:
    answer = verify(None, "--help")
    assert answer.code == 0
    assert {"WHAT IS CHECKED", "WHAT IS NOT CHECKED", "exit codes:"} <= set(answer.output.splitlines())


def test_sealed_texts_of_the_bundles_are_those_of_the_product() -> None:
    """The tests' own commitment is the kernel's (AD-14)."""
    from fintokenx.kernel.sealing import commitment

    assert sealed("email", "zoë")[0].split(":")[2] == commitment("email", b"s" * 32, "zoë")
