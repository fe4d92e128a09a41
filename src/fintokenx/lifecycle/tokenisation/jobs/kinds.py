"""What each kind of promise asks of the chain, how one sees that it is done, and what the chain's answer does here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import Work
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    Chain,
    Claims,
    MintReceivable,
    RegisterIdentity,
    SignedTransaction,
    SubjectHashes,
    TransferToken,
)
from fintokenx.lifecycle.tokenisation.service import identity, minting, moving, reads, sending
from fintokenx.lifecycle.tokenisation.service.sending import Mined
from fintokenx.lifecycle.tokenisation.types import ChainTransaction, Kind, Token

log = structlog.get_logger("fintokenx.tokenisation")

HASH_NAME: Final = "chain/subject"


class Kinds:
    """The four kinds, for whoever drives promises without asking what they are."""

    def __init__(self, chain: Chain, hashes: SubjectHashes, *, minting_wallet_key: str) -> None:
        self._chain = chain
        self._hashes = hashes
        self._minting_wallet_key = minting_wallet_key

    async def calls(self, work: Work, promises: Sequence[ChainTransaction]) -> dict[str, Call]:
        """What each promise asks of the chain, by business key. :raises VaultUnavailable: no hash can be had"""
        if not promises:
            return {}
        references = [promise.token_reference for promise in promises if promise.token_reference is not None]
        async with work.transaction() as tx:
            tokens = await reads.tokens(tx, work.caller, references=references)
            keys = {
                promise.business_key: await self._key(tx, work.caller, tokens, promise)
                for promise in promises
                if promise.kind is Kind.TRANSFER
            }
        minting_wallet = await self._chain.minting_wallet()
        calls: dict[str, Call] = {}
        for promise in promises:
            if promise.token_reference is None:
                calls[promise.business_key] = await self._registration(work, promise)
            else:
                token, key = tokens[promise.token_reference], keys.get(promise.business_key, "")
                calls[promise.business_key] = _of_token(promise, token, minting_wallet, key)
        return calls

    async def _key(self, tx: Tx, caller: Caller, tokens: dict[str, Token], promise: ChainTransaction) -> str:
        """The vault's name of the key of the wallet that a token leaves."""
        holder = tokens[promise.token_reference or ""].holder_subject_id
        if holder is None:
            return self._minting_wallet_key
        return (await reads.wallet_of(tx, caller, subject_id=holder)).key_name

    async def _registration(self, work: Work, promise: ChainTransaction) -> RegisterIdentity:
        wanted = promise.arguments
        digest = await self._hashes.blind_index(HASH_NAME, f"{work.tenant_id}\0{promise.resource}")
        return RegisterIdentity(
            wallet=wanted["wallet"],
            subject_hash=bytes.fromhex(digest),
            claims=Claims(wanted["claims"]),
            is_investor=wanted["is_investor"],
            expires_at_unix=wanted["expires_at_unix"],
        )

    async def standing(self, calls: Sequence[Call]) -> list[bool]:
        """Whether what each call would do has been done. Registering twice does no harm, so of that nobody looks."""
        supplies = [call.token_id for call in calls if isinstance(call, MintReceivable | BurnReceivable)]
        moves = [call for call in calls if isinstance(call, TransferToken)]
        wallets = [(call.token_id, wallet) for call in moves for wallet in (call.to_wallet, call.from_wallet)]
        supply = iter(await self._chain.supplies(supplies) if supplies else ())
        holding = iter(await self._chain.holdings(wallets) if wallets else ())
        found = []
        for call in calls:
            match call:
                case MintReceivable():
                    found.append(bool(next(supply)))
                case BurnReceivable():
                    found.append(not next(supply))
                case TransferToken():
                    received, left = next(holding), next(holding)
                    found.append(received >= call.amount and left < call.amount)
                case RegisterIdentity():
                    found.append(False)
        return found

    async def matching(self, calls: Sequence[MintReceivable]) -> list[bool]:
        """Whether the chain holds what each mint asked for: id, face, receiver (TK-02)."""
        if not calls:
            return []
        supplies = await self._chain.supplies([call.token_id for call in calls])
        holdings = await self._chain.holdings([(call.token_id, call.to_wallet) for call in calls])
        found = [
            (supply, holding) == (call.face, call.face)
            for call, supply, holding in zip(calls, supplies, holdings, strict=True)
        ]
        for call, matches in zip(calls, found, strict=True):
            if not matches:
                log.error("mint_does_not_match", token_id=hex(call.token_id))
        return found

    async def keep(
        self, tx: Tx, caller: Caller, promise: ChainTransaction, signed: SignedTransaction, contract_address: str
    ) -> ChainTransaction:
        """Record the signed bytes before they are sent."""
        if promise.kind is Kind.MINT:
            return await minting.submit(
                tx, caller, invoice_reference=promise.resource, signed=signed, contract_address=contract_address
            )
        return await sending.keep_signed(tx, caller, business_key=promise.business_key, signed=signed)

    async def conclude(
        self, tx: Tx, caller: Caller, promise: ChainTransaction, mined: Mined, contract_address: str, wallet: str
    ) -> None:
        """Record the chain's answer, once. ``wallet`` is the minting wallet."""
        key, succeeded = promise.business_key, mined.receipt.succeeded
        match promise.kind:
            case Kind.MINT if succeeded:
                await minting.minted(
                    tx,
                    caller,
                    invoice_reference=promise.resource,
                    mined=mined,
                    contract_address=contract_address,
                    minting_wallet=wallet,
                )
            case Kind.MINT:
                await minting.refused(tx, caller, invoice_reference=promise.resource, receipt=mined.receipt)
            case Kind.TRANSFER if succeeded:
                await moving.transferred(tx, caller, business_key=key, mined=mined)
            case Kind.TRANSFER:
                await moving.transfer_refused(tx, caller, business_key=key, receipt=mined.receipt)
            case Kind.BURN if succeeded:
                await moving.burned(tx, caller, business_key=key, mined=mined)
            case Kind.IDENTITY if succeeded:
                await identity.registered(tx, caller, business_key=key, mined=mined)
            case _:
                await sending.reverted(tx, caller, business_key=key, receipt=mined.receipt)


def _of_token(promise: ChainTransaction, token: Token, minting_wallet: str, from_key: str) -> Call:
    match promise.kind:
        case Kind.MINT:
            return MintReceivable(
                token_id=token.token_id,
                face=token.face,
                due_at_unix=token.due_at_unix,
                document_sha256=bytes.fromhex(token.document_sha256),
                to_wallet=minting_wallet,
            )
        case Kind.TRANSFER:
            return TransferToken(
                from_wallet_key=from_key,
                from_wallet=promise.arguments["from_wallet"],
                to_wallet=promise.arguments["to_wallet"],
                token_id=token.token_id,
                amount=token.face,
            )
        case _:
            return BurnReceivable(
                token_id=token.token_id,
                holders=tuple(promise.arguments["holders"]),
                reason=promise.arguments["reason"].encode().ljust(32, b"\0"),
            )
