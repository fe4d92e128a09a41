"""`make bench-chain`: mints of our client beside web3.py's, on one anvil with our contracts, in alternating rounds.

submit    1,000 signed mints of one sender to the node: ours in batches, never more than 200 ahead of the mined count,
          which is what Besu takes of one sender; web3.py one ``send_raw_transaction`` after the other. Both have the
          same blocks: one whenever 200 wait, made by the bench, and the making counts for neither. Here is the bar.
automine  the same with fewer, while anvil makes a block of whatever it has at once. Each block costs it more the more
          there is on chain, and web3.py causes one per mint. Our waiting for mined counts is counted.
reads     the receipts of these mints: by block, as our client reads what it waits for, against one by one.
whole     1,000 confirmed invoices in Postgres until every one is MINTED there (promise, nonce, the vault's signature,
          the answer: each with its entry in the record) against web3.py, which keeps nothing: sign (eth-account), send,
          wait for the receipt. Automine on a fresh chain each; web3.py does fewer, for it takes long, and rates are
          compared. With a block every 2 s, web3.py's waiting alone would take half an hour.

Blocks every 2 s for the sending would measure only the clock: 200 per block of one sender, whoever sends them.
Every mint is checked on chain: there, once, over its face. Ratios are medians over the rounds. Last line:
``RESULT {json}``; exit 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop
from eth_utils.crypto import keccak

from bench.minting import minted_from_invoices
from bench.network import GENESIS, ROOT, Hand, fresh_network
from bench.web3_side import Web3Side, web3_side
from fintokenx.adapters.chain import ChainClient, Deployment, StateClient, deploy
from fintokenx.adapters.chain.deployment import MINTER
from fintokenx.adapters.chain.signing import calldata
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.chainwork.ports import SignedTransaction
from fintokenx.lifecycle.tokenisation.ports import MintReceivable
from fintokenx.sandbox.anvil import CHAIN_ID

BARS = {"submit_ratio": 5.0}
WORDS = {
    "submit": "submit, a block at every 200",
    "automine": "submit, automine",
    "whole": "whole, automine",
}
PENDING_MAX = 200
FACE = Pence(12_345_678)
DUE = GENESIS + 90 * 86_400
_GAS = 400_000
_POLL_SECONDS = 0.002


@dataclass
class Network:
    """The chain, our client on it, and what was minted so far."""

    hand: Hand
    to: Deployment
    chain: ChainClient
    sender: str
    minted: list[int] = field(default_factory=list)

    async def count(self) -> int:
        """Of the minter, in blocks."""
        return await self.chain.transaction_count(self.sender)

    def call(self) -> MintReceivable:
        """A mint that nobody asked for yet."""
        token_id = int.from_bytes(keccak(text=f"FXR-BENCH-{len(self.minted)}"), "big")
        self.minted.append(token_id)
        return MintReceivable(token_id, FACE, DUE, keccak(text="document"), self.to.minting_wallet)

    async def signed(self, number: int) -> list[SignedTransaction]:
        """So many mints, signed by the vault, from the next nonce on."""
        nonce = await self.count()
        return [await self.chain.sign(self.call(), nonce + at) for at in range(number)]

    async def all_mined(self, count: int) -> None:
        """Return when the chain has so many of the minter."""
        while await self.count() < count:
            await asyncio.sleep(_POLL_SECONDS)

    async def mine(self) -> None:
        """One block of all that waits."""
        await self.hand.rpc.call("evm_mine")

    async def check(self) -> None:
        """:raises SystemExit: a mint is not there, or not once"""
        state = StateClient(self.hand.rpc, self.to)
        logged = await state.logged((await self.chain.head()).number, lambda _what, _done, _total: None)
        wanted = {(token_id, self.to.minting_wallet): FACE.value for token_id in self.minted}
        if {holding: amount for holding, amount in logged.balances.items() if amount} != wanted:
            raise SystemExit("the chain does not hold every mint once")
        if logged.token_ids != set(self.minted):
            raise SystemExit("the chain holds other receivables")


async def send_ours(network: Network, mints: Sequence[SignedTransaction]) -> None:
    """As many at once as the sender may have without a block, until all are sent."""
    at = 0
    while at < len(mints):
        room = await network.count() + PENDING_MAX - mints[at].nonce
        if room <= 0:
            await asyncio.sleep(_POLL_SECONDS)
            continue
        part = mints[at : at + room]
        refused = [refusal for refusal in await network.chain.send_many([mint.raw for mint in part]) if refusal]
        if refused:
            raise SystemExit(f"a mint was refused: {refused[0]}")
        at += len(part)


async def by_block(
    network: Network, peer: Web3Side, number: int, *, ours: bool, reads: dict[str, list[float]]
) -> float:
    """Send so many; a block whenever 200 wait. Seconds of sending, blocks left out."""
    seconds = 0.0
    mints = await network.signed(number)
    for start in range(0, number, PENDING_MAX):
        part = mints[start : start + PENDING_MAX]
        hashes = [mint.tx_hash for mint in part]
        begun = time.perf_counter()
        if ours:
            await send_ours(network, part)
            seconds += time.perf_counter() - begun
            await network.chain.receipts(hashes)
        else:
            seconds += await peer.send([mint.raw for mint in part])
        await network.mine()
        if ours:
            begun = time.perf_counter()
            if len(await network.chain.receipts(hashes)) != len(part):
                raise SystemExit("a block does not hold what was sent")
            reads["by_block"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            for tx_hash in hashes:
                await network.chain.receipt(tx_hash)
            reads["one_by_one"].append(time.perf_counter() - begun)
            reads["web3"].append(await peer.read(hashes))
    return seconds


async def automine(network: Network, peer: Web3Side, number: int, *, ours: bool) -> float:
    """Send so many; anvil makes blocks as it likes. Seconds until the last is sent."""
    mints = await network.signed(number)
    begun = time.perf_counter()
    if ours:
        await send_ours(network, mints)
        seconds = time.perf_counter() - begun
    else:
        seconds = await peer.send([mint.raw for mint in mints])
    await network.all_mined(mints[-1].nonce + 1)
    return seconds


async def web3_whole(network: Network, peer: Web3Side, number: int) -> float:
    """Seconds in which web3.py signs, sends and waits for so many, one after the other."""
    nonce = await network.count()
    signature = "issueReceivable(address,uint256,uint256,uint64,bytes32)"
    transactions: list[dict[str, Any]] = []
    for at in range(number):
        call = network.call()
        data = calldata(
            signature, call.to_wallet, call.token_id, call.face.value, call.due_at_unix, call.document_sha256
        )
        transactions.append(
            {"chainId": CHAIN_ID, "nonce": nonce + at, "gas": _GAS, "to": network.to.token, "value": 0,
             "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "data": "0x" + data.hex()}
        )  # fmt: skip
    key = network.hand.vault._file.read().keys[f"secp256k1:{MINTER}"]  # a throw-away vault's: web3 signs by itself
    return await peer.whole(transactions, key)


@asynccontextmanager
async def fresh() -> AsyncIterator[tuple[Network, Web3Side]]:
    """A chain with our contracts, and both clients on it; every mint on it is checked at the end."""
    async with fresh_network() as hand:
        artifacts = ROOT / "contracts/artifacts"
        to = await deploy(hand.rpc, hand.vault, chain_id=CHAIN_ID, artifacts=artifacts, now_unix=GENESIS)
        network = Network(hand, to, ChainClient(hand.rpc, hand.vault, to), await hand.address(MINTER))
        async with web3_side(hand.url) as peer:
            yield network, peer
        await network.check()


async def measure(number: int, few: int, rounds: int) -> dict[str, Any]:
    """All of it."""
    rates: dict[str, list[float]] = {}
    reads: dict[str, list[float]] = {"by_block": [], "one_by_one": [], "web3": []}

    def note(name: str, mints: int, seconds: float) -> None:
        rates.setdefault(name, []).append(mints / seconds)
        print(f"{name:>16} {mints / seconds:>8,.0f} mints/s", file=sys.stderr, flush=True)

    async with fresh() as (network, peer):
        await network.hand.rpc.call("evm_setAutomine", False)
        await by_block(network, peer, PENDING_MAX, ours=True, reads={name: [] for name in reads})  # warmed up
        for round_ in range(rounds):
            for side in ("ours", "web3") if round_ % 2 == 0 else ("web3", "ours"):
                note(f"submit_{side}", number, await by_block(network, peer, number, ours=side == "ours", reads=reads))
    async with fresh() as (network, peer):
        for round_ in range(rounds):
            for side in ("ours", "web3") if round_ % 2 == 0 else ("web3", "ours"):
                note(f"automine_{side}", few, await automine(network, peer, few, ours=side == "ours"))
    async with fresh() as (network, peer):
        note("whole_web3", few, await web3_whole(network, peer, few))
    async with fresh() as (network, _):
        token_ids, seconds = await minted_from_invoices(network.chain, number, FACE)
        network.minted += token_ids
        note("whole_ours", number, seconds)
    return report(number, rates, reads)


def report(number: int, rates: dict[str, list[float]], reads: dict[str, list[float]]) -> dict[str, Any]:
    """Print the table."""
    result: dict[str, Any] = {"mints": number, "pending_max": PENDING_MAX}
    print(f"{'':28}{'ours':>12}{'web3.py':>12}{'ratio':>8}{'min … max':>16}")
    for name, words in WORDS.items():
        ours, web3 = rates[f"{name}_ours"], rates[f"{name}_web3"]
        ratios = sorted(mine / theirs for mine, theirs in zip(ours, web3, strict=True))
        ratio, medians = statistics.median(ratios), [statistics.median(each) for each in (ours, web3)]
        spread = f"{ratios[0]:.1f} … {ratios[-1]:.1f}"
        print(f"{words:28}{medians[0]:>10,.0f}/s{medians[1]:>10,.0f}/s{ratio:>8.1f}{spread:>16}")
        result |= {f"{name}_ratio": round(ratio, 2), f"{name}_per_second": [round(rate) for rate in medians]}
    sums = {name: statistics.median(each) for name, each in reads.items()}
    result["reads_ratio"] = round(sums["web3"] / sums["by_block"], 1)
    result["reads_one_by_one_ratio"] = round(sums["one_by_one"] / sums["by_block"], 1)
    print(
        f"200 receipts by block {sums['by_block'] * 1e3:.0f} ms, one by one {sums['one_by_one'] * 1e3:.0f} ms,"
        f" web3.py one by one {sums['web3'] * 1e3:.0f} ms"
    )
    return {**result, "cpus": os.cpu_count()}


def main() -> int:
    """Print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mints", type=int, default=1000)
    parser.add_argument("--few", type=int, default=200, help="where each mint has a block of its own")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    result = uvloop.run(measure(chosen.mints, chosen.few, chosen.rounds))
    faults = [f"{name} is {result[name]}, at least {bar} wanted" for name, bar in BARS.items() if result[name] < bar]
    for fault in faults:
        print(f"missed: {fault}")
    print(f"RESULT {json.dumps({**result, 'ok': not faults})}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
