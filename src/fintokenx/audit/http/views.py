"""How entries, evidence and anchors are spelled at the edge."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from fintokenx.audit.types import Bundle, Entry


class EntryView(BaseModel):
    """One entry of the record."""

    seq: int
    id: str
    timestamp: datetime
    action: str
    actor: str
    actor_role: str
    on_behalf_of: str | None
    resource: str
    request_id: str
    diff: dict[str, Any] = Field(description="`facts` and `rows`: what became true, and the row operations.")
    prev_hash: str
    hash: str
    merkle_batch_id: int

    @classmethod
    def of(cls, entry: Entry) -> EntryView:
        """Spell an entry."""
        return cls(
            seq=entry.seq,
            id=entry.id,
            timestamp=entry.timestamp,
            action=entry.action,
            actor=entry.actor,
            actor_role=entry.actor_role,
            on_behalf_of=entry.on_behalf_of,
            resource=entry.resource,
            request_id=entry.request_id,
            diff=json.loads(entry.diff),
            prev_hash=entry.prev_hash.hex(),
            hash=entry.hash.hex(),
            merkle_batch_id=entry.merkle_batch_id,
        )


class EntryPage(BaseModel):
    """A page of a trail; ``next`` is the cursor of the following one."""

    items: list[EntryView]
    next: int | None


class LogView(BaseModel):
    """Whose log it is. For convenience: trust in the key comes from elsewhere."""

    origin: str
    key: str = Field(description="The verifier key, `<origin>+<8 hex>+<base64>`.")


class SubjectMatterView(BaseModel):
    """What the bundle is about."""

    resource: str
    made_at: str


class CheckpointView(BaseModel):
    """A signed note (C2SP tlog-checkpoint)."""

    batch_id: int
    note: str


class AnchorLine(BaseModel):
    """Where a tree's root is anchored."""

    batch_id: int
    tree_size: int
    root: str
    chain_id: int
    contract: str
    tx_hash: str | None
    block_number: int


class AnchorPage(BaseModel):
    """A page of anchors; ``next`` is the cursor of the following one."""

    MEMBERS: ClassVar = tuple(AnchorLine.model_fields)

    items: list[AnchorLine]
    next: int | None


class AnchorView(AnchorLine):
    """An anchor with its receipt: a proof against the hash of its block. Null until a node has given it."""

    block_hash: str | None
    header: str | None = Field(description="The block header's RLP, hex; its keccak-256 is `block_hash`.")
    receipt_index: int | None
    receipt_proof: list[str] | None = Field(description="Nodes of the receipts trie, root first, hex.")


class ConsistencyView(BaseModel):
    """That the larger tree only adds to the smaller one (RFC 6962 §2.1.2)."""

    from_: int = Field(alias="from")
    to: int
    path: list[str]


class DisclosedView(BaseModel):
    """A sealed field in the clear, with what proves it."""

    pointer: str
    field: str
    salt: str
    value: str


class ProvedEntryView(BaseModel):
    """An entry's bytes and its path to the root of a checkpoint."""

    canonical: str = Field(description="The entry's canonical bytes (RFC 8785), as text.")
    leaf_index: int = Field(description="0-based place in the log.")
    tree_size: int = Field(description="That of the first checkpoint that covers it.")
    path: list[str] = Field(description="Sibling hashes, nearest first (RFC 6962 §2.1.1), hex.")
    disclosed: list[DisclosedView]


class BundleView(BaseModel):
    """Evidence that is checked without us: docs/evidence.md."""

    format: str
    log: LogView
    subject_matter: SubjectMatterView
    checkpoints: list[CheckpointView]
    anchors: list[AnchorView]
    consistency: list[ConsistencyView]
    entries: list[ProvedEntryView]

    @classmethod
    def of(cls, bundle: Bundle) -> BundleView:
        """Spell a bundle."""
        return cls.model_validate(bundle.wire())
