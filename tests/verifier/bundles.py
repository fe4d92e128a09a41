"""A small record of its own, written from docs/evidence.md alone: leaves, checkpoints, anchors, bundles, tiles."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.fakes.anchors import AnchorsInMemory

ORIGIN = "fintokenx.test/log"
Json = dict[str, Any]


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


# ── RFC 6962, by its definitions and by nothing cleverer


def split(count: int) -> int:
    """The largest power of two below ``count``."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: list[bytes]) -> bytes:
    """MTH(D) over leaf hashes, §2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    k = split(len(leaves))
    return sha256(b"\x01", mth(leaves[:k]), mth(leaves[k:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D), §2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), mth(leaves[k:])]
    return [*path(index - k, leaves[k:]), mth(leaves[:k])]


def consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """PROOF(m, D), §2.1.2; ``whole`` is SUBPROOF's flag."""
    if old == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*consistency(old, leaves[:k], whole), mth(leaves[k:])]
    return [*consistency(old - k, leaves[k:], False), mth(leaves[:k])]


# ── C2SP signed-note, tlog-checkpoint, tlog-tiles


class Signer:
    """An Ed25519 key of a log, and what it signs."""

    def __init__(self, name: str = ORIGIN, seed: bytes = b"k" * 32) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = name
        self.material = b"\x01" + self.key.public_key().public_bytes_raw()
        self.id = sha256(name.encode(), b"\n", self.material)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{base64.b64encode(self.material).decode()}"

    def note(self, body: str) -> str:
        """A signed note of ``body``, which ends in a newline."""
        signature = base64.b64encode(self.id + self.key.sign(body.encode())).decode()
        return f"{body}\n\u2014 {self.name} {signature}\n"

    def checkpoint(self, size: int, root: bytes, origin: str | None = None) -> str:
        return self.note(f"{origin or self.name}\n{size}\n{base64.b64encode(root).decode()}\n")


def write_tiles(folder: Path, leaves: list[bytes]) -> None:
    """Every tile of the tree, full and partial."""
    level, hashes = 0, leaves
    while hashes:
        for index in range(-(-len(hashes) // 256)):
            part = hashes[256 * index : 256 * index + 256]
            groups = f"{index:09d}"
            name = "/".join([f"x{groups[at : at + 3]}" for at in (0, 3)] + [groups[6:]])
            name = name.removeprefix("x000/").removeprefix("x000/") + (f".p/{len(part)}" if len(part) < 256 else "")
            file = folder / "tile" / str(level) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"".join(part))
        hashes = [mth(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level += 1


# ── The record


def sealed(field: str, value: str, salt: bytes = b"s" * 32) -> tuple[str, Json]:
    """A sealed text, and its disclosure but for the pointer."""
    commitment = sha256(b"\x02", salt, field.encode(), b"\x00", value.encode()).hex()
    return f"sealed:v1:{commitment}:AAAA", {"field": field, "salt": salt.hex(), "value": value}


class Record:
    """Entries in batches of ``batch_sizes``, with personal data in each entry."""

    def __init__(self, *batch_sizes: int) -> None:
        self.canonical: list[str] = []
        self.leaves: list[bytes] = []
        self.sizes: list[int] = []
        for batch, count in enumerate(batch_sizes, 1):
            for _ in range(count):
                self.append(batch)
            self.sizes.append(len(self.leaves))

    def append(self, batch: int, **changed: Any) -> None:
        seq = len(self.leaves) + 1
        row = {
            "id": f"FXI-{seq}",
            "amount": 125_000 + seq,
            "café/x~y": "naïve \u2028 \U0001f600",
            "email_sealed": sealed("email", f"zoë+{seq}@example.com")[0],
            "phone_sealed": sealed("phone", "+44 20 7946 0000", b"t" * 32)[0],
        }
        entry = {
            "action": "SUBMIT_INVOICE", "actor": "sub_1", "actor_role": "seller",
            "diff": {
                "facts": [{"fact": "InvoiceSubmitted", "invoice": f"FXI-{seq}"}],
                "rows": [
                    {"op": "insert", "table": "app.invoices", "row": row},
                    {"op": "update", "table": "app.files", "key": {"k": 1}, "before": {"n": None}, "after": {"n": seq}},
                    {"op": "delete", "table": "app.drafts", "key": {"id": 1}, "before": {"n": True}},
                ],
            },
            "id": f"aud_{seq:026d}", "merkle_batch_id": batch, "on_behalf_of": None,
            "prev_hash": (self.leaves[-1] if self.leaves else bytes(32)).hex(), "request_id": "",
            "resource": "FXI-1", "seq": seq, "tenant_id": "tnt_a",
            "timestamp": f"2026-06-02T09:00:00.{seq:06d}Z", "v": 1,
        }  # fmt: skip
        self.add_bytes(rfc8785.dumps({**entry, **changed}).decode())

    def add_bytes(self, canonical: str) -> None:
        """Record these bytes, whatever they say: what a dishonest log can do."""
        self.canonical.append(canonical)
        self.leaves.append(sha256(b"\x00", canonical.encode()))

    def bundle(self, *seqs: int, signer: Signer | None = None, anchored: tuple[int, ...] | None = None) -> Json:
        """The evidence for some entries; ``anchored`` names the batches that have a receipt (all by default)."""
        signer = signer or Signer()
        receipts = range(1, len(self.sizes) + 1) if anchored is None else anchored
        anchors = asyncio.run(self._anchors(tuple(receipts)))
        return {
            "format": "fintokenx-evidence/1",
            "log": {"origin": signer.name, "key": signer.vkey},
            "subject_matter": {"resource": "FXI-1", "made_at": "2026-06-03T00:00:00.000000Z"},
            "checkpoints": [
                {"batch_id": batch, "note": signer.checkpoint(size, mth(self.leaves[:size]))}
                for batch, size in enumerate(self.sizes, 1)
            ],
            "anchors": anchors,
            "consistency": [
                {"from": old, "to": new, "path": [node.hex() for node in consistency(old, self.leaves[:new])]}
                for old, new in zip(self.sizes, self.sizes[1:], strict=False)
            ],
            "entries": [self._entry(seq) for seq in seqs],
        }

    def _entry(self, seq: int) -> Json:
        size = next(size for size in self.sizes if size >= seq)
        return {
            "canonical": self.canonical[seq - 1],
            "leaf_index": seq - 1,
            "tree_size": size,
            "path": [node.hex() for node in path(seq - 1, self.leaves[:size])],
            "disclosed": [
                {"pointer": "/diff/rows/0/row/email_sealed", **sealed("email", f"zoë+{seq}@example.com")[1]},
                {"pointer": "/diff/rows/0/row/phone_sealed", **sealed("phone", "+44 20 7946 0000", b"t" * 32)[1]},
            ],
        }

    async def _anchors(self, receipts: tuple[int, ...]) -> list[Json]:
        chain, found = AnchorsInMemory(), []
        for batch, size in enumerate(self.sizes, 1):
            anchor = await chain.publish(batch, size, mth(self.leaves[:size]))
            receipt = await chain.receipt(anchor)
            found.append(
                {
                    "batch_id": batch, "tree_size": size, "root": anchor.root.hex(), "chain_id": receipt.chain_id,
                    "contract": receipt.contract, "tx_hash": anchor.tx_hash, "block_number": anchor.block_number,
                    "block_hash": receipt.block_hash, "header": receipt.header.hex(),
                    "receipt_index": receipt.receipt_index,
                    "receipt_proof": [node.hex() for node in receipt.receipt_proof],
                }
            )  # fmt: skip
            if batch not in receipts:
                nulls = ("block_hash", "header", "receipt_index", "receipt_proof")
                found[-1].update(dict.fromkeys(nulls))
        return found
