"""What each kind of promise asks of the chain, how one sees that it is done, and what the chain's answer does here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Tx
from fintokenx.kernel.jobs import Work
from fintokenx.lifecycle import chainwork
from fintokenx.lifecycle.chainwork import ChainTransaction, Mined
from fintokenx.lifecycle.chainwork.ports import SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    Chain,
    Claims,
    FlagWallet,
    MintReceivable,
    RecoverWallet,
    RefreshSanctions,
    RegisterIdentity,
    RemoveIdentity,
    SubjectHashes,
    TransferToken,
)
from fintokenx.lifecycle.tokenisation.service import identity, minting, moving, reads, recovering, refreshing
from fintokenx.lifecycle.tokenisation.types import Kind, Token

log = structlog.get_logger("fintokenx.tokenisation")

HASH_NAME: Final = "chain/subject"


class ChainOperations:
    """chainwork's ``Operations``: each kind of promise that tokenisation makes."""

    kinds: Final = tuple(Kind)
    repeatable: Final = frozenset({Kind.IDENTITY, Kind.FLAG, Kind.RECOVERY, Kind.REFRESH})
    looked_at_again: Final = frozenset({Kind.MINT})

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
                promise.business_key: await self._key(tx, work.caller, tokens[promise.token_reference or ""])
                for promise in promises
                if promise.kind == Kind.TRANSFER
            }
        minting_wallet = await self._chain.minting_wallet()
        calls: dict[str, Call] = {}
        for promise in promises:
            if promise.token_reference is None:
                calls[promise.business_key] = await self._of_no_token(work, promise)
            elif promise.kind == Kind.MINT:
                calls[promise.business_key] = _mint(tokens[promise.token_reference], minting_wallet)
            else:
                key = keys.get(promise.business_key, "")
                calls[promise.business_key] = _move_or_burn(promise, tokens[promise.token_reference], key)
        return calls

    async def _key(self, tx: Tx, caller: Caller, token: Token) -> str:
        """The vault's name of the key of the wallet that holds a token."""
        wallets = await reads.wallets_of_holder(tx, caller, token)
        holder = next((wallet for wallet in wallets if wallet.address == token.holder_wallet), None)
        return holder.key_name if holder else self._minting_wallet_key

    async def _of_no_token(self, work: Work, promise: ChainTransaction) -> Call:
        wanted = promise.arguments
        match promise.kind:
            case Kind.FLAG:
                return FlagWallet(wanted["wallet"], wanted["flagged"])
            case Kind.REMOVAL:
                return RemoveIdentity(wanted["wallet"])
            case Kind.REFRESH:
                return RefreshSanctions(wanted["as_of_unix"])
            case Kind.RECOVERY:
                return RecoverWallet(
                    lost_wallet=wanted["from_wallet"],
                    new_wallet=wanted["to_wallet"],
                    subject_hash=await self._subject_hash(work.tenant_id, promise.resource),
                    token_ids=_moving(promise),
                )
            case _:
                return RegisterIdentity(
                    wallet=wanted["wallet"],
                    subject_hash=await self._subject_hash(work.tenant_id, promise.resource),
                    claims=Claims(wanted["claims"]),
                    is_investor=wanted["is_investor"],
                    expires_at_unix=wanted["expires_at_unix"],
                )

    async def _subject_hash(self, tenant_id: str, subject_id: str) -> bytes:
        return bytes.fromhex(await self._hashes.blind_index(HASH_NAME, f"{tenant_id}\0{subject_id}"))

    async def standing(self, calls: Sequence[Call]) -> list[bool]:
        """Whether what each call would do has been done; of what may be done twice, no (``repeatable``)."""
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
                case RemoveIdentity():
                    found.append(not await self._chain.is_registered(call.wallet))
                case RegisterIdentity() | FlagWallet() | RecoverWallet() | RefreshSanctions():
                    found.append(False)
        return found

    async def as_asked(self, promises: Sequence[ChainTransaction], calls: Mapping[str, Call]) -> dict[str, bool]:
        """Of mints and recoveries that succeeded, whether the chain holds what they asked for, by business key: the
        mint's id, face and receiver (TK-02); nothing more in a lost wallet of what was to leave it."""
        mints = {
            promise.business_key: call
            for promise in promises
            if isinstance(call := calls.get(promise.business_key), MintReceivable)
        }
        found: dict[str, bool] = {}
        if mints:
            supplies = await self._chain.supplies([call.token_id for call in mints.values()])
            holdings = await self._chain.holdings([(call.token_id, call.to_wallet) for call in mints.values()])
            for (key, call), supply, holding in zip(mints.items(), supplies, holdings, strict=True):
                found[key] = (supply, holding) == (call.face, call.face)
        for promise in promises:
            if promise.kind == Kind.RECOVERY and (moving := _moving(promise)):
                left = await self._chain.holdings([(each, promise.arguments["from_wallet"]) for each in moving])
                found[promise.business_key] = not any(left)
        for key in (key for key, true in found.items() if not true):
            log.error("chain_holds_something_else", business_key=key)
        return found

    async def recorder(self) -> TokenRecorder:
        """How to record answers, with the addresses that tokens are recorded with."""
        return TokenRecorder(await self._chain.contract_address(), await self._chain.minting_wallet())


@dataclass(frozen=True, slots=True)
class TokenRecorder:
    """chainwork's ``Recorder``."""

    contract_address: str
    minting_wallet: str

    async def keep(
        self, tx: Tx, caller: Caller, promise: ChainTransaction, signed: SignedTransaction
    ) -> ChainTransaction:
        """Record the signed bytes before they are sent."""
        if promise.kind == Kind.MINT:
            return await minting.submit(
                tx, caller, invoice_reference=promise.resource, signed=signed, contract_address=self.contract_address
            )
        return await chainwork.keep_signed(tx, caller, business_key=promise.business_key, signed=signed)

    async def conclude(self, tx: Tx, caller: Caller, promise: ChainTransaction, mined: Mined) -> None:
        """Record the chain's answer, once."""
        key, succeeded = promise.business_key, mined.receipt.succeeded
        match promise.kind:
            case Kind.MINT if succeeded:
                await minting.minted(
                    tx,
                    caller,
                    invoice_reference=promise.resource,
                    mined=mined,
                    contract_address=self.contract_address,
                    minting_wallet=self.minting_wallet,
                )
            case Kind.MINT:
                await minting.refused(tx, caller, invoice_reference=promise.resource, receipt=mined.receipt)
            case Kind.TRANSFER if succeeded:
                await moving.transferred(tx, caller, business_key=key, mined=mined)
            case Kind.TRANSFER:
                await moving.transfer_refused(tx, caller, business_key=key, receipt=mined.receipt)
            case Kind.BURN if succeeded:
                await moving.burned(tx, caller, business_key=key, mined=mined)
            case Kind.IDENTITY | Kind.FLAG if succeeded:
                await identity.told(tx, caller, business_key=key, mined=mined)
            case Kind.REFRESH if succeeded:
                await refreshing.refreshed(tx, caller, business_key=key, mined=mined)
            case Kind.RECOVERY if succeeded:
                await recovering.moved(tx, caller, business_key=key, mined=mined)
            case Kind.REMOVAL if succeeded:
                await recovering.retired(tx, caller, business_key=key, mined=mined)
            case _:
                await chainwork.reverted(tx, caller, business_key=key, receipt=mined.receipt)


def _mint(token: Token, minting_wallet: str) -> MintReceivable:
    return MintReceivable(
        token_id=token.token_id,
        face=token.face,
        due_at_unix=token.due_at_unix,
        document_sha256=bytes.fromhex(token.document_sha256),
        to_wallet=minting_wallet,
    )


def _move_or_burn(promise: ChainTransaction, token: Token, from_key: str) -> TransferToken | BurnReceivable:
    if promise.kind == Kind.BURN:
        reason = promise.arguments["reason"].encode().ljust(32, b"\0")
        return BurnReceivable(token.token_id, tuple(promise.arguments["holders"]), reason)
    return TransferToken(
        from_wallet_key=from_key,
        from_wallet=promise.arguments["from_wallet"],
        to_wallet=promise.arguments["to_wallet"],
        token_id=token.token_id,
        amount=token.face,
    )


def _moving(promise: ChainTransaction) -> tuple[int, ...]:
    """The ids that a recovery brings over."""
    return tuple(int(each["token_id_hex"], 16) for each in promise.arguments["moving"])
