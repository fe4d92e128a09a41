#!/usr/bin/env python3
"""fxverify checks evidence from the audit record of FinToken X, offline, trusting nothing of FinToken X.

It is one file, needs Python 3.9 or later and nothing else, opens no network connection and writes no file. Read it from
top to bottom: each section says which standard it follows, and nothing is used before it is explained.

    1  Outcomes and limits         what may come out, and how big anything may be
    2  Strict reading              JSON, hex and base64 with one spelling only
    3  The Merkle tree             RFC 6962 hashes, RFC 9162 proofs, C2SP tlog-tiles
    4  Ed25519                     RFC 8032
    5  Signed checkpoints          C2SP signed-note and tlog-checkpoint
    6  The network's structures    keccak-256, RLP, Merkle Patricia proofs
    7  Anchors                     a contract's log in a receipt in a block
    8  Entries                     RFC 8785 bytes, and fields disclosed from them
    9  A bundle                    all of the above, tied together
    10 Two checkpoints             that one record is the other one, grown
    11 The command line
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import sys
from bisect import bisect_left
from datetime import datetime

# ── 1  Outcomes and limits ───────────────────────────────────────────────────────────────────────────────────────────

PROVED, FALSE, UNREADABLE, INCOMPLETE = 0, 1, 2, 3
WORDS = {PROVED: "Proved", FALSE: "False", UNREADABLE: "Unreadable", INCOMPLETE: "Incomplete"}

FILE_BYTES = 64 * 2**20
ENTRY_BYTES = 16 * 2**20
NOTE_BYTES = 64 * 2**10
LIST_LENGTH = 100_000  # entries, checkpoints or anchors in a bundle
SIGNATURES = 100  # lines of signatures under a note
CHECKPOINTS = 10_000  # each costs a signature check
NODE_BYTES = 64 * 2**10  # a block header, a node of a Patricia path
PATH_LENGTH = 64  # hashes of a Merkle path, nodes of a Patricia path
DEPTH = 64  # lists and objects inside each other
BIGGEST = 2**53 - 1  # the largest integer that every JSON reader reads alike


class Untrue(Exception):
    """Something in the evidence is false. The message is one sentence. Exit code 1."""


class Unreadable(Exception):
    """The input or the command line cannot be understood. The message is one sentence. Exit code 2."""


def shown(text: object) -> str:
    """A value from outside, safe and short enough to be printed in a sentence."""
    plain = json.dumps(text) if isinstance(text, str) else str(text)
    return plain if len(plain) <= 100 else plain[:97] + "..."


# ── 2  Strict reading ────────────────────────────────────────────────────────────────────────────────────────────────
# Two programs must never read two things in one text. So: no duplicate member, no fraction, no integer beyond 2^53-1,
# no half of a surrogate pair, hex in lower case only, base64 in its one canonical spelling.


def read_json(text: str, what: str) -> object:
    """The value of a JSON text. Raises Unreadable."""

    def members(pairs: list) -> dict:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))
            raise Unreadable(f"{what} has the member {shown(twice)} twice in one object.")
        return found

    def integer(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > BIGGEST or digits == "-0":
            raise Unreadable(f"{what} holds the number {shown(digits)}, which is not an integer of at most 2^53-1.")
        return int(digits)

    def no_number(digits: str) -> int:
        raise Unreadable(f"{what} holds {shown(digits)}, and only integers are allowed.")

    try:
        value = json.loads(
            text, object_pairs_hook=members, parse_int=integer, parse_float=no_number, parse_constant=no_number
        )
    except RecursionError:
        raise Unreadable(f"{what} nests more than {DEPTH} levels deep.") from None
    except ValueError as fault:
        raise Unreadable(f"{what} is not JSON: {fault}.") from None
    check_value(value, what)
    return value


def check_value(value: object, what: str) -> None:
    """No value too deep, no text that has no UTF-8."""
    todo = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if depth > DEPTH:
            raise Unreadable(f"{what} nests more than {DEPTH} levels deep.")
        if isinstance(item, str) and re.search("[\ud800-\udfff]", item):
            raise Unreadable(f"{what} holds half of a surrogate pair, which no UTF-8 text can hold.")
        if isinstance(item, dict):
            todo += [(part, depth + 1) for part in (*item, *item.values())]
        elif isinstance(item, list):
            todo += [(part, depth + 1) for part in item]


def shape(value: object, what: str, kinds: dict) -> dict:
    """The members of an object: exactly these, each read by its kind."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not an object.")
    if value.keys() != kinds.keys():
        name = sorted(value.keys() ^ kinds.keys())[0]
        raise Unreadable(f"{what} {'lacks the' if name in kinds else 'has the unknown'} member {shown(name)}.")
    return {name: kind(value[name], f"{shown(name)} of {what}") for name, kind in kinds.items()}


def text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{what} is not text.")
    return value


def number(value: object, what: str) -> int:
    if type(value) is not int or value < 0:
        raise Unreadable(f"{what} is not a whole number.")
    return value


def listed(kind, limit: int):
    """A kind: a list of things of one kind."""

    def read(value: object, what: str) -> list:
        if not isinstance(value, list):
            raise Unreadable(f"{what} is not a list.")
        if len(value) > limit:
            raise Unreadable(f"{what} has {len(value)} members, more than the {limit} that are accepted.")
        return [kind(item, f"number {at + 1} in {what}") for at, item in enumerate(value)]

    return read


def hexed(prefix: str, size: int | None):
    """A kind: so many bytes in lower-case hex, or any number up to NODE_BYTES."""

    def read(value: object, what: str) -> bytes:
        pattern = re.escape(prefix) + ("(?:[0-9a-f]{2})*" if size is None else f"[0-9a-f]{{{2 * size}}}")
        if size is None and isinstance(value, str) and len(value) > 2 * NODE_BYTES:
            raise Unreadable(f"{what} is longer than {NODE_BYTES} bytes.")
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            form = "hex" if size is None else f"{2 * size} hex digits"
            raise Unreadable(f"{what} is not {form} in lower case{' after ' + prefix if prefix else ''}.")
        return bytes.fromhex(value[len(prefix) :])

    return read


def or_null(kind):
    return lambda value, what: None if value is None else kind(value, what)


def instant(value: object, what: str) -> str:
    try:
        found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{6}Z", text(value, what), re.ASCII)
        datetime.strptime(found[1] + "+0000" if found else "", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        raise Unreadable(f"{what} is not an instant such as 2026-01-31T09:00:00.000000Z.") from None
    return value


def unbase64(digits: str) -> bytes | None:
    """RFC 4648 section 4 in its canonical spelling, or None."""
    try:
        content = base64.b64decode(digits.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return None
    return content if base64.b64encode(content).decode() == digits else None


HASH, ADDRESS, HASH_0X, BYTES = hexed("", 32), hexed("0x", 20), hexed("0x", 32), hexed("", None)


# ── 3  The Merkle tree (RFC 6962 section 2.1, RFC 9162 section 2.1) ──────────────────────────────────────────────────


def leaf_hash(content: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def inclusion_root(leaf: bytes, index: int, size: int, path: list, what: str) -> bytes:
    """The root that ``path`` leads to from a leaf; RFC 9162 section 2.1.3.2."""
    if index >= size:
        raise Untrue(f"{what} is said to stand at index {index} of a tree of only {size} entries.")
    fn, sn, node = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            raise Untrue(f"The Merkle path of {what} is too long for a tree of {size} entries.")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Untrue(f"The Merkle path of {what} is too short for a tree of {size} entries.")
    return node


def check_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: list) -> None:
    """That the tree (new_size, new_root) is (old_size, old_root) with more leaves; RFC 9162 section 2.1.4.2."""
    what = f"The consistency proof from {old_size} to {new_size} entries"
    if old_size > new_size:
        raise Untrue(f"A record of {old_size} entries cannot have grown into one of {new_size}.")
    if old_size == new_size and old_root != new_root:
        raise Untrue(f"There are two different records of {old_size} entries: the record was forked.")
    if old_size == 0:
        raise Unreadable("A record of no entries agrees with every other, so there is nothing to compare.")
    if old_size == new_size:
        if path:
            raise Untrue(f"{what} must be empty, but it holds {len(path)} hashes.")
        return
    nodes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not path:
        raise Untrue(f"{what} is empty.")
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if sn == 0:
            raise Untrue(f"{what} is too long.")
        if fn & 1 or fn == sn:
            old, new = node_hash(node, old), node_hash(node, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, node)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Untrue(f"{what} is too short.")
    if old != old_root:
        raise Untrue(f"{what} does not start from the smaller checkpoint: the record was changed or the proof was.")
    if new != new_root:
        raise Untrue(f"{what} does not lead to the larger checkpoint: the record was changed or the proof was.")


class Tiles:
    """A folder of tiles (C2SP tlog-tiles) fetched from the open log; makes the consistency proof that they imply.

    Nothing here is trusted: the proof is checked against both checkpoints like any other.
    """

    def __init__(self, folder: str, size: int) -> None:
        self.folder = os.path.join(folder, "tile") if os.path.isdir(os.path.join(folder, "tile")) else folder
        self.size = size

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of one tile: full if it is there in full, else as wide as the tree makes it."""
        digits = f"{index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = os.path.join(str(level), *("x" + part for part in parts[:-1]), parts[-1])
        hashes = self.size >> (8 * level)
        width = min(256, hashes - 256 * index)
        if width < 256 and not os.path.isfile(os.path.join(self.folder, name)):
            name = os.path.join(name + ".p", str(width))
        else:
            width = 256
        content = read_file(os.path.join(self.folder, name), f"The tile {name}", 256 * 32)
        if len(content) != 32 * width:
            raise Unreadable(f"The tile {name} has {len(content)} bytes where {32 * width} are due: it is damaged.")
        return content

    def subtree(self, start: int, end: int) -> bytes:
        """The tree hash over leaves start ... end - 1."""
        count = end - start
        if count & (count - 1):
            middle = start + (1 << (count.bit_length() - 1))
            return node_hash(self.subtree(start, middle), self.subtree(middle, end))
        level, above = divmod(count.bit_length() - 1, 8)
        first = start >> (8 * level)
        tile = self.tile(level, first // 256)
        at = 32 * (first % 256)
        nodes = [tile[at + 32 * k : at + 32 * k + 32] for k in range(1 << above)]
        while len(nodes) > 1:
            nodes = [node_hash(nodes[k], nodes[k + 1]) for k in range(0, len(nodes), 2)]
        return nodes[0]

    def consistency(self, old_size: int) -> list:
        """PROOF(old_size, all leaves); RFC 6962 section 2.1.2."""
        proof, start, end, whole = [], 0, self.size, True
        while start < old_size != end:
            middle = start + (1 << ((end - start - 1).bit_length() - 1))
            if old_size <= middle:
                proof.append(self.subtree(middle, end))
                end = middle
            else:
                proof.append(self.subtree(start, middle))
                start, whole = middle, False
        return ([] if whole else [self.subtree(start, end)]) + proof[::-1]


# ── 4  Ed25519 (RFC 8032 section 5.1) ────────────────────────────────────────────────────────────────────────────────
# Strict: S must be below L; points must be spelled canonically; a public key of small order (for which one signature
# fits many messages) is refused. The equation is the one without the cofactor, [S]B = R + [k]A, and R is compared as
# bytes, as OpenSSL and Go do.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)  # extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def add(p: tuple, q: tuple) -> tuple:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def decoded(content: bytes) -> tuple | None:
    """A point, or None for bytes that are not the one spelling of a point on the curve."""
    y = int.from_bytes(content, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


def encoded(p: tuple) -> bytes:
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def public_key(content: bytes) -> tuple | None:
    """The point of a public key, or None if it is not one that may be trusted."""
    point = decoded(content) if len(content) == 32 else None
    if point is None:
        return None
    eightfold = point
    for _ in range(3):
        eightfold = add(eightfold, eightfold)
    return None if encoded(eightfold) == encoded(NEUTRAL) else point


def signature_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    point = public_key(key)
    s = int.from_bytes(signature[32:], "little")
    if point is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    minus = (P - point[0], point[1], 1, P - point[3])
    total, both = NEUTRAL, add(BASE, minus)
    for bit in range(252, -1, -1):  # [S]B + [k](-A), both at once
        total = add(total, total)
        pick = (s >> bit & 1) + 2 * (k >> bit & 1)
        if pick:
            total = add(total, (BASE, minus, both)[pick - 1])
    return encoded(total) == signature[:32]


# ── 5  Signed checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) ───────────────────────────────────────────


class Key:
    """A verifier key: <name>+<key id>+<base64 of 0x01 and the Ed25519 public key>."""

    def __init__(self, spelling: str, what: str) -> None:
        parts = spelling.split("+", 2)
        material = unbase64(parts[2]) if len(parts) == 3 else None
        if material is None or not named(parts[0]) or not re.fullmatch("[0-9a-f]{8}", parts[1]):
            raise Unreadable(f"{what} is not a verifier key such as example.com/log+1a2b3c4d+AbCd...")
        if len(material) != 33 or material[0] != 1:
            raise Unreadable(f"{what} is not an Ed25519 key.")
        self.name, self.id, self.point = parts[0], bytes.fromhex(parts[1]), material[1:]
        if hashlib.sha256(self.name.encode() + b"\n" + material).digest()[:4] != self.id:
            raise Unreadable(f"{what} contradicts itself: its key id {parts[1]} is not that of its name and bytes.")
        if public_key(self.point) is None:
            raise Unreadable(f"{what} holds bytes that are not a safe Ed25519 public key.")

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}"


def named(name: str) -> bool:
    """Whether a key may have this name."""
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def signed_text(note: str, keys: list, what: str) -> tuple:
    """The text of a note and the key that signed it. Signatures of unknown keys are passed over, as it must be."""
    if len(note.encode()) > NOTE_BYTES:
        raise Unreadable(f"{what} is longer than {NOTE_BYTES} bytes.")
    if any(ord(c) < 0x20 and c != "\n" for c in note):
        raise Untrue(f"{what} holds a control character, so it is not a signed note.")
    body, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise Untrue(f"{what} is not a signed note: a text, an empty line, signature lines.")
    signed_by, others, lines = None, [], tail[:-1].split("\n")
    if len(lines) > SIGNATURES:
        raise Unreadable(f"{what} has {len(lines)} signatures, more than the {SIGNATURES} that are accepted.")
    for line in lines:
        found = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
        content = unbase64(found[2]) if found else None
        if not found or not named(found[1]) or content is None or len(content) < 5:
            raise Untrue(f"{what} has a malformed signature line.")
        key = next((key for key in keys if (key.name, key.id) == (found[1], content[:4])), None)
        if key is None:
            others.append(f"{found[1]}+{content[:4].hex()}")
        elif not signature_holds(key.point, (body + "\n").encode(), content[4:]):
            raise Untrue(f"The signature of {key} on {what[0].lower() + what[1:]} is false.")
        else:
            signed_by = signed_by or key
    if signed_by is None:
        raise Untrue(f"{what} is signed by {shown(others[0])}, and not by {' or '.join(map(str, keys))}.")
    return body + "\n", signed_by


class Checkpoint:
    """A checkpoint whose signature holds: origin, size, root."""

    def __init__(self, note: str, keys: list, what: str) -> None:
        body, self.key = signed_text(note, keys, what)
        lines = body[:-1].split("\n")
        if len(lines) < 3 or not all(lines):
            raise Untrue(f"{what} is signed but is not a checkpoint: origin, size, root.")
        root = unbase64(lines[2])
        if not re.fullmatch("0|[1-9][0-9]{0,15}", lines[1]) or int(lines[1]) > BIGGEST:
            raise Untrue(f"{what} is signed but its size {shown(lines[1])} is not a number of entries.")
        if root is None or len(root) != 32:
            raise Untrue(f"{what} is signed but its root is not 32 bytes in base64.")
        self.origin, self.size, self.root = lines[0], int(lines[1]), root
        if self.origin != self.key.name:
            raise Untrue(f"{what} is of the log {shown(self.origin)}, and the key is for {shown(self.key.name)}.")


# ── 6  The network's structures ──────────────────────────────────────────────────────────────────────────────────────

ROTATIONS, ROUND_CONSTANTS = [[0] * 5 for _ in range(5)], []


def fill_keccak_tables() -> None:
    """Keccak's constants, from their definitions (FIPS 202 sections 3.2.2 and 3.2.5)."""
    x, y = 1, 0
    for t in range(24):
        ROTATIONS[x][y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    register = 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << (2**j - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        ROUND_CONSTANTS.append(constant)


fill_keccak_tables()


def turned(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & (2**64 - 1)


def keccak256(content: bytes) -> bytes:
    """The hash of Ethereum: Keccak with the padding that it had before it became SHA-3."""
    content += b"\x01" + bytes(-(len(content) + 1) % 136)
    content = content[:-1] + bytes([content[-1] | 0x80])
    a = [[0] * 5 for _ in range(5)]  # a[x][y]
    for block in range(0, len(content), 136):
        for k in range(17):
            a[k % 5][k // 5] ^= int.from_bytes(content[block + 8 * k : block + 8 * k + 8], "little")
        for constant in ROUND_CONSTANTS:
            c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
            d = [c[x - 1] ^ turned(c[(x + 1) % 5], 1) for x in range(5)]
            b = [[0] * 5 for _ in range(5)]
            for x in range(5):
                for y in range(5):
                    b[y][(2 * x + 3 * y) % 5] = turned(a[x][y] ^ d[x], ROTATIONS[x][y])
            a = [[b[x][y] ^ ~b[(x + 1) % 5][y] & b[(x + 2) % 5][y] for y in range(5)] for x in range(5)]
            a[0][0] ^= constant
    return b"".join(a[x][0].to_bytes(8, "little") for x in range(4))


def rlp(content: bytes, what: str) -> object:
    """Bytes or nested lists from Ethereum's RLP, in its one canonical spelling."""

    def item(at: int, end: int, depth: int) -> tuple:
        if at >= end or depth > DEPTH:
            raise Untrue(f"{what} is not RLP.")
        first, at = content[at], at + 1
        if first < 0x80:
            return bytes([first]), at
        base = 0x80 if first < 0xC0 else 0xC0
        length = first - base
        if length > 55:
            digits = content[at : at + length - 55]
            at, length = at + length - 55, int.from_bytes(digits, "big")
            if digits[:1] in (b"", b"\0") or length < 56:
                raise Untrue(f"{what} is not canonical RLP.")
        stop = at + length
        if stop > end:
            raise Untrue(f"{what} is truncated RLP.")
        if base == 0x80:
            if length == 1 and content[at] < 0x80:
                raise Untrue(f"{what} is not canonical RLP.")
            return content[at:stop], stop
        parts = []
        while at < stop:
            part, at = item(at, stop, depth + 1)
            parts.append(part)
        return parts, stop

    value, stop = item(0, len(content), 1)
    if stop != len(content):
        raise Untrue(f"{what} has bytes after its end.")
    return value


def nibbles(content: bytes) -> list:
    return [half for byte in content for half in (byte >> 4, byte & 15)]


def patricia_value(root: bytes, key: bytes, nodes: list, what: str) -> bytes:
    """The value of ``key`` under ``root``; Yellow Paper appendix D. Receipts are so long that no node is embedded."""
    expected, rest = root, nibbles(key)
    for at, content in enumerate(nodes):
        if keccak256(content) != expected:
            raise Untrue(f"Node {at + 1} of {what} does not have the hash that leads to it.")
        node = rlp(content, f"node {at + 1} of {what}")
        if isinstance(node, list) and len(node) == 17:
            value, following = (node[16], None) if not rest else (None, node[rest[0]])
            rest = rest[1:]
        elif isinstance(node, list) and len(node) == 2 and isinstance(node[0], bytes) and node[0]:
            flag, *path = nibbles(node[0])
            path = path if flag & 1 else path[1:]
            if flag > 3 or (flag < 2 and rest[: len(path)] != path) or (flag >= 2 and rest != path):
                raise Untrue(f"Node {at + 1} of {what} leads to another receipt.")
            rest = rest[len(path) :]
            value, following = (node[1], None) if flag >= 2 else (None, node[1])
        else:
            raise Untrue(f"Node {at + 1} of {what} is not a node of a trie.")
        if following is None:
            if at + 1 != len(nodes) or not isinstance(value, bytes) or not value:
                raise Untrue(f"{what[0].upper() + what[1:]} does not end in exactly one receipt.")
            return value
        if not isinstance(following, bytes) or len(following) != 32:
            raise Untrue(f"Node {at + 1} of {what} leads nowhere.")
        expected = following
    raise Untrue(f"{what[0].upper() + what[1:]} is too short.")


# ── 7  Anchors: what the contract FXAuditAnchor took ─────────────────────────────────────────────────────────────────

ANCHORED = keccak256(b"Anchored(uint256,uint256,bytes32)")
HEADER_RECEIPTS_ROOT, HEADER_NUMBER = 5, 8
ANCHOR = {
    "batch_id": number, "tree_size": number, "root": HASH, "chain_id": number, "contract": ADDRESS,
    "tx_hash": or_null(HASH_0X), "block_number": number, "block_hash": or_null(HASH_0X), "header": or_null(BYTES),
    "receipt_index": or_null(number), "receipt_proof": or_null(listed(BYTES, PATH_LENGTH)),
}  # fmt: skip
RECEIPT = ("block_hash", "header", "receipt_index", "receipt_proof")


def check_receipt(anchor: dict) -> None:
    """That a block with this hash holds a receipt in which the contract logs this anchor."""
    what = f"the receipt proof of batch {anchor['batch_id']}"
    whose = f"the anchor of batch {anchor['batch_id']}"
    if keccak256(anchor["header"]) != anchor["block_hash"]:
        raise Untrue(f"The block header of {whose} does not have the block hash 0x{anchor['block_hash'].hex()}.")
    header = rlp(anchor["header"], f"The block header of {whose}")
    if not isinstance(header, list) or len(header) < 15 or not all(isinstance(part, bytes) for part in header):
        raise Untrue(f"The block header of {whose} is not a block header.")
    if int.from_bytes(header[HEADER_NUMBER], "big") != anchor["block_number"]:
        raise Untrue(f"The block of {whose} is not number {anchor['block_number']}, as is said.")
    index = anchor["receipt_index"]
    spelled = index.to_bytes(8, "big").lstrip(b"\0")
    key = spelled if spelled and index < 0x80 else bytes([0x80 + len(spelled)]) + spelled
    receipt = patricia_value(header[HEADER_RECEIPTS_ROOT], key, anchor["receipt_proof"], what)
    if receipt[0] < 0xC0:  # EIP-2718: a type, then the receipt
        if not 1 <= receipt[0] <= 0x7F:
            raise Untrue(f"The receipt of {whose} is of no known type.")
        receipt = receipt[1:]
    fields = rlp(receipt, f"The receipt of {whose}")
    if not isinstance(fields, list) or len(fields) != 4 or not isinstance(fields[3], list):
        raise Untrue(f"The receipt of {whose} is not a receipt.")
    if fields[0] != b"\x01":
        raise Untrue(f"The transaction of {whose} failed.")
    topics = [ANCHORED, anchor["batch_id"].to_bytes(32, "big")]
    data = anchor["tree_size"].to_bytes(32, "big") + anchor["root"]
    if [anchor["contract"], topics, data] not in fields[3]:
        raise Untrue(f"The receipt of {whose} holds no log in which that contract takes that size and root.")


# ── 8  Entries (docs/audit-format.md, RFC 8785) and disclosed fields ─────────────────────────────────────────────────


def canonical(value: object) -> str:
    """RFC 8785: members in the order of their UTF-16 code units, no space, the shortest escapes."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def column(value: object, what: str) -> str:
    if "\0" in text(value, what):
        raise Unreadable(f"{what} holds U+0000.")
    return value


def entry_id(value: object, what: str) -> str:
    if not re.fullmatch("aud_[0-9a-z]+", text(value, what)):
        raise Unreadable(f"{what} is not the id of an entry, aud_...")
    return value


def positive(value: object, what: str) -> int:
    if number(value, what) == 0:
        raise Unreadable(f"{what} is 0, and such numbers begin at 1.")
    return value


def version(value: object, what: str) -> int:
    if number(value, what) != 1:
        raise Unreadable(f"{what} is {value}, and this program knows version 1.")
    return value


def anything(value: object, what: str) -> dict:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not an object.")
    return value


def fact(value: object, what: str) -> dict:
    text(anything(value, what).get("fact"), f'"fact" of {what}')
    return value


def row_change(value: object, what: str) -> dict:
    operation = anything(value, what).get("op")
    parts = {"insert": ("row",), "update": ("key", "before", "after"), "delete": ("key", "before")}
    if not isinstance(operation, str) or operation not in parts:
        raise Unreadable(f"{what} is neither an insert nor an update nor a delete.")
    found = shape(value, what, {"op": text, "table": text, **dict.fromkeys(parts[operation], anything)})
    if operation == "update" and found["before"].keys() != found["after"].keys():
        raise Unreadable(f"{what} does not name the same columns before and after.")
    return found


def diff(value: object, what: str) -> dict:
    return shape(value, what, {"facts": listed(fact, LIST_LENGTH), "rows": listed(row_change, LIST_LENGTH)})


ENTRY = {
    "action": column, "actor": column, "actor_role": column, "diff": diff, "id": entry_id, "merkle_batch_id": positive,
    "on_behalf_of": or_null(column), "prev_hash": HASH, "request_id": column, "resource": column, "seq": positive,
    "tenant_id": column, "timestamp": instant, "v": version,
}  # fmt: skip


def read_entry(spelling: str, what: str) -> tuple:
    """An entry's JSON value and its members. What is wrong with an entry is false, however it is wrong."""
    if len(spelling.encode()) > ENTRY_BYTES:
        raise Unreadable(f"{what} is longer than {ENTRY_BYTES} bytes.")
    try:
        value = read_json(spelling, what)
        members = shape(value, what, ENTRY)
    except Unreadable as fault:
        raise Untrue(str(fault)) from None
    if canonical(value) != spelling:
        raise Untrue(f"{what} is not in canonical form (RFC 8785), so its bytes are not the ones that were recorded.")
    return value, members


def pointed(value: object, pointer: str, what: str) -> object:
    """What a JSON pointer points to; RFC 6901."""
    if not pointer.startswith("/") or re.search("~(?![01])", pointer):
        raise Untrue(f"{what} has the pointer {shown(pointer)}, which is not a JSON pointer.")
    for token in pointer[1:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,5}", name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise Untrue(f"{what} points to {shown(pointer)}, and the entry has nothing there.")
    return value


def check_disclosed(value: object, field: dict, what: str) -> None:
    """That the entry commits to this field's value: SHA-256(0x02, salt, field, 0x00, value)."""
    if not 1 <= len(field["field"]) <= 200 or "\0" in field["field"]:
        raise Untrue(f"{what} has a name that no field can have.")
    sealed = pointed(value, field["pointer"], what)
    found = re.fullmatch("sealed:v1:([0-9a-f]{64}):[A-Za-z0-9_-]+", sealed) if isinstance(sealed, str) else None
    if not found:
        raise Untrue(f"{what} points to {shown(field['pointer'])}, where the entry holds no sealed text.")
    content = b"\x02" + field["salt"] + field["field"].encode() + b"\x00" + field["value"].encode()
    if hashlib.sha256(content).hexdigest() != found[1]:
        raise Untrue(f"{what} is not what the entry commits to at {shown(field['pointer'])}.")


# ── 9  A bundle (docs/evidence.md) ───────────────────────────────────────────────────────────────────────────────────

BUNDLE = {
    "format": text,
    "log": lambda value, what: shape(value, what, {"origin": text, "key": text}),
    "subject_matter": lambda value, what: shape(value, what, {"resource": text, "made_at": instant}),
    "checkpoints": listed(
        lambda value, what: shape(value, what, {"batch_id": positive, "note": text}), CHECKPOINTS
    ),
    "anchors": listed(lambda value, what: shape(value, what, ANCHOR), LIST_LENGTH),
    "consistency": listed(
        lambda value, what: shape(value, what, {"from": number, "to": number, "path": listed(HASH, PATH_LENGTH)}),
        LIST_LENGTH,
    ),
    "entries": listed(
        lambda value, what: shape(
            value, what,
            {"canonical": text, "leaf_index": number, "tree_size": number, "path": listed(HASH, PATH_LENGTH),
             "disclosed": listed(lambda value, what: shape(value, what, DISCLOSED), LIST_LENGTH)},
        ),
        LIST_LENGTH,
    ),
}  # fmt: skip
DISCLOSED = {"pointer": text, "field": text, "salt": HASH, "value": text}


class Bundle:
    """A bundle that is being checked. Each step raises Untrue or leaves behind what it has proved."""

    def __init__(self, content: str, keys: list, block_hashes: list, contract: bytes | None) -> None:
        if not content.strip():
            raise Unreadable("The bundle is empty.")
        value = read_json(content, "The bundle")
        if not isinstance(value, dict):
            raise Unreadable("The bundle is not an object.")
        said = value.get("format")
        if said != "fintokenx-evidence/1":
            named = "no format" if said is None else f"the format {shown(said)}"
            raise Unreadable(f"The bundle has {named}; this program knows fintokenx-evidence/1.")
        self.parts = shape(value, "the bundle", BUNDLE)
        if not self.parts["entries"] or not self.parts["checkpoints"]:
            raise Unreadable("The bundle holds no entry or no checkpoint, so there is nothing to prove.")
        own = Key(self.parts["log"]["key"], "The key in the bundle")
        if keys and (own.name, own.point) not in [(key.name, key.point) for key in keys]:
            raise Untrue(f"The bundle names the key {own} and not {' or '.join(map(str, keys))}, which you gave.")
        if self.parts["log"]["origin"] != own.name:
            raise Untrue(
                f"The bundle is of the log {shown(self.parts['log']['origin'])}, and its key is of {own.name}."
            )
        self.keys, self.block_hashes, self.contract = keys or [own], block_hashes, contract
        self.checkpoints: dict = {}  # size -> (batch, checkpoint), in order
        self.anchored: dict = {}  # batch -> anchor with a receipt that holds
        self.entries: list = []

    def check(self) -> None:
        self.check_checkpoints()
        self.check_consistency()
        self.check_anchors()
        for at, entry in enumerate(self.parts["entries"]):
            self.check_entry(entry, f"Entry {at + 1} of the bundle")
        self.check_neighbours()

    def check_checkpoints(self) -> None:
        found = []
        for part in self.parts["checkpoints"]:
            batch = part["batch_id"]
            found.append((batch, Checkpoint(part["note"], self.keys, f"The checkpoint of batch {batch}")))
        found.sort(key=lambda pair: pair[0])
        for (batch, older), (later, newer) in zip(found, found[1:]):
            if later == batch:
                raise Untrue(f"The bundle holds two checkpoints of batch {batch}.")
            if newer.size <= older.size:
                raise Untrue(f"The checkpoint of batch {later} is not larger than that of batch {batch} before it.")
        self.checkpoints = {checkpoint.size: (batch, checkpoint) for batch, checkpoint in found}
        self.sizes, self.batches = list(self.checkpoints), [batch for batch, _ in found]

    def check_consistency(self) -> None:
        due = list(zip(self.sizes, self.sizes[1:]))
        for proof in self.parts["consistency"]:
            step = (proof["from"], proof["to"])
            if step not in due:
                raise Untrue(f"The consistency proof from {step[0]} to {step[1]} entries joins no two checkpoints.")
            due.remove(step)
            older, newer = (self.checkpoints[size][1] for size in step)
            check_consistency(older.size, older.root, newer.size, newer.root, proof["path"])
        if due:
            raise Untrue(f"No consistency proof ties the checkpoint of {due[0][0]} entries to that of {due[0][1]}.")

    def check_anchors(self) -> None:
        batches = dict(self.checkpoints.values())
        seen = set()
        for anchor in self.parts["anchors"]:
            batch = anchor["batch_id"]
            if batch not in batches:
                raise Untrue(f"The anchor of batch {batch} belongs to no checkpoint of the bundle.")
            if batch in seen:
                raise Untrue(f"The bundle holds two anchors of batch {batch}.")
            seen.add(batch)
            if anchor["tree_size"] != batches[batch].size:
                raise Untrue(f"The anchor of batch {batch} has another tree size than its checkpoint.")
            if anchor["root"] != batches[batch].root:
                raise Untrue(f"The anchor of batch {batch} has another root than its checkpoint.")
            if self.contract not in (None, anchor["contract"]):
                raise Untrue(f"The anchor of batch {batch} is of another contract than you named.")
            if any(anchor[name] is None for name in RECEIPT):
                continue
            check_receipt(anchor)
            if self.block_hashes and anchor["block_hash"] not in self.block_hashes:
                raise Untrue(f"The block of the anchor of batch {batch} is not one that you named.")
            self.anchored[batch] = anchor

    def check_entry(self, part: dict, what: str) -> None:
        value, members = read_entry(part["canonical"], what)
        what = f"Entry seq {members['seq']}"
        if members["resource"] != self.parts["subject_matter"]["resource"]:
            raise Untrue(f"{what} is about {shown(members['resource'])}, which is not what the bundle is about.")
        if members["seq"] != part["leaf_index"] + 1:
            raise Untrue(f"{what} is said to stand at index {part['leaf_index']}, which is the place of another.")
        size = part["tree_size"]
        if size not in self.checkpoints:
            raise Untrue(f"{what} is proved to a tree of {size} entries, of which the bundle has no checkpoint.")
        leaf = leaf_hash(part["canonical"].encode())
        if inclusion_root(leaf, part["leaf_index"], size, part["path"], what) != self.checkpoints[size][1].root:
            raise Untrue(f"{what} is not in the record of {size} entries: it, its place or its path was changed.")
        # The checkpoints whose trees hold the entry must be those of its own batch and later ones.
        held_by = bisect_left(self.sizes, members["seq"])
        if held_by != bisect_left(self.batches, members["merkle_batch_id"]):
            raise Untrue(f"{what} says that it is of batch {members['merkle_batch_id']}, against the checkpoints.")
        for field in part["disclosed"]:
            check_disclosed(
                value, field, f"The field {shown(field['field'])} disclosed from entry seq {members['seq']}"
            )
        self.entries.append({"members": members, "leaf": leaf, "size": size, "disclosed": part["disclosed"]})

    def check_neighbours(self) -> None:
        """Each entry holds the hash of the one before it: checked wherever both are in the bundle."""
        leaves = {0: bytes(32)}
        for entry in self.entries:
            seq = entry["members"]["seq"]
            if seq in leaves:
                raise Untrue(f"Entry seq {seq} is in the bundle twice.")
            leaves[seq] = entry["leaf"]
        for entry in self.entries:
            seq = entry["members"]["seq"]
            if leaves.get(seq - 1, entry["members"]["prev_hash"]) != entry["members"]["prev_hash"]:
                raise Untrue(f"Entry seq {seq} does not hold the hash of the entry before it.")

    def unanchored(self) -> list:
        """The entries that no receipt covers: none at their checkpoint, none at a larger one that grew from it."""
        largest = max((size for size, (batch, _) in self.checkpoints.items() if batch in self.anchored), default=0)
        return [entry["members"]["seq"] for entry in self.entries if entry["size"] > largest]

    def report(self) -> dict:
        return {
            "log": self.keys[0].name,
            "resource": self.parts["subject_matter"]["resource"],
            "made_at": self.parts["subject_matter"]["made_at"],
            "checkpoints": [
                {"batch_id": batch, "tree_size": size, "root": checkpoint.root.hex(), "key": str(checkpoint.key)}
                for size, (batch, checkpoint) in self.checkpoints.items()
            ],
            "anchors": [
                {"batch_id": batch, "chain_id": anchor["chain_id"], "contract": "0x" + anchor["contract"].hex(),
                 "block_number": anchor["block_number"], "block_hash": "0x" + anchor["block_hash"].hex()}
                for batch, anchor in self.anchored.items()
            ],
            "entries": [
                {**{name: entry["members"][name] for name in ("seq", "timestamp", "action", "resource", "actor")},
                 "tree_size": entry["size"], "leaf_hash": entry["leaf"].hex(),
                 "disclosed": {field["pointer"]: field["value"] for field in entry["disclosed"]}}
                for entry in self.entries
            ],
        }  # fmt: skip


def verify_bundle(options: argparse.Namespace) -> tuple:
    """The exit code, the sentence and the report."""
    keys = [Key(key, "A key that you gave") for key in options.key]
    block_hashes = [HASH_0X(given.lower(), "A block hash that you gave") for given in options.block_hash]
    contract = ADDRESS(options.contract.lower(), "The contract that you gave") if options.contract else None
    content = decode(read_file(options.files[0], "The bundle", FILE_BYTES), "The bundle")
    bundle = Bundle(content, keys, block_hashes, contract)
    bundle.check()
    report = bundle.report()
    notes = ["Whether there are more entries about this was not checked: only the record's keeper can say."]
    if not block_hashes and bundle.anchored:
        notes.append("That these blocks are the network's was not checked: ask any node for their hashes.")
    report["notes"] = notes
    count = len(bundle.entries)
    if not keys:
        sentence = (
            "All that is there holds, but no key was given: the bundle is only proved to agree with itself. Get the "
            "record's key from elsewhere and give it with --key."
        )
        return INCOMPLETE, sentence, report
    if open_ones := bundle.unanchored():
        sentence = (
            f"All that is there holds, but no anchor's receipt covers entry seq {open_ones[0]}"
            + (f" and {len(open_ones) - 1} more" if len(open_ones) > 1 else "")
            + ": ask for the bundle again later."
        )
        return INCOMPLETE, sentence, report
    entries = "1 entry is" if count == 1 else f"{count} entries are"
    if not block_hashes:
        where = f"the signed record of {bundle.keys[0].name}, anchored if the blocks named here are the network's"
        return PROVED, f"{entries} in {where}.", report
    return PROVED, f"{entries} in the signed and anchored record of {bundle.keys[0].name}.", report


# ── 10  Two checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────


def verify_checkpoints(options: argparse.Namespace) -> tuple:
    """That the record of the newer checkpoint is the older one's, grown."""
    if not options.key:
        raise Unreadable("Two checkpoints can only be compared under a key that you give with --key.")
    keys = [Key(key, "A key that you gave") for key in options.key]
    names = ("The older checkpoint", "The newer checkpoint")
    older, newer = (
        Checkpoint(decode(read_file(path, name, NOTE_BYTES), name), keys, name)
        for path, name in zip(options.checkpoints, names)
    )
    if older.origin != newer.origin:
        raise Untrue(f"The checkpoints are of two logs, {shown(older.origin)} and {shown(newer.origin)}.")
    path: list = []
    if options.proof:
        content = read_json(decode(read_file(options.proof, "The proof", FILE_BYTES), "The proof"), "The proof")
        proof = shape(content, "the proof", {"from": number, "to": number, "path": listed(HASH, PATH_LENGTH)})
        if (proof["from"], proof["to"]) != (older.size, newer.size):
            raise Untrue(
                f"The proof is for {proof['from']} and {proof['to']} entries, not {older.size} and {newer.size}."
            )
        path = proof["path"]
    elif options.tiles and older.size < newer.size:
        path = Tiles(options.tiles, newer.size).consistency(older.size)
    elif not options.tiles and 0 < older.size < newer.size:
        raise Unreadable("Two checkpoints of different sizes need a proof: give --proof FILE or --tiles FOLDER.")
    check_consistency(older.size, older.root, newer.size, newer.root, path)
    report = {"log": newer.origin, "sizes": [older.size, newer.size], "roots": [older.root.hex(), newer.root.hex()]}
    return PROVED, f"the record of {newer.size} entries is that of {older.size} entries, grown.", report


# ── 11  The command line ─────────────────────────────────────────────────────────────────────────────────────────────

HELP = """\
Checks evidence from the audit record of FinToken X. It needs no network and trusts nothing that FinToken X says.

WHAT YOU NEED
  BUNDLE  the evidence file that you were handed.
  KEY     the record's public key, one line of text. Get it from somewhere other than the bundle: the contract you
          signed, the regulator's file, or the page /v1/log/key, read on another day and from another place.

WHAT IS CHECKED
  1. Each entry (who did what, when) is exactly as it was recorded: not one character was changed.
  2. Each entry stands in the record that the key's owner signed, at the place that it says.
  3. All signed states of the record in the bundle are one record that only ever grew.
  4. A contract on the network took the record's fingerprint, in the block whose number and hash are printed.
  5. Every entry is about what the bundle says that it is about. Whether all such entries are there is not proved.
  6. Every field that was disclosed (a name, an address) is the one that was sealed into the entry.

WHAT IS NOT CHECKED
  That the printed block is the network's: ask any node or block explorer for the hash of that block, then give it
  here with --block-hash. That what was recorded is what happened: a record proves what was written, and when."""

ENDING = """\
exit codes:
  0  Proved:      every entry is proved to a checkpoint signed by your key, and to an anchor in a block
  1  False:       something is not true; one sentence says what
  2  Unreadable:  the input or the command line cannot be understood
  3  Incomplete:  all that is there holds, but no key was given, or an anchor or its receipt is still missing

examples:
  python3 fxverify.py invoice.json --key 'example.com/log+1a2b3c4d+AbCd...'
  python3 fxverify.py --checkpoints january.txt june.txt --tiles folder --key '...'"""


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise Unreadable(f"The command line makes no sense: {message}.")


def read_command(arguments: list) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser("fxverify.py", description=HELP, epilog=ENDING, formatter_class=form, allow_abbrev=False)
    parser.add_argument("files", metavar="BUNDLE", nargs="*", help="the evidence file")
    parser.add_argument("--key", action="append", default=[], help="a public key of the record; may be repeated")
    parser.add_argument("--block-hash", action="append", default=[], metavar="0x...",
                        help="the hash of a block, from a source that you trust; may be repeated")  # fmt: skip
    parser.add_argument("--contract", metavar="0x...", help="the contract that must have taken the anchors")
    parser.add_argument("--checkpoints", nargs=2, metavar=("OLD", "NEW"),
                        help="compare two signed checkpoints instead of checking a bundle")  # fmt: skip
    parser.add_argument("--proof", metavar="FILE", help="their consistency proof, as in a bundle")
    parser.add_argument("--tiles", metavar="FOLDER", help="or the record's tiles, fetched into a folder")
    parser.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    options = parser.parse_args(arguments)
    if len(options.files) != (0 if options.checkpoints else 1):
        raise Unreadable("The command line makes no sense: give one bundle, or --checkpoints OLD NEW.")
    if options.checkpoints and (options.block_hash or options.contract):
        raise Unreadable("The command line makes no sense: checkpoints have no block and no contract.")
    if bool(options.proof) + bool(options.tiles) > bool(options.checkpoints):
        raise Unreadable("The command line makes no sense: --checkpoints takes one of --proof and --tiles.")
    return options


def read_file(path: str, what: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "the name is not one of a file"
        raise Unreadable(f"{what} cannot be read from {shown(path)}: {reason}.") from None
    if len(content) > limit:
        raise Unreadable(f"{what} is longer than {limit} bytes.")
    return content


def decode(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(f"{what} is not UTF-8 text.") from None


def lines_of(report: dict) -> list:
    """The report for people."""
    lines = []
    for entry in report.get("entries", ()):
        lines.append(
            f"entry {entry['seq']}: {entry['timestamp']} {entry['action']} {entry['resource']} by {entry['actor']}"
        )
        lines += [f"    {pointer} = {json.dumps(value)}" for pointer, value in entry["disclosed"].items()]
    for checkpoint in report.get("checkpoints", ()):
        lines.append(
            f"checkpoint {checkpoint['batch_id']}: {checkpoint['tree_size']} entries, root {checkpoint['root']}"
        )
    for anchor in report.get("anchors", ()):
        where = f"chain {anchor['chain_id']}, contract {anchor['contract']}"
        lines.append(f"anchor {anchor['batch_id']}: block {anchor['block_number']} {anchor['block_hash']}, {where}")
    return lines + [f"Note: {note}" for note in report.get("notes", ())]


def printable(line: str) -> str:
    """ASCII without control characters: a hostile file must not steer the reader's terminal."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in line)


def main(arguments: list) -> int:
    report: dict = {}
    try:
        options = read_command(arguments)
        code, sentence, report = verify_checkpoints(options) if options.checkpoints else verify_bundle(options)
    except Untrue as fault:
        code, sentence = FALSE, str(fault)
    except Unreadable as fault:
        code, sentence = UNREADABLE, str(fault)
    except (MemoryError, RecursionError):
        code, sentence = UNREADABLE, "The input is too large or too deep."
    except Exception as fault:  # a fault of this program must never look like a verdict
        code, sentence = UNREADABLE, f"The input cannot be judged ({type(fault).__name__})."
    try:
        if "--json" in arguments:
            answer = {"result": WORDS[code].lower(), "exit_code": code, "sentence": sentence, **report}
            print(json.dumps(answer, indent=2))
        else:
            for line in lines_of(report):
                print(printable(line))
            print(printable(f"{WORDS[code]}: {sentence}"))
        sys.stdout.flush()
    except OSError:
        return UNREADABLE
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
