"""Routes of the record: trails and proofs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from fintokenx.audit.service.proving import provable, prove
from fintokenx.audit.service.taxonomy import taxonomy
from fintokenx.audit.service.trails import entries_of
from fintokenx.audit.types import Action, Entry, NotYetAnchored, OnBehalfOf, Proof, UnknownEntry
from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.db import Pool
from fintokenx.kernel.edge import Query, problems, query

router = APIRouter(tags=["audit"])


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


class ProofView(BaseModel):
    """All that is needed to check an entry without us: bytes → leaf → path → root → anchor."""

    entry_id: str
    canonical: str = Field(description="The entry's canonical bytes (RFC 8785), as text.")
    leaf_hash: str = Field(description="SHA-256(0x00 ‖ canonical), hex.")
    leaf_index: int = Field(description="0-based place in the log.")
    tree_size: int
    path: list[str] = Field(description="Sibling hashes, nearest first (RFC 6962 §2.1.1), hex.")
    root: str
    batch_id: int
    tx_hash: str = Field(description="The transaction that anchored the root.")
    block_number: int

    @classmethod
    def of(cls, proof: Proof) -> ProofView:
        """Spell a proof."""
        return cls(
            entry_id=proof.entry.id,
            canonical=proof.entry.canonical_bytes().decode(),
            leaf_hash=proof.entry.hash.hex(),
            leaf_index=proof.entry.seq - 1,
            tree_size=proof.tree_size,
            path=[sibling.hex() for sibling in proof.path],
            root=proof.root.hex(),
            batch_id=proof.batch_id,
            tx_hash=proof.tx_hash,
            block_number=proof.block_number,
        )


class ActionView(BaseModel):
    """One line of the closed taxonomy."""

    name: str = Field(description="As it stands in an entry.", examples=["SUBMIT_INVOICE"])
    customer_facing: bool = Field(description="Whether it is a customer's act.")
    roles: list[Role] = Field(description="Who may record it.")
    on_behalf_of: OnBehalfOf = Field(description="Whether an entry names somebody on whose behalf it was done.")

    @classmethod
    def of(cls, action: Action) -> ActionView:
        """Spell an action."""
        return cls(
            name=action.name,
            customer_facing=action.customer_facing,
            roles=list(action.roles),
            on_behalf_of=action.on_behalf_of,
        )


class Taxonomy(BaseModel):
    """Everything that may be recorded; the database refuses an entry with anything else."""

    items: list[ActionView]


@router.get("/v1/audit/actions", responses=problems(WrongRole))
async def actions(read: Annotated[Query, Depends(query)]) -> Taxonomy:
    """The closed taxonomy of the record (AD-15). For every signed-in caller and every API key."""
    found = await read.run(lambda tx: taxonomy(tx, read.caller))
    return Taxonomy(items=[ActionView.of(action) for action in found])


@router.get("/v1/audit/entries", responses=problems(WrongRole))
async def trail(read: Annotated[Query, Depends(query)], resource: str, after: int = 0, limit: int = 100) -> EntryPage:
    """The trail of one resource (an invoice reference, a subject id …), oldest first.

    For staff, and for a partner without what concerns cases, alerts, gates and freezes. Customers get none for now."""
    limit = max(1, min(limit, 200))
    found = await read.run(
        lambda tx: entries_of(tx, read.caller, resources=[resource], after_seq=after, limit=limit + 1)
    )
    more = found[limit - 1].seq if len(found) > limit else None
    return EntryPage(items=[EntryView.of(entry) for entry in found[:limit]], next=more)


@router.get("/v1/audit/entries/{entry_id}/proof", responses=problems(UnknownEntry, NotYetAnchored, WrongRole))
async def proof(entry_id: str, request: Request, read: Annotated[Query, Depends(query)]) -> ProofView:
    """That the entry stands in an anchored tree (AD-09). Discloses nothing of other tenants but hashes (AD-13)."""
    hashes: Pool = request.app.state.sealer_pool
    found = await read.run(lambda tx: provable(tx, read.caller, entry_id=entry_id))
    return ProofView.of(await prove(found, hashes=hashes))
