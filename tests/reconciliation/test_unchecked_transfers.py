"""Must show 5 with the real jobs: they promise a transfer that they should not, and the chain says no."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from fintokenx.adapters.chain.deployment import UPDATER
from fintokenx.adapters.chain.signing import calldata
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.tokenisation.service import identity
from tests.modules.tokens_house import FACE, PLATFORM, subject_row
from tests.reconciliation.house import Town, town_in
from tests.support import World

pytestmark = pytest.mark.anyio

Arrange = Callable[[Town], Awaitable[str]]
"""Makes somebody who may not receive; who it is."""


@pytest.fixture
async def town(world: World) -> AsyncIterator[Town]:
    async with town_in(world) as made:
        yield made


async def _unclaimed(town: Town) -> str:
    """A wallet that nobody ever told the registry of."""
    lender = town.lenders[0]
    address = await town.chain.create_wallet("wallet/unclaimed")
    async with town.house.tx() as tx:
        key_name = await identity.key_wanted(tx, PLATFORM, subject_id=lender)
        assert key_name is not None
        await identity.keep_wallet(tx, PLATFORM, subject_id=lender, key_name=key_name, address=address)
    return lender


async def _frozen(town: Town) -> str:
    """The platform has taken its claims away."""
    lender = town.lenders[0]
    await town.register(lender)
    await town.freeze(lender, frozen=True)
    await town.house.until_idle()
    assert (await town.house.wallet(lender)).state == "REVOKED"
    return lender


async def _unclassified(town: Town) -> str:
    """An investor as the platform registers it while nobody has said which class of client it is."""
    investor = town.world.ids.new("sub")
    await town.house.seed(subject_row(town.world, investor, "investor"))
    await town.register(investor)
    return investor


async def _frozen_on_the_token(town: Town) -> str:
    lender = town.lenders[0]
    await town.register(lender)
    await town.agent("setAddressFrozen(address,bool)", (await town.house.wallet(lender)).address, True)
    return lender


async def _sanctioned(town: Town) -> str:
    lender = town.lenders[0]
    await town.register(lender)
    flag = calldata("setFlagged(address,bool)", (await town.house.wallet(lender)).address, True)
    await town.send(UPDATER, town.deployment.sanctions_rule, flag)
    return lender


CASES: dict[str, tuple[Arrange, str]] = {
    "unclaimed": (_unclaimed, "wallet not verified"),
    "frozen": (_frozen, "wallet not verified"),
    "frozen on the token": (_frozen_on_the_token, "address frozen"),
    "sanctioned": (_sanctioned, "sanctions"),
    "unclassified": (_unclassified, "MiFID classification required"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_transfer_past_all_checks_ends_refused_with_the_contracts_reason(
    town: Town, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """P-18, TK-11: the promise ends REVERTED and says why, the fact is told, and no token has moved."""
    arrange, reason = CASES[case]
    receiver = await arrange(town)
    token = await town.house.minted()
    wallet = await town.house.wallet(receiver)
    monkeypatch.setattr(tokenisation.Wallet, "registered", property(lambda _wallet: True))
    key = await town.promise_transfer(token, receiver)
    await town.house.until_idle()
    promise = await town.house.promise(key)
    assert (promise.state, promise.revert_reason) == ("REVERTED", reason)
    assert (await town.house.facts(token.invoice_reference))[-1] == {
        "fact": "TransferRefused",
        "business_key": key,
        "token_reference": token.reference,
        "reason": reason,
    }
    assert (await town.house.token(token.invoice_reference)).state == "MINTED"
    assert await town.chain.holding(await town.chain.minting_wallet(), token.token_id) == FACE
    assert not await town.chain.holding(wallet.address, token.token_id)
    flagged_past_us = ["WALLET_FLAG"] if case == "sanctioned" else []
    assert [drift[0] for drift in await town.drifts()] == flagged_past_us


@pytest.mark.parametrize("case", ["unclaimed", "frozen"])
async def test_with_its_checks_the_platform_promises_no_such_transfer(town: Town, case: str) -> None:
    """The twin: it is a check of ours that was taken out."""
    receiver = await CASES[case][0](town)
    token = await town.house.minted()
    with pytest.raises(tokenisation.WalletNotRegistered):
        await town.promise_transfer(token, receiver)
