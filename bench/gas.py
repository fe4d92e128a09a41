"""What one operation costs on chain: whole transactions, by their receipts, with T-REX 4.1.6 measured beside ours.

Ours is deployed by the product's deployment code from the committed artifacts, and every transaction is signed by the
product's vault. All four rules are on. Amounts are realistic pence, token ids 32 random-looking bytes, and no slot is
warm but by its own transaction. ``anchor`` is the dearest of many, the first among them. Last line:
``RESULT {json}``; exit 1 names every bar that is missed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from eth_utils.crypto import keccak

from bench import trex
from bench.network import GENESIS, ROOT, Hand, fresh_network
from fintokenx.adapters.chain import AnchorClient, Deployment, deploy
from fintokenx.adapters.chain.deployment import AGENT, MINTER, MINTING_WALLET, REGISTRAR, registration
from fintokenx.sandbox.anvil import CHAIN_ID

BARS = {
    "transfer_warm": 82_000, "transfer_first": 99_000, "batch10_repeat": 300_000, "mint_repeat": 67_000,
    "onboarding": 200_000, "burn_10_holders": 350_000, "anchor": 60_000,
}  # fmt: skip
WORDS = {
    "transfer_warm": "transfer, four rules on, both hold some",
    "transfer_first": "transfer, first of the receiver",
    "batch10_repeat": "ten transfers in a batch, repeated",
    "mint_repeat": "mint, repeated",
    "onboarding": "onboarding, three claim topics",
    "burn_10_holders": "burn of a receivable with 10 holders",
    "anchor": "anchor, the dearest of 24",
}
HOLDERS = 10
ANCHORS = 24
DUE = GENESIS + 90 * 86_400
EXPIRY = GENESIS + 365 * 86_400
ONE, TWO, THREE = (int.from_bytes(keccak(text=f"FXR-INV-{name}"), "big") for name in ("23A4F", "23A4G", "23A4H"))


async def ours(hand: Hand) -> dict[str, int]:
    """Gas by name."""
    to = await deploy(hand.rpc, hand.vault, chain_id=CHAIN_ID, artifacts=ROOT / "contracts/artifacts", now_unix=GENESIS)
    wallets = [await hand.address(f"wallet/bench/{at}") for at in range(HOLDERS)]
    for wallet in wallets:
        await onboard(hand, to, wallet, measured="onboarding")
    issue = "issueReceivable(address,uint256,uint256,uint64,bytes32)"
    for token_id in (ONE, TWO):
        await hand.call(MINTER, to.token, issue, to.minting_wallet, token_id, 12_345_678, DUE, keccak(b"invoice"))
    await transfers(hand, to, wallets)
    create = "createReceivable(uint256,uint256,uint64,bytes32)"
    await hand.call(MINTER, to.token, create, THREE, 12_345_678, DUE, keccak(b"invoice"))
    for _ in range(2):
        mint = ("mint(address,uint256,uint256)", to.minting_wallet, THREE, 250_000)
        await hand.call(MINTER, to.token, *mint, measured="mint_repeat")
    await burn(hand, to, wallets)
    await anchors(hand, to)
    return hand.gas_used


async def onboard(hand: Hand, to: Deployment, wallet: str, *, measured: str) -> None:
    """Register a lender's wallet with the three claims that every holder needs."""
    data = await registration(
        hand.rpc, hand.vault, to, wallet=wallet, subject_hash=keccak(text=wallet), country=826, claims=7,
        is_investor=False, expires_at_unix=EXPIRY,
    )  # fmt: skip
    await hand.send(REGISTRAR, to.identity_registry, data, measured=measured)


async def transfers(hand: Hand, to: Deployment, wallets: list[str]) -> None:
    """Single ones as funding sends them, and the batch, each the first time and again."""
    send = "safeTransferFrom(address,address,uint256,uint256,bytes)"
    one = (to.minting_wallet, wallets[0], ONE, 250_000, b"")
    await hand.call(MINTING_WALLET, to.token, send, *one, measured="transfer_first")
    await hand.call(MINTING_WALLET, to.token, send, *one, measured="transfer_warm")
    for _ in range(2):
        many = ("batchTransfer(address[],uint256[],uint256[])", wallets, [ONE] * HOLDERS, [25_000] * HOLDERS)
        await hand.call(MINTING_WALLET, to.token, *many, measured="batch10_repeat")


async def burn(hand: Hand, to: Deployment, wallets: list[str]) -> None:
    """A receivable that ten lenders hold, wholly."""
    shares = [1_234_567] * (HOLDERS - 1)
    shares.append(12_345_678 - sum(shares))
    await hand.call(
        MINTING_WALLET, to.token, "batchTransfer(address[],uint256[],uint256[])", wallets, [TWO] * HOLDERS, shares
    )
    await hand.call(
        AGENT, to.token, "burnReceivable(uint256,address[],bytes32)", TWO, wallets, b"SETTLED".ljust(32, b"\0"),
        measured="burn_10_holders",
    )  # fmt: skip


async def anchors(hand: Hand, to: Deployment) -> None:
    """The dearest of many successive ones by the product's client."""
    client = AnchorClient(hand.rpc, hand.vault, to)
    costs = []
    for batch_id in range(1, ANCHORS + 1):
        anchored = await client.publish(batch_id, 1_000_000 + 5_000 * batch_id, keccak(text=f"root {batch_id}"))
        costs.append(int((await hand.receipt(anchored.tx_hash))["gasUsed"], 16))
    hand.gas_used["anchor"] = max(costs)


async def measure() -> dict[str, int | str]:
    """Both suites on one chain."""
    with tempfile.TemporaryDirectory(prefix="fx-trex-") as folder:
        async with fresh_network() as hand:
            gas: dict[str, int | str] = dict(await ours(hand))
            reference, source, note = trex.RECORDED, "recorded", trex.RECORDED_NOTE
            if trex.install(Path(folder)):
                reference, source, note = await trex.measure(hand, Path(folder)), "measured", trex.NOTE
    gas |= {f"trex_{name}": used for name, used in reference.items()}
    return gas | {"source": source, "note": f"T-REX 4.1.6, 3 topics, 4 modules: {note}"}


def table(result: dict[str, int | str]) -> str:
    """For people."""
    lines = [f"{'gas of a whole transaction':42}{'ours':>10}{'bar':>10}{'T-REX 4.1.6':>13}"]
    for name, words in WORDS.items():
        bar, reference = BARS.get(name), result.get(f"trex_{name}")
        lines.append(
            f"{words:42}{result[name]:>10,}{f'{bar:,}' if bar else '–':>10}{f'{reference:,}' if reference else '–':>13}"
        )
    return "\n".join([*lines, str(result["note"])])


def missed(result: dict[str, int | str]) -> list[str]:
    """Every bar that is not met, in words."""
    return [f"{name}: {result[name]} > {bar}" for name, bar in BARS.items() if int(result[name]) > bar]


def main() -> int:
    """Print; 1 when a bar is missed."""
    result = asyncio.run(measure())
    print(table(result))
    over = missed(result)
    for line in over:
        print(f"missed: {line}")
    print(f"RESULT {json.dumps(result)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
