"""What stands on chain at one block: tokenisation's ``ChainState`` port over JSON-RPC. Reads only, so it has no key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eth_utils.conversions import to_bytes

from fintokenx.adapters.chain.deployment import Deployment
from fintokenx.adapters.chain.logs import Fold
from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.adapters.chain.signing import calldata
from fintokenx.lifecycle.chainwork.ports import ChainHead, ChainUnavailable, StateNotKept
from fintokenx.lifecycle.tokenisation.ports import (
    Holding,
    Logged,
    Progress,
    Standing,
    StandingIdentity,
    StandingReceivable,
    StatusWord,
)

# What nodes say of a block whose state they dropped: anvil, Besu (Bonsai), geth.
_NOT_KEPT: Final = ("blockoutofrange", "world state unavailable", "missing trie node", "historical state")

ContractCall = tuple[str, bytes]
"""A contract and what it is asked."""


class StateClient:
    """Reads the deployed contracts at a pinned block, many questions in one request."""

    def __init__(self, rpc: Rpc, deployment: Deployment) -> None:
        self._rpc = rpc
        self._at = deployment
        self._fold = Fold(rpc, deployment)

    async def head(self) -> ChainHead:
        """The newest block."""
        try:
            block = await self._rpc.call("eth_getBlockByNumber", "latest", False)
        except RpcError as refusal:
            raise ChainUnavailable(f"no newest block ({refusal.code})", outcome_unknown=False) from refusal
        return ChainHead(int(block["number"], 16), int(block["timestamp"], 16))

    async def contract_address(self) -> str:
        """FXReceivableToken of this environment."""
        return self._at.token

    async def minting_wallet(self) -> str:
        """fx_minting_wallet."""
        return self._at.minting_wallet

    async def logged(self, block_number: int, progress: Progress) -> Logged:
        """Every log from the deployment up to the block, folded."""
        return await self._fold.up_to(block_number, progress)

    async def standing(
        self, block_number: int, *, token_ids: Sequence[int], holdings: Sequence[Holding], wallets: Sequence[str]
    ) -> Standing:
        """What the contracts answer at the block, all asked in one go so that few blocks pass meanwhile.

        :raises StateNotKept: ask at a newer one
        """
        token, registry, sanctions = self._at.token, self._at.identity_registry, self._at.sanctions_rule
        calls: list[ContractCall] = [
            *((token, calldata("receivableOf(uint256)", token_id)) for token_id in token_ids),
            *((token, calldata("balanceOf(address,uint256)", wallet.lower(), held)) for held, wallet in holdings),
            *((registry, calldata("statusWord(address)", wallet.lower())) for wallet in wallets),
            *((registry, calldata("isVerified(address)", wallet.lower())) for wallet in wallets),
            *((sanctions, calldata("isFlagged(address)", wallet.lower())) for wallet in wallets),
        ]
        answers = await answers_at(self._rpc, block_number, calls)
        receivables, answers = answers[: len(token_ids)], answers[len(token_ids) :]
        numbers = [_number(answer) for answer in answers]
        balances, words, many = numbers[: len(holdings)], numbers[len(holdings) :], len(wallets)
        statuses = zip(words[:many], words[many : 2 * many], words[2 * many :], strict=True)
        return Standing(
            {token_id: _receivable(answer) for token_id, answer in zip(token_ids, receivables, strict=True)},
            dict(zip(holdings, balances, strict=True)),
            {wallet: _identity(*status) for wallet, status in zip(wallets, statuses, strict=True)},
        )


async def answers_at(rpc: Rpc, block_number: int, calls: Sequence[ContractCall]) -> list[bytes]:
    """What the contracts answer at the block, in order.

    :raises StateNotKept: ask at a newer one
    """
    wanted: list[tuple[Any, str]] = [({"to": to, "data": "0x" + data.hex()}, hex(block_number)) for to, data in calls]
    try:
        found = [to_bytes(hexstr=answer) for answer in await rpc.call_many("eth_call", wanted)]
    except RpcError as refusal:
        if any(words in refusal.message.lower() for words in _NOT_KEPT):
            raise StateNotKept(block_number) from refusal
        raise ChainUnavailable(f"eth_call refused ({refusal.code})", outcome_unknown=False) from refusal
    if any(len(answer) < 32 for answer in found):
        raise ChainUnavailable("no such contract on this network", outcome_unknown=False)
    return found


def _receivable(answer: bytes) -> StandingReceivable:
    face, supply, due_at, document, exists, burned = (answer[at : at + 32] for at in range(0, 192, 32))
    return StandingReceivable(
        exists=bool(_number(exists)),
        burned=bool(_number(burned)),
        face_pence=_number(face),
        supply_pence=_number(supply),
        due_at_unix=_number(due_at),
        document_sha256=document.hex(),
    )


def _identity(number: int, verified: int, flagged: int) -> StandingIdentity:
    word = StatusWord(number)
    return StandingIdentity(
        registered=word.is_registered,
        verified=bool(verified),
        claims=word.claims,
        is_investor=word.is_investor,
        country=word.country,
        expires_at_unix=word.expires_at_unix,
        flagged=bool(flagged),
    )


def _number(word: bytes) -> int:
    return int.from_bytes(word[:32], "big")
