"""Tokens, their chain transactions, wallets."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi import Query as Parameter
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.kernel.ids import INVOICE_REFERENCE_PATTERN, TOKEN_REFERENCE_PATTERN
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork import ChainTransaction
from fintokenx.lifecycle.tokenisation.ports import Claims
from fintokenx.lifecycle.tokenisation.service import reads
from fintokenx.lifecycle.tokenisation.types import (
    Token,
    UnknownToken,
    UnknownWallet,
    Wallet,
)
from fintokenx.web.edge import Query, problems, query
from fintokenx.web.inputs import Cursor, PageSize
from fintokenx.web.routes import OVERSEERS, may_call

router = APIRouter(tags=["tokenisation"])

Read = Annotated[Query, Depends(query)]
TokenReference = Annotated[
    str, Path(pattern=TOKEN_REFERENCE_PATTERN, description="The token's reference.", examples=["FXR-INV-23A4F"])
]
InvoiceReference = Annotated[
    str, Path(pattern=INVOICE_REFERENCE_PATTERN, description="The invoice's reference.", examples=["FXI-7K2M9QD"])
]


class TokenView(BaseModel):
    """A receivable on the FinToken X Network."""

    model_config = ConfigDict(extra="forbid")
    reference: str = Field(description="Its reference, never used again.", examples=["FXR-INV-23A4F"])
    invoice_reference: str = Field(description="The invoice that it stands for.", examples=["FXI-7K2M9QD"])
    contract_address: str | None = Field(description="FXReceivableToken; null until the mint is submitted.")
    token_id: str = Field(description="The uint256 on chain, as 0x and 64 hex digits.")
    face_pence: Pence = Field(description="Face value in pence.", examples=[1250000])
    due_date: date = Field(description="When the invoice falls due.", examples=["2026-09-01"])
    state: str = Field(description="REQUESTED, PENDING_MINT, MINT_SUBMITTED, MINTED, HELD, BURN_PENDING or BURNED.")
    holder_subject_id: str | None = Field(
        description="Who holds it; null while it is in our minting wallet, and to all but its holder and staff."
    )
    holder_wallet: str | None = Field(
        description="The address that holds it; null before the mint, and where its holder is not shown."
    )
    minted_at: Instant | None = Field(description="When the chain had it.")
    burned_at: Instant | None = Field(description="When it was gone.")
    burn_tx: str | None = Field(description="Hash of the burning transaction.")

    @classmethod
    def of(cls, token: Token) -> TokenView:
        """Spell a token."""
        return cls(
            reference=token.reference,
            invoice_reference=token.invoice_reference,
            contract_address=token.contract_address,
            token_id=token.token_id_hex,
            face_pence=token.face,
            due_date=token.due_date,
            state=token.state,
            holder_subject_id=token.holder_subject_id,
            holder_wallet=token.holder_wallet,
            minted_at=token.minted_at,
            burned_at=token.burned_at,
            burn_tx=token.burn_tx,
        )


class ChainTransactionView(BaseModel):
    """One thing wanted of the chain, and what became of it."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="Its id.", examples=["ctx_06g2h5x3v8w9y7z1a2b3c4d5e6"])
    kind: str = Field(description="mint, transfer or burn.", examples=["mint"])
    state: str = Field(description="PROMISED, RESERVED, SIGNED, CONFIRMED or REVERTED.", examples=["CONFIRMED"])
    sender: str | None = Field(description="The address that signs; null until it has a nonce.")
    nonce: int | None = Field(description="Its number among the sender's transactions.", examples=[7])
    tx_hash: str | None = Field(description="Hash of the signed transaction.")
    block_number: int | None = Field(description="The block that holds it.", examples=[1204])
    revert_reason: str | None = Field(description="Why the chain refused it, in the rules' words.")
    promised_at: Instant = Field(description="When it was wanted.")
    submitted_at: Instant | None = Field(description="When it was signed.")
    confirmed_at: Instant | None = Field(description="When a block with it was seen.")

    @classmethod
    def of(cls, known: ChainTransaction) -> ChainTransactionView:
        """Spell a chain transaction, without its bytes."""
        return cls(
            id=known.id,
            kind=known.kind,
            state=known.state,
            sender=known.sender,
            nonce=known.nonce,
            tx_hash=known.tx_hash,
            block_number=known.block_number,
            revert_reason=known.revert_reason,
            promised_at=known.promised_at,
            submitted_at=known.submitted_at,
            confirmed_at=known.confirmed_at,
        )


class ChainTransactionPage(BaseModel):
    """Chain transactions, oldest first."""

    model_config = ConfigDict(extra="forbid")
    items: list[ChainTransactionView]
    next: str | None = Field(description="Give this as `after` for the next page; null on the last.")


class WalletView(BaseModel):
    """A custody wallet."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(description="Its id.", examples=["wal_06g2h5x3v8w9y7z1a2b3c4d5e6"])
    address: str = Field(description="Its address on the FinToken X Network, checksummed.")
    state: str = Field(
        description="CREATED, REGISTERED or REVOKED; LOST and RETIRED after a recovery.", examples=["REGISTERED"]
    )
    claims: list[str] = Field(description="What the identity registry vouches for.", examples=[["KYC_VERIFIED"]])
    claims_expire_at: Instant | None = Field(description="Until when.")
    registered_at: Instant | None = Field(description="Since when the registry knows it.")

    @classmethod
    def of(cls, wallet: Wallet) -> WalletView:
        """Spell a wallet, without where its key lies."""
        return cls(
            id=wallet.id,
            address=wallet.address,
            state=wallet.state,
            claims=[claim.name for claim in Claims(wallet.claims) if claim.name],
            claims_expire_at=wallet.claims_expire_at,
            registered_at=wallet.registered_at,
        )


@router.get(
    "/v1/tokens/{reference}",
    responses=problems(WrongRole, UnknownToken),
    openapi_extra=may_call(Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def token(reference: TokenReference, read: Read) -> TokenView:
    """A token by its reference."""
    return TokenView.of(await read.run(lambda tx: reads.token(tx, read.caller, reference=reference)))


@router.get(
    "/v1/invoices/{reference}/token",
    responses=problems(WrongRole, UnknownToken),
    openapi_extra=may_call(Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def token_of_invoice(reference: InvoiceReference, read: Read) -> TokenView:
    """The token of an invoice."""
    return TokenView.of(await read.run(lambda tx: reads.token_of(tx, read.caller, invoice_reference=reference)))


@router.get(
    "/v1/tokens/{reference}/transactions",
    responses=problems(WrongRole, UnknownToken),
    openapi_extra=may_call(Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def transactions(
    reference: TokenReference,
    read: Read,
    after: Annotated[Cursor | None, Parameter(description="The `next` of the page before.")] = None,
    limit: PageSize = 50,
) -> ChainTransactionPage:
    """What happened to a token on chain, oldest first."""
    found = await read.run(
        lambda tx: reads.transactions(tx, read.caller, reference=reference, after=after, limit=limit)
    )
    following = found[-1].id if len(found) == limit else None
    return ChainTransactionPage(items=[ChainTransactionView.of(known) for known in found], next=following)


@router.get(
    "/v1/wallets/me",
    responses=problems(WrongRole, UnknownWallet),
    openapi_extra=may_call(Role.LENDER, Role.INVESTOR, *OVERSEERS),
)
async def my_wallet(read: Read) -> WalletView:
    """The caller's own custody wallet."""

    async def mine(tx: Tx) -> Wallet:
        return await reads.wallet_of(tx, read.caller, subject_id=read.caller.must_be_subject())

    return WalletView.of(await read.run(mine))
