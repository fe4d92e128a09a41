"""A lost wallet while other things happen: at once, on their way, after a crash, over HTTP (CH-17)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.errors import Refused
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.chainwork.ports import ChainUnavailable
from fintokenx.lifecycle.tokenisation.ports import (
    BurnReceivable,
    RecoverWallet,
    RemoveIdentity,
)
from fintokenx.lifecycle.tokenisation.service import identity
from fintokenx.lifecycle.tokenisation.transitions import RECOVERY
from tests.modules.recovery_fixtures import office, world
from tests.modules.recovery_office import DECLINE, REASON, Office
from tests.modules.tokens_house import (
    FACE,
    PLATFORM,
    TENANT,
    House,
    freeze,
)
from tests.modules.tokens_http import app_of
from tests.support.fakes.chain import Crash, address_of

pytestmark = pytest.mark.anyio
__all__ = ["office", "world"]

# ── At once


async def _at_once(*acts: Any) -> list[BaseException | None]:
    return list(await asyncio.gather(*acts, return_exceptions=True))


async def test_of_two_requests_at_once_one_is_taken(office: Office) -> None:
    await office.house.registered_lender()
    said = await _at_once(*(office.request(by) for by in (office.asker, office.decider, office.clerk) * 3))
    assert sum(isinstance(each, tokenisation.Recovery) for each in said) == 1
    assert sum(isinstance(each, tokenisation.RecoveryUnderWay) for each in said) == 8


async def test_of_two_approvals_at_once_one_counts(office: Office) -> None:
    token = await office.house.held()
    known = await office.request(office.clerk)
    said = await _at_once(office.decide(known, by=office.asker), office.decide(known, by=office.decider))
    assert sorted(type(each).__name__ for each in said) == ["AlreadyDecided", "NoneType"]
    await office.house.until_idle()
    assert len(office.house.chain.mined_calls(RecoverWallet)) == 1
    assert office.holding(2, token) == FACE.value


async def test_of_an_approval_and_a_refusal_at_once_one_counts(office: Office) -> None:
    await office.house.registered_lender()
    known = await office.request(office.clerk)
    said = await _at_once(office.decide(known, by=office.asker), office.decide(known, DECLINE, by=office.decider))
    assert sorted(type(each).__name__ for each in said) == ["AlreadyDecided", "NoneType"]
    approved = said[0] is None
    await office.house.until_idle()
    assert await office.state(known) == ("COMPLETED" if approved else "DECLINED")
    assert len(await office.wallets()) == (2 if approved else 1)


# ── What is on its way


async def test_a_transfer_that_is_on_its_way_to_the_lost_wallet_is_waited_for(office: Office) -> None:
    """It is in the chain's pool when the wallet is given up: it arrives, and goes on from there."""
    await office.house.registered_lender()
    token = await office.house.minted()
    office.house.chain.stall()
    await office.house.promise_transfer(token, "fund:1")

    async def sent() -> bool:
        return (await office.house.promise("fund:1")).state == "SIGNED"

    await office.house.work_until(sent)
    known = await office.approved()
    office.house.chain.resume()

    async def arrived() -> bool:
        return (await office.house.promise("fund:1")).state == "CONFIRMED"

    await office.house.work_until(arrived)
    await office.house.work_until(_some_time(office.house))
    assert await office.state(known) == "APPROVED", "the chain has moved it, and nobody has taken that up"
    await office.house.hold(token, "fund:1")
    await office.house.until_idle()
    assert await office.state(known) == "COMPLETED"
    after = await office.house.token(token.invoice_reference)
    assert (after.state, after.holder_wallet) == ("HELD", address_of(office.key(2)))
    assert (office.holding(1, token), office.holding(2, token)) == (0, FACE.value)


def _some_time(house: House, seconds: int = 30) -> Any:
    """Business time, in which the jobs look more than once."""
    until = house.world.clock.now() + timedelta(seconds=seconds)

    async def over() -> bool:
        return house.world.clock.now() >= until

    return over


async def test_a_transfer_that_comes_too_late_is_refused_by_the_chain_and_nothing_is_lost(office: Office) -> None:
    """Its claims were gone first: the token is where it was, and settlement hears why."""
    await office.house.registered_lender()
    token = await office.house.minted()
    await office.house.promise_transfer(token, "fund:1")
    known = await office.approved()

    async def revoked() -> bool:
        return not office.house.chain.contracts.identities[address_of(office.key(1))].claims

    await office.house.work_until(revoked, only="tokenisation.recover")
    await office.house.until_idle()
    assert (await office.house.promise("fund:1")).state == "REVERTED"
    assert await office.state(known) == "COMPLETED"
    assert (await office.house.token(token.invoice_reference)).state == "MINTED"
    await office.house.promise_transfer(token, "fund:2")
    await office.house.until_idle()
    assert office.holding(2, token) == FACE.value, "the next purchase goes to the new wallet"


async def test_no_transfer_is_promised_to_a_lost_wallet(office: Office) -> None:
    await office.house.registered_lender()
    token = await office.house.minted()
    await office.approved()
    with pytest.raises(tokenisation.WalletNotRegistered):
        await office.house.promise_transfer(token, "fund:1")
    with pytest.raises(tokenisation.UnknownWallet):
        await office.house.wallet(office.house.lender)


async def test_a_burn_that_was_asked_for_first_is_waited_for(office: Office) -> None:
    token = await office.house.held()
    await office.house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    office.house.chain.stall()
    await office.house.request_burn(token)
    known = await office.approved()
    office.house.chain.resume()
    await office.house.until_idle()
    assert await office.house.state(token.invoice_reference) == "BURNED"
    assert await office.state(known) == "COMPLETED"
    assert [getattr(step, "token_ids", None) for step in office.house.chain.mined_calls(RecoverWallet)] == [()]


async def test_a_burn_that_is_asked_for_while_holdings_move_finds_them_wherever_they_are(office: Office) -> None:
    token = await office.house.held()
    known = await office.approved()
    await office.until(known, "MOVING")
    office.house.chain.mine()
    await office.house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await office.house.request_burn(await office.house.token(token.invoice_reference))
    await office.house.until_idle()
    assert await office.house.state(token.invoice_reference) == "BURNED"
    assert await office.state(known) == "COMPLETED"
    [burn] = office.house.chain.mined_calls(BurnReceivable)
    assert isinstance(burn, BurnReceivable)
    assert set(burn.holders) == {address_of(office.key(1)), address_of(office.key(2))}
    assert not [each for *_, each in office.house.chain.mined if not each.succeeded]


async def test_a_burn_that_the_restored_database_forgot_is_found_although_a_wallet_followed(office: Office) -> None:
    """Its bytes follow from what stood when it was asked for, and not from the wallets of today."""
    token = await office.house.held()
    await office.house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await office.house.request_burn(token)
    forgotten = BurnReceivable(token.token_id, (address_of(office.key(1)),), b"SETTLED".ljust(32, b"\0"))
    await office.house.chain.broadcast((await office.house.chain.sign(forgotten, 0)).raw)
    known = await office.approved()
    async with office.house.tx() as tx:
        await identity.keep_wallet(
            tx,
            PLATFORM,
            subject_id=office.house.lender,
            key_name=office.key(2),
            address=address_of(office.key(2)),
        )
    await office.house.until_idle()
    assert await office.house.state(token.invoice_reference) == "BURNED"
    assert await office.state(known) == "COMPLETED"
    assert office.house.chain.mined_calls(BurnReceivable) == [forgotten]


async def test_a_frozen_subjects_recovery_is_looked_at_every_few_minutes_only(office: Office) -> None:
    await office.house.held()
    known = await office.request()
    await freeze(office.house, frozen=True)
    await office.decide(known)
    await office.house.work_until(_some_time(office.house, 60))
    async with office.house.tx() as tx:
        row = await tx.row("select attempts, run_at from ops.jobs where name = 'tokenisation.recover'")
    assert row["run_at"] > office.house.world.clock.now() + timedelta(seconds=120), dict(row)


async def test_a_frozen_subjects_recovery_waits_until_somebody_vouches_for_it_again(office: Office) -> None:
    token = await office.house.held()
    known = await office.request()
    await freeze(office.house, frozen=True)
    await office.decide(known)
    await office.house.work_until(_some_time(office.house))
    assert await office.state(known) == "APPROVED"
    assert office.holding(1, token) == FACE.value
    await freeze(office.house, frozen=False)
    await office.house.until_idle()
    assert await office.state(known) == "COMPLETED"
    assert office.holding(2, token) == FACE.value


# ── Crashes


CALLS = [("create_wallet", 1), *((call, nth) for call in ("sign", "broadcast", "receipt") for nth in range(1, 5))]
"""Of a recovery: the old wallet's claims, the new one's, its holdings, its end."""


@pytest.mark.parametrize(("call", "nth"), CALLS)
async def test_a_crash_at_any_call_ends_in_one_recovery(office: Office, call: str, nth: int) -> None:
    """The platform dies after the nth call of its kind took effect; between broadcast and receipt, too."""
    token = await office.house.held()
    known = await office.approved()
    office.house.chain.fail_after(call, Crash(), skipping=nth - 1)
    await office.house.until_idle()
    office.house.restart()
    assert not office.house.chain.still_to_fail(call)
    assert await office.state(known) == "COMPLETED"
    assert (office.holding(1, token), office.holding(2, token)) == (0, FACE.value)
    done = office.house.chain
    assert len(done.mined_calls(RecoverWallet)) == len(done.mined_calls(RemoveIdentity)) == 1
    assert len(await office.wallets()) == 2


@pytest.mark.parametrize("state", ["APPROVED", "MOVING", "RETIRING"])
async def test_a_recovery_whose_job_was_lost_is_taken_up_by_the_walk(office: Office, state: str) -> None:
    token = await office.house.held()
    known = await office.approved()
    await office.until(known, state)
    await office.house.lose_all_jobs()
    office.house.chain.mine()
    office.house.pass_time(hours=1)
    await office.house.walk()
    assert await office.state(known) == "COMPLETED"
    assert office.holding(2, token) == FACE.value


async def test_a_chain_that_is_away_is_waited_for(office: Office) -> None:
    token = await office.house.held()
    known = await office.approved()
    office.house.chain.go_away(ChainUnavailable("nobody answers"))
    await office.house.work_until(_some_time(office.house, 90))
    assert await office.state(known) == "APPROVED"
    office.house.chain.go_away(None)
    await office.house.until_idle()
    assert await office.state(known) == "COMPLETED"
    assert office.holding(2, token) == FACE.value


async def test_a_refusal_of_the_chain_is_told_and_tried_again(office: Office) -> None:
    token = await office.house.held()
    known = await office.approved()
    flags = office.house.chain.contracts.flagged
    flags.add(address_of(office.key(2)))

    async def told() -> bool:
        async with office.house.tx() as tx:
            return bool(await tx.value("select count(*) from app.alerts where cause = 'CHAIN_REFUSED_RECOVERY'"))

    await office.house.work_until(told)
    assert await office.state(known) == "MOVING"
    assert office.holding(1, token) == FACE.value
    flags.clear()
    office.house.pass_time(hours=2)
    await office.house.until_idle()
    assert await office.state(known) == "COMPLETED"
    assert office.holding(2, token) == FACE.value


# ── Over HTTP


async def test_officers_ask_over_http_once_per_key(office: Office) -> None:
    await office.house.registered_lender()
    body = {"subject_id": office.house.lender, "reason": REASON}
    async with app_of(office.house, office.asker) as client:
        bare = await client.post("/v1/wallet-recoveries", json=body)
        assert (bare.status_code, bare.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")
        first = await client.post("/v1/wallet-recoveries", json=body, headers={"FX-Idempotency-Key": "k1"})
        assert first.status_code == 201, first.text
        again = await client.post("/v1/wallet-recoveries", json=body, headers={"FX-Idempotency-Key": "k1"})
        assert again.content == first.content
        other = await client.post("/v1/wallet-recoveries", json=body, headers={"FX-Idempotency-Key": "k2"})
        assert (other.status_code, other.json()["code"]) == (409, "RECOVERY_UNDER_WAY")
        assert (await client.get(f"/v1/wallet-recoveries/{first.json()['id']}")).json() == first.json()
        listed = await client.get("/v1/wallet-recoveries", params={"state": "REQUESTED", "limit": 1})
        assert listed.json() == {"items": [first.json()], "next": first.json()["id"]}
        unknown = await client.get("/v1/wallet-recoveries/rec_x")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "NOT_FOUND")
    async with app_of(office.house, Caller(TENANT, Role.LENDER, office.house.lender, office.house.lender)) as client:
        refused = await client.post("/v1/wallet-recoveries", json=body, headers={"FX-Idempotency-Key": "k3"})
        assert (refused.status_code, refused.json()["code"]) == (403, "ROLE_FORBIDDEN")


async def test_the_database_refuses_every_move_that_the_machine_does_not_list(office: Office) -> None:
    await office.house.registered_lender()
    known = await office.request()
    for target in RECOVERY.states:
        if target in ("REQUESTED", "APPROVED", "DECLINED"):
            continue
        move = _to(known, target)
        with pytest.raises((asyncpg.PostgresError, Refused)):
            async with office.house.tx() as tx:
                await audit.change(tx, PLATFORM, action="WALLET_RECOVERY_APPROVE", resource="x", move=move)


def _to(known: tokenisation.Recovery, target: str) -> audit.Changes:
    key = {"tenant_id": TENANT, "id": known.id}
    after: dict[str, Any] = {"state": target}
    return audit.Changes((audit.update("wallet_recoveries", key=key, before={"state": known.state}, after=after),))
