"""Wallets and claims follow what we know of a subject (CH-06, CH-16)."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.lifecycle import chainwork, tokenisation
from fintokenx.lifecycle.tokenisation.ports import (
    Call,
    Claims,
    RegisterIdentity,
)
from fintokenx.lifecycle.tokenisation.service import identity
from fintokenx.parties import auth
from tests.modules.tokens_house import (
    FACE,
    PLATFORM,
    TENANT,
    House,
    freeze,
    tokens_house,
)
from tests.support import World
from tests.support.fakes.chain import MINTER_KEY, Contracts, Crash, Reverted, address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(world: World) -> House:
    return await tokens_house(world)


async def test_an_active_lender_gets_a_wallet_that_the_registry_vouches_for(house: House) -> None:
    wallet = await house.registered_lender()
    assert wallet.registered
    assert Claims(wallet.claims) == Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK
    assert wallet.key_name == f"wallet/{TENANT}/{house.lender}"
    assert await house.chain.is_verified(wallet.address)
    trail = await house.trail(house.lender)
    assert trail == ["WALLET_CREATE", "CLAIMS_REQUEST", "CHAIN_TX_RESERVE", "CHAIN_TX_SIGN", "CLAIMS_ISSUE"]
    [call] = house.chain.mined_calls(RegisterIdentity)
    assert isinstance(call, RegisterIdentity)
    async with house.tx() as tx:
        cleared_at = (await auth.subject(tx, house.lender)).cleared_at
    assert cleared_at is not None
    assert call.expires_at_unix == int((cleared_at + timedelta(days=365)).timestamp())
    assert house.lender.encode() not in call.subject_hash


async def test_a_seller_gets_no_wallet(house: House) -> None:
    await house.ask("tokenisation.issue_claims", {"subject_id": house.seller, "role": "seller"})
    await house.until_idle()
    with pytest.raises(tokenisation.UnknownWallet):
        await house.wallet(house.seller)
    assert house.chain.calls.total() == 0


async def test_told_twice_the_claims_are_issued_once(house: House) -> None:
    for number in range(3):
        await house.ask("tokenisation.issue_claims", {"subject_id": house.lender, "role": "lender"}, f"{number}")
    await house.until_idle()
    assert len(house.chain.mined_calls(RegisterIdentity)) == 1


async def test_a_frozen_lender_loses_its_claims_and_gets_them_back(house: House) -> None:
    """CH-16: after the freeze the chain itself refuses, with no help of ours."""
    wallet = await house.registered_lender()
    await freeze(house, frozen=True)
    await house.ask("tokenisation.revoke_claims", {"subject_id": house.lender, "role": "lender"})
    await house.until_idle()
    assert not await house.chain.is_verified(wallet.address)
    assert (await house.wallet(house.lender)).state == "REVOKED"
    allowed = await house.chain.can_transfer(address_of(MINTER_KEY), wallet.address, 1, FACE)
    assert allowed == (False, "wallet not verified")
    await freeze(house, frozen=False)
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender, "role": "lender"}, "unfrozen")
    await house.until_idle()
    assert await house.chain.is_verified(wallet.address)


@pytest.mark.parametrize("call", ["create_wallet", "sign", "broadcast"])
async def test_a_crash_while_issuing_claims_ends_in_one_wallet(house: House, call: str) -> None:
    house.chain.fail_after(call, Crash())
    wallet = await house.registered_lender()
    assert wallet.registered
    assert len(house.chain.mined) == 1


async def test_claims_are_renewed_by_a_check_and_by_nothing_else(house: House) -> None:
    """CH-16: a holder whose claims have ended could receive nothing more; so it is checked anew before."""
    first = await house.registered_lender()
    house.pass_time(days=334)
    await house.walk()
    assert house.renewals_asked == []
    house.pass_time(days=2)
    await house.walk()
    assert house.renewals_asked == [house.lender]
    assert await house.wallet(house.lender) == first, "asking is not passing"
    await house.checked_anew()
    await house.walk()
    renewed = await house.wallet(house.lender)
    assert renewed.checked_at is not None
    assert renewed.claims_expire_at is not None
    assert (renewed.state, renewed.claims) == (first.state, first.claims)
    assert timedelta(0) <= renewed.checked_at + timedelta(days=365) - renewed.claims_expire_at < timedelta(seconds=1)
    on_chain = house.chain.contracts.identities[renewed.address]
    assert on_chain.expires_at_unix == int(renewed.claims_expire_at.timestamp())
    await house.walk()
    assert len(house.chain.mined_calls(RegisterIdentity)) == 2
    assert house.renewals_asked == [house.lender]


async def test_claims_that_rest_on_an_old_check_lapse_and_are_not_issued_again(house: House) -> None:
    """CH-16: a lender that was checked once, in June 2026, is nobody to the chain in August 2027."""
    first = await house.registered_lender()
    house.pass_time(days=426)
    house.chain.pass_time(timedelta(days=426))
    assert not await house.chain.is_verified(first.address), "the chain itself lets the claim end"
    await house.walk()
    lapsed = await house.wallet(house.lender)
    assert (lapsed.state, lapsed.claims, lapsed.checked_at) == ("REVOKED", 0, None)
    assert house.renewals_asked == [house.lender]
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "once more")
    await house.until_idle()
    assert await house.wallet(house.lender) == lapsed
    await house.checked_anew()
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "checked anew")
    await house.until_idle()
    assert (await house.wallet(house.lender)).registered
    assert await house.chain.is_verified(first.address)


async def test_claims_given_back_late_end_with_the_check_and_not_a_year_after(house: House) -> None:
    """Frozen for eleven months and freed: what it gets back is as old as its check."""
    first = await house.registered_lender()
    await freeze(house, frozen=True)
    await house.walk()
    house.pass_time(days=330)
    await freeze(house, frozen=False)
    await house.walk()
    given_back = await house.wallet(house.lender)
    assert given_back.registered
    assert given_back.claims_expire_at == first.claims_expire_at


@pytest.mark.parametrize(
    "planted",
    [
        {"claims_expire_at": timedelta(days=366)},
        {"claims_expire_at": timedelta(days=400), "checked_at": timedelta(days=35)},
        {"checked_at": None},
    ],
)
async def test_the_database_refuses_a_claim_that_is_younger_than_its_check(
    house: House, planted: dict[str, timedelta | None]
) -> None:
    """CH-16: a later end, a check that never was, or none at all."""
    wallet = await house.registered_lender()
    async with house.tx() as tx:
        cleared_at = (await auth.subject(tx, house.lender)).cleared_at
    assert cleared_at is not None
    after = {name: cleared_at + shift if shift is not None else None for name, shift in planted.items()}
    before = {name: getattr(wallet, name) for name in planted}
    key = {"tenant_id": TENANT, "id": wallet.id}
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await house.seed(audit.update("wallets", key=key, before=before, after=after))
    assert refusal.value.sqlstate in ("23514", "FX027")


class ClosedRegistry(Contracts):
    """Takes no registration."""

    def execute(self, call: Call, now_unix: int) -> None:
        if isinstance(call, RegisterIdentity):
            raise Reverted("reverted")
        super().execute(call, now_unix)


async def _refused_renewal(house: House) -> str:
    """A registered lender whose renewal the chain refuses; returns the business key of the refused promise."""
    wallet = await house.registered_lender()
    house.pass_time(days=336)
    await house.checked_anew()
    open_registry = house.chain.contracts
    house.chain.contracts = ClosedRegistry(open_registry.identities, open_registry.faces, open_registry.holdings)
    key = f"identity:{wallet.id}:2"
    await house.ask("tokenisation.issue_claims", {"subject_id": house.lender}, "renew")

    async def refused() -> bool:
        try:
            return (await house.promise(key)).state == "REVERTED"
        except chainwork.UnknownChainTransaction:
            return False

    await house.work_until(refused)
    house.chain.contracts = open_registry
    return key


async def test_a_refused_grant_does_not_stand_in_the_way_of_a_revocation(house: House) -> None:
    """CH-16: else the grant would be sent once more to a frozen lender."""
    refused = await _refused_renewal(house)
    await freeze(house, frozen=True)
    await house.ask("tokenisation.revoke_claims", {"subject_id": house.lender, "role": "lender"})

    async def revoked() -> bool:
        return (await house.wallet(house.lender)).state == "REVOKED"

    await house.work_until(revoked)
    house.pass_time(hours=1)
    await house.until_idle()
    wallet = await house.wallet(house.lender)
    assert (wallet.state, wallet.claims) == ("REVOKED", 0)
    assert not await house.chain.is_verified(wallet.address)
    assert (await house.promise(refused)).state == "SUPERSEDED"
    written = [call.claims for call in house.chain.mined_calls(RegisterIdentity) if isinstance(call, RegisterIdentity)]
    assert [bool(claims) for claims in written] == [True, False]


async def test_a_refused_grant_that_is_still_wanted_is_tried_again(house: House) -> None:
    refused = await _refused_renewal(house)
    house.pass_time(hours=1)
    await house.until_idle()
    assert (await house.promise(refused)).state == "CONFIRMED"


async def test_a_refused_grant_gives_way_to_one_that_rests_on_a_younger_check(house: House) -> None:
    refused = await _refused_renewal(house)
    house.pass_time(days=336)
    await house.checked_anew()
    await house.until_idle()
    assert (await house.promise(refused)).state == "SUPERSEDED"
    expires_at = (await house.wallet(house.lender)).claims_expire_at
    assert expires_at is not None
    assert expires_at - house.world.clock.now() > timedelta(days=364)


async def test_an_active_lender_whose_job_was_lost_gets_its_wallet_from_the_walk(house: House) -> None:
    await house.walk()
    assert (await house.wallet(house.lender)).registered
    await house.walk()
    assert len(house.chain.mined_calls(RegisterIdentity)) == 1
    with pytest.raises(tokenisation.UnknownWallet):
        await house.wallet(house.seller)


async def test_no_wallet_is_made_for_a_lender_whom_nobody_vouches_for(house: House) -> None:
    """Declined or frozen before it had one."""
    await freeze(house, frozen=True)
    await house.ask("tokenisation.revoke_claims", {"subject_id": house.lender})
    await house.until_idle()
    assert house.chain.calls["create_wallet"] == 0
    with pytest.raises(tokenisation.UnknownWallet):
        await house.wallet(house.lender)


async def test_a_wallet_that_was_never_registered_is_found_by_the_walk(house: House) -> None:
    """The job died between the wallet and its claims."""
    key_name = identity.key_name_of(TENANT, house.lender, 1)
    address = address_of(key_name)
    async with house.tx() as tx:
        await identity.keep_wallet(tx, PLATFORM, subject_id=house.lender, key_name=key_name, address=address)
    await house.walk()
    assert (await house.wallet(house.lender)).registered


async def test_a_revocation_whose_job_was_lost_is_found_by_the_walk(house: House) -> None:
    await house.registered_lender()
    await freeze(house, frozen=True)
    await house.walk()
    assert (await house.wallet(house.lender)).state == "REVOKED"
