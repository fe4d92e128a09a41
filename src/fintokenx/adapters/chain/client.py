"""The production client of the network: tokenisation's ``Chain`` port over JSON-RPC, signed by the vault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, assert_never

from eth_utils.conversions import to_bytes

from fintokenx.adapters.chain.deployment import (
    AGENT,
    MINTER,
    MINTING_WALLET,
    REGISTRAR,
    UPDATER,
    Deployment,
    registration,
)
from fintokenx.adapters.chain.receipts import Receipts
from fintokenx.adapters.chain.rpc import Rpc, RpcError
from fintokenx.adapters.chain.signing import Unsigned, address_of, calldata, selector, sign
from fintokenx.kernel.money import Pence
from fintokenx.kernel.vault import Vault
from fintokenx.lifecycle.chainwork.ports import ChainHead, ChainUnavailable, Receipt, SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    Call,
    FlagWallet,
    Holding,
    MintReceivable,
    RecoverWallet,
    RefreshSanctions,
    RegisterIdentity,
    RemoveIdentity,
    TransferToken,
)

_GAS_ONE: Final = 400_000
_GAS_PER_HOLDER: Final = 60_000
_GAS_PER_TOKEN: Final = 80_000
_REFUSED: Final = selector("TransferRefused(bytes32)")


class ChainClient:
    """Reads and writes the deployed contracts. Every call raises ChainUnavailable when no node answers."""

    def __init__(self, rpc: Rpc, vault: Vault, deployment: Deployment) -> None:
        self._rpc = rpc
        self._vault = vault
        self._to = deployment
        self._receipts = Receipts(rpc)

    async def head(self) -> ChainHead:
        """The newest block."""
        block = await self._call("eth_getBlockByNumber", "latest", False)
        return ChainHead(int(block["number"], 16), int(block["timestamp"], 16))

    async def contract_address(self) -> str:
        """FXReceivableToken of this environment."""
        return self._to.token

    async def minting_wallet(self) -> str:
        """fx_minting_wallet."""
        return self._to.minting_wallet

    async def create_wallet(self, key_name: str) -> str:
        """Make (or find) the key in the vault; its address."""
        return address_of(await self._vault.ensure_secp256k1(key_name))

    async def sender_of(self, call: Call) -> str:
        """The address of the role or wallet that signs this call."""
        return await self.create_wallet(self._key_of(call))

    async def transaction_count(self, sender: str) -> int:
        """The next nonce as far as mined blocks know."""
        return int(await self._call("eth_getTransactionCount", sender, "latest"), 16)

    async def sign(self, call: Call, nonce: int) -> SignedTransaction:
        """Encode and sign. Registering asks the registry for the digest that the issuer signs; the rest is local."""
        try:
            to, data = await self._encoded(call)
        except RpcError as refusal:
            raise ChainUnavailable(f"what to sign was refused ({refusal.code})", outcome_unknown=False) from refusal
        return await sign(self._vault, self._key_of(call), Unsigned(self._to.chain_id, nonce, _gas_of(call), to, data))

    async def broadcast(self, raw: bytes) -> None:
        """Send; a twin that the node has or has mined counts as sent."""
        try:
            await self._rpc.send(raw)
        except RpcError as refusal:
            raise _refused(refusal) from refusal

    async def send_many(self, raws: Sequence[bytes]) -> list[ChainUnavailable | None]:
        """The same for many at once, in their order; for each what the node has against it."""
        refusals = await self._rpc.send_many(raws)
        return [None if refusal is None else _refused(refusal) for refusal in refusals]

    async def waiting(self, sender: str, tx_hashes: Sequence[str]) -> set[int]:
        """With which nonces the node holds those that are this sender's and in no block yet."""
        answers = await self._rpc.call_each("eth_getTransactionByHash", [(tx_hash,) for tx_hash in tx_hashes])
        return {
            int(found["nonce"], 16)
            for found in answers
            if isinstance(found, dict)
            and found.get("blockHash") is None
            and str(found["from"]).lower() == sender.lower()
        }

    async def cancellation(self, sender: str, nonce: int) -> SignedTransaction | None:
        """Nothing sent to oneself; None for an address that is no role's."""
        for key_name in (REGISTRAR, AGENT, UPDATER, MINTER, MINTING_WALLET):
            if await self.create_wallet(key_name) == sender:
                unsigned = Unsigned(self._to.chain_id, nonce, _GAS_ONE, sender, b"")
                return await sign(self._vault, key_name, unsigned)
        return None

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """None while it is in no block. One block is final (IBFT)."""
        found = await self._call("eth_getTransactionReceipt", tx_hash)
        return None if found is None else await self._read_receipt(tx_hash, found)

    async def receipts(self, tx_hashes: Sequence[str]) -> dict[str, Receipt]:
        """Those that are in a block, by hash."""
        found = await self._receipts.of(tx_hashes)
        return {tx_hash: await self._read_receipt(tx_hash, receipt) for tx_hash, receipt in found.items()}

    async def _read_receipt(self, tx_hash: str, found: dict[str, Any]) -> Receipt:
        succeeded = found["status"] == "0x1"
        reason = "" if succeeded else await self._why(found)
        return Receipt(tx_hash, int(found["blockNumber"], 16), succeeded, reason)

    async def can_transfer(self, from_wallet: str, to_wallet: str, token_id: int, amount: Pence) -> tuple[bool, str]:
        """Ask the token, which asks the compliance contract."""
        asked = calldata(
            "canTransferReason(address,address,uint256,uint256)", from_wallet, to_wallet, token_id, amount.value
        )
        answer = await self._read(self._to.token, asked)
        return bool(int.from_bytes(answer[:32], "big")), _words(answer[32:64])

    async def holding(self, wallet: str, token_id: int) -> Pence:
        """What a wallet holds."""
        return (await self.holdings([(token_id, wallet)]))[0]

    async def holdings(self, asked: Sequence[Holding]) -> list[Pence]:
        """What wallets hold, in the order of asking."""
        return await self._amounts([calldata("balanceOf(address,uint256)", wallet, held) for held, wallet in asked])

    async def supply(self, token_id: int) -> Pence:
        """What exists."""
        return (await self.supplies([token_id]))[0]

    async def supplies(self, token_ids: Sequence[int]) -> list[Pence]:
        """What exists of each, in the order of asking."""
        return await self._amounts([calldata("totalSupply(uint256)", token_id) for token_id in token_ids])

    async def is_verified(self, wallet: str) -> bool:
        """Whether the identity registry vouches for the wallet now."""
        return bool(await self._number(self._to.identity_registry, calldata("isVerified(address)", wallet)))

    async def is_registered(self, wallet: str) -> bool:
        """Whether the identity registry knows the wallet."""
        return bool(await self._number(self._to.identity_registry, calldata("contains(address)", wallet)))

    def _key_of(self, call: Call) -> str:
        match call:
            case RegisterIdentity() | RemoveIdentity():
                return REGISTRAR
            case BurnReceivable() | RecoverWallet():
                return AGENT
            case FlagWallet() | RefreshSanctions():
                return UPDATER
            case MintReceivable():
                return MINTER
            case TransferToken():
                return MINTING_WALLET if call.from_wallet == self._to.minting_wallet else call.from_wallet_key
            case _:
                assert_never(call)

    async def _encoded(self, call: Call) -> tuple[str, bytes]:
        match call:
            case RegisterIdentity():
                data = await registration(
                    self._rpc, self._vault, self._to, wallet=call.wallet, subject_hash=call.subject_hash,
                    country=call.country, claims=int(call.claims), is_investor=call.is_investor,
                    expires_at_unix=call.expires_at_unix,
                )  # fmt: skip
                return self._to.identity_registry, data
            case MintReceivable():
                return self._to.token, calldata(
                    "issueReceivable(address,uint256,uint256,uint64,bytes32)",
                    call.to_wallet, call.token_id, call.face.value, call.due_at_unix, call.document_sha256,
                )  # fmt: skip
            case TransferToken():
                return self._to.token, calldata(
                    "safeTransferFrom(address,address,uint256,uint256,bytes)",
                    call.from_wallet, call.to_wallet, call.token_id, call.amount.value, b"",
                )  # fmt: skip
            case BurnReceivable():
                return self._to.token, calldata(
                    "burnReceivable(uint256,address[],bytes32)", call.token_id, list(call.holders), call.reason
                )
            case _:
                return self._encoded_of_no_token(call)

    def _encoded_of_no_token(
        self, call: FlagWallet | RecoverWallet | RemoveIdentity | RefreshSanctions
    ) -> tuple[str, bytes]:
        match call:
            case FlagWallet():
                return self._to.sanctions_rule, calldata("setFlagged(address,bool)", call.wallet, call.flagged)
            case RefreshSanctions():
                return self._to.sanctions_rule, calldata("refresh(uint64)", call.as_of_unix)
            case RecoverWallet():
                return self._to.token, calldata(
                    "recoveryAddress(address,address,bytes32,uint256[])",
                    call.lost_wallet, call.new_wallet, call.subject_hash, list(call.token_ids),
                )  # fmt: skip
            case RemoveIdentity():
                return self._to.identity_registry, calldata("deleteIdentity(address)", call.wallet)
            case _:
                assert_never(call)

    async def _why(self, receipt: dict[str, Any]) -> str:
        """The reason of a reverted transaction, as it was in its block; ``reverted`` if it is silent.

        Besu keeps the revert's bytes in the receipt (deploy/besu: revert-reason-enabled), anvil in its trace. To ask
        again on the newest state would be told what is in the way now.
        """
        said = receipt.get("revertReason")
        if said is None:
            try:
                trace = await self._rpc.call("debug_traceTransaction", receipt["transactionHash"])
            except RpcError:
                return "reverted"
            if not isinstance(trace, dict):  # a node that has forgotten it says null
                return "reverted"
            said = trace["returnValue"]
        data = to_bytes(hexstr=said)
        return _words(data[4:36]) if data[:4] == _REFUSED else "reverted"

    async def _amounts(self, calls: Sequence[bytes]) -> list[Pence]:
        """What the token answers to each. What the node cannot answer in a batch just now is asked singly."""
        asked = [({"to": self._to.token, "data": "0x" + data.hex()}, "latest") for data in calls]
        answers = await self._rpc.call_each("eth_call", asked)
        return [
            Pence(await self._number(self._to.token, data) if isinstance(answer, RpcError) else _word(answer))
            for data, answer in zip(calls, answers, strict=True)
        ]

    async def _number(self, to: str, data: bytes) -> int:
        return int.from_bytes((await self._read(to, data))[:32], "big")

    async def _read(self, to: str, data: bytes) -> bytes:
        return _content(await self._call("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest"))

    async def _call(self, method: str, *parameters: Any) -> Any:
        try:
            return await self._rpc.call(method, *parameters)
        except RpcError as refusal:
            raise ChainUnavailable(f"{method} refused ({refusal.code})", outcome_unknown=False) from refusal


def _gas_of(call: Call) -> int:
    match call:
        case BurnReceivable():
            return _GAS_ONE + _GAS_PER_HOLDER * len(call.holders)
        case RecoverWallet():
            return _GAS_ONE + _GAS_PER_TOKEN * len(call.token_ids)
        case _:
            return _GAS_ONE


def _refused(refusal: RpcError) -> ChainUnavailable:
    return ChainUnavailable(f"the node refused the transaction ({refusal.code}: {refusal.message})")


def _content(answer: str) -> bytes:
    content = to_bytes(hexstr=answer)
    if len(content) < 32:
        raise ChainUnavailable("no such contract on this network", outcome_unknown=False)
    return content


def _word(answer: str) -> int:
    return int.from_bytes(_content(answer)[:32], "big")


def _words(word: bytes) -> str:
    return word.rstrip(b"\0").decode("ascii", "replace")
