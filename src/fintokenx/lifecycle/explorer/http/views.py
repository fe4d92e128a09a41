"""How a holder's tokens, events and anchors are spelled at the edge. Of other holders nothing is."""

from __future__ import annotations

from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict, Field

from fintokenx import audit
from fintokenx.kernel.clock import Instant
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.explorer.ports import EventKind
from fintokenx.lifecycle.explorer.service.seen import Events, EventSeen, Holdings, HoldingSeen, OwnSlice
from fintokenx.lifecycle.explorer.types import Agreement, Counterparty, Direction
from fintokenx.web.edge import Secret, ShownOnce


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BlockView(_View):
    """The block at which the chain was read: what is shown is the chain as it stood then."""

    number: int = Field(description="Its number.", examples=[1204])
    made_at: Instant = Field(description="Its own time. Long ago: the network makes no blocks.")

    @classmethod
    def of(cls, head: ChainHead | None) -> BlockView | None:
        """Spell a block, if there is one."""
        return cls(number=head.number, made_at=datetime.fromtimestamp(head.timestamp_unix, UTC)) if head else None


class AnchorView(_View):
    """Where a tree's root stands on chain. Hashes of the whole log: they disclose nothing of anybody."""

    batch_id: int = Field(description="The batch.", examples=[7])
    tree_size: int = Field(description="How many entries of the record it covers, from the first on.")
    root: str = Field(description="The RFC 6962 root over them, hex.")
    tx_hash: str | None = Field(description="The anchoring transaction.")
    block_number: int = Field(description="The block that holds it.")

    @classmethod
    def of(cls, anchor: audit.Anchor) -> AnchorView:
        """Spell an anchor."""
        return cls(
            batch_id=anchor.batch_id,
            tree_size=anchor.tree_size,
            root=anchor.root.hex(),
            tx_hash=anchor.tx_hash or None,
            block_number=anchor.block_number,
        )


class BehindView(_View):
    """The entry of the record behind something: its name and how far it has come, not what it says."""

    id: str = Field(description="Its id.", examples=["aud_01jwrs8s50e9rbkszzv4yve5jt"])
    action: str = Field(description="What was recorded.", examples=["TOKEN_TRANSFER"])
    seq: int = Field(description="Its place in the record, from 1.")
    recorded_at: Instant = Field(description="When.")
    sealed: bool = Field(description="Whether a signed checkpoint covers it. Sealed every ten minutes.")
    anchor: AnchorView | None = Field(description="The first anchor on chain that covers it; null until there is one.")

    @classmethod
    def of(cls, behind: audit.Behind | None) -> BehindView | None:
        """Spell an entry's name, if there is one."""
        if behind is None:
            return None
        return cls(
            id=behind.id,
            action=behind.action,
            seq=behind.seq,
            recorded_at=behind.recorded_at,
            sealed=behind.sealed,
            anchor=AnchorView.of(behind.anchor) if behind.anchor else None,
        )


class SliceView(_View):
    """A part of a token that is the holder's."""

    id: str = Field(description="Its id.")
    index: int = Field(description="Its number among the slices of the token, from 0.")
    face_pence: int = Field(description="Its face in pence.")
    entry: BehindView | None = Field(description="The newest entry that changed it.")

    @classmethod
    def of(cls, own: OwnSlice) -> SliceView:
        """Spell a slice."""
        piece = own.slice
        return cls(id=piece.id, index=piece.index, face_pence=piece.face.value, entry=BehindView.of(own.behind))


class HoldingView(_View):
    """What a wallet of the holder has, or had, of one receivable: by the chain and by the database."""

    token_reference: str | None = Field(
        description="The token's reference; null when the chain has it in the wallet and our database does not know it."
    )
    invoice_reference: str | None = Field(description="The invoice that it stands for; null like the reference.")
    token_id: str = Field(description="The uint256 on chain, as 0x and 64 hex digits.")
    wallet: str = Field(description="The holder's own address, checksummed.")
    state: str | None = Field(description="The token's state; null like the reference.", examples=["HELD"])
    face_pence: int | None = Field(description="Face of the whole receivable in pence; null like the reference.")
    due_date: date | None = Field(description="When the invoice falls due; null like the reference.")
    chain_pence: int = Field(description="What the wallet has on chain at that block.", examples=[1250000])
    frozen_pence: int = Field(
        description="So much of it is frozen on chain; may exceed what is there, by as much as 256 bits.", examples=[0]
    )
    database_pence: int = Field(description="What our database says that the wallet has.", examples=[1250000])
    agreement: Agreement = Field(
        description="equal; in_flight: a transaction is under way that explains the difference; differs: nothing does."
    )
    slices: list[SliceView] = Field(description="The holder's own slices; empty for a whole token.")
    entry: BehindView | None = Field(description="The newest entry that changed the token.")

    @classmethod
    def of(cls, seen: HoldingSeen) -> HoldingView:
        """Spell a holding."""
        token = seen.token
        return cls(
            token_reference=token.reference if token else None,
            invoice_reference=token.invoice_reference if token else None,
            token_id=f"0x{seen.token_id:064x}",
            wallet=seen.wallet,
            state=token.state if token else None,
            face_pence=token.face.value if token else None,
            due_date=token.due_date if token else None,
            chain_pence=seen.held.balance_pence,
            frozen_pence=seen.held.frozen_pence,
            database_pence=seen.database_pence,
            agreement=seen.agreement,
            slices=[SliceView.of(own) for own in seen.slices],
            entry=BehindView.of(seen.behind),
        )


class HoldingPage(_View):
    """Holdings, by their id on chain."""

    block: BlockView | None = Field(description="When the chain was read; null for a holder without a wallet.")
    items: list[HoldingView]
    next: str | None = Field(description="Give this as `after` for the next page; null on the last.")

    @classmethod
    def of(cls, page: Holdings) -> HoldingPage:
        """Spell a page."""
        return cls(block=BlockView.of(page.at), items=[HoldingView.of(seen) for seen in page.items], next=page.next)


class TransferView(_View):
    """One thing that the chain logged of the holder's wallet."""

    kind: EventKind = Field(description="What it was; a freeze moves nothing.")
    direction: Direction = Field(description="Which way it went for the holder; none for a freeze.")
    counterparty: Counterparty = Field(
        description="Who was at the other end: our minting wallet, the holder itself, another holder (never who), or "
        "nobody for a mint, a burn and a freeze."
    )
    token_reference: str | None = Field(description="The token; null when our database does not know it.")
    token_id: str = Field(description="The uint256 on chain, as 0x and 64 hex digits.")
    amount_pence: int = Field(description="What moved; for a freeze what is frozen from then on.", examples=[1250000])
    block_number: int = Field(description="The block that holds it.")
    tx_hash: str = Field(description="The transaction.")
    entry: BehindView | None = Field(
        description="The entry that confirmed it; null until it is recorded, and for ever when we did not ask for it."
    )
    proof: str | None = Field(
        description="Where the holder gets its proof; null until it is sealed, and where it names other wallets."
    )

    @classmethod
    def of(cls, seen: EventSeen) -> TransferView:
        """Spell an event."""
        event = seen.event
        return cls(
            kind=event.kind,
            direction=seen.direction,
            counterparty=seen.counterparty,
            token_reference=seen.token.reference if seen.token else None,
            token_id=f"0x{event.token_id:064x}",
            amount_pence=event.amount_pence,
            block_number=event.block_number,
            tx_hash=event.tx_hash,
            entry=BehindView.of(seen.behind),
            proof=f"/v1/audit/entries/{seen.behind.id}/proof" if seen.behind and seen.provable else None,
        )


class TransferPage(_View):
    """What happened to the holder's wallet, newest first."""

    block: BlockView | None = Field(description="When the chain was read; null for a holder without a wallet.")
    items: list[TransferView]
    next: str | None = Field(description="Give this as `after` for the next page; null on the last.")

    @classmethod
    def of(cls, page: Events) -> TransferPage:
        """Spell a page."""
        return cls(block=BlockView.of(page.at), items=[TransferView.of(seen) for seen in page.items], next=page.next)


class AnchorPage(_View):
    """Anchors, newest first."""

    items: list[AnchorView]
    next: int | None = Field(description="Give this as `after` for the next page; null on the last.")


class NewLinkView(_View, ShownOnce):
    """A link to the page."""

    link_id: str = Field(description="Its id.", examples=["pgl_01jwrs8s50e9rbkszzv4yve5jt"])
    expires_at: Instant = Field(description="Until when it opens the page. It opens it once.")
    url: Secret = Field(default=None, description="Open this in a browser. Lost? Ask for another link.")
