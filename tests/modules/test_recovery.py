"""A lost wallet: asked for by one, decided by another, and whatever happens meanwhile nothing stays behind (CH-17)."""

from __future__ import annotations

import asyncpg
import pytest

from fintokenx import audit
from fintokenx.kernel.caller import Caller, Role, WrongRole, WrongTenant
from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.tokenisation import reactions
from fintokenx.lifecycle.tokenisation.ports import (
    RecoverWallet,
    RegisterIdentity,
)
from fintokenx.lifecycle.tokenisation.service import recovering
from fintokenx.parties import auth
from fintokenx.parties.auth.events import SubjectErased
from tests.modules.recovery_fixtures import office, world
from tests.modules.recovery_office import DECLINE, REASON, Office
from tests.modules.tokens_house import (
    FACE,
    PLATFORM,
    TENANT,
)
from tests.support.fakes.chain import address_of

pytestmark = pytest.mark.anyio
__all__ = ["office", "world"]

# ── The whole way


async def test_everything_a_lost_wallet_holds_goes_to_the_next_one(office: Office) -> None:
    tokens = [await office.house.held() for _ in range(2)]
    ended = await office.recovered()
    assert (ended.state, ended.requested_by, ended.decided_by) == (
        "COMPLETED",
        office.asker.actor,
        office.decider.actor,
    )
    assert await office.wallets() == [(office.key(1), "RETIRED"), (office.key(2), "REGISTERED")]
    new = await office.house.wallet(office.house.lender)
    assert (new.id, new.address) == (ended.new_wallet_id, address_of(office.key(2)))
    for token in tokens:
        after = await office.house.token(token.invoice_reference)
        assert (after.state, after.holder_subject_id, after.holder_wallet) == ("HELD", office.house.lender, new.address)
        assert (office.holding(1, token), office.holding(2, token)) == (0, FACE.value)
    assert address_of(office.key(1)) not in office.house.chain.contracts.identities


async def test_each_of_its_steps_is_an_entry_under_the_subject(office: Office) -> None:
    await office.house.held()
    known = await office.recovered()
    trail = await office.house.trail(office.house.lender)
    told = [action for action in trail if not action.startswith("CHAIN_TX")]
    assert told == [
        "WALLET_CREATE",
        "CLAIMS_REQUEST",
        "CLAIMS_ISSUE",
        "WALLET_RECOVERY_REQUEST",
        "WALLET_RECOVERY_APPROVE",
        "CLAIMS_REQUEST",
        "CLAIMS_REVOKE",
        "WALLET_CREATE",
        "CLAIMS_REQUEST",
        "CLAIMS_ISSUE",
        "TOKEN_RECOVER_REQUEST",
        "TOKEN_RECOVER",
        "WALLET_RETIRE_REQUEST",
        "WALLET_RETIRE",
    ]
    [decision] = await office.house.entries(known.case_id)
    assert (decision.action, decision.actor) == ("MLRO_APPROVE", office.decider.actor)


async def test_the_tokens_rows_move_in_the_entry_of_the_chains_confirmation(office: Office) -> None:
    await office.house.held()
    await office.recovered()
    [entry] = [each for each in await office.house.entries(office.house.lender) if each.action == "TOKEN_RECOVER"]
    assert '"table":"tokens"' in entry.diff
    assert '"table":"chain_tx"' in entry.diff


async def test_a_wallet_that_holds_nothing_is_retired_all_the_same(office: Office) -> None:
    await office.house.registered_lender()
    assert (await office.recovered()).state == "COMPLETED"
    assert await office.wallets() == [(office.key(1), "RETIRED"), (office.key(2), "REGISTERED")]
    assert office.house.chain.contracts.retired == {address_of(office.key(1))}


async def test_many_tokens_go_in_steps_of_bounded_size(office: Office) -> None:
    office.house.tokens_a_step = 2
    office.house.restart()
    tokens = [await office.house.held() for _ in range(5)]
    assert (await office.recovered()).state == "COMPLETED"
    steps = office.house.chain.mined_calls(RecoverWallet)
    assert [len(step.token_ids) for step in steps if isinstance(step, RecoverWallet)] == [2, 2, 1]
    assert [office.holding(2, token) for token in tokens] == [FACE.value] * 5


async def test_what_was_recovered_burns_from_the_new_wallet(office: Office) -> None:
    token = await office.house.held()
    await office.recovered()
    await office.house.move_invoice(token.invoice_reference, "TOKENISED", "SETTLING")
    await office.house.request_burn(await office.house.token(token.invoice_reference))
    await office.house.until_idle()
    assert await office.house.state(token.invoice_reference) == "BURNED"


async def test_a_second_wallet_can_be_lost_too(office: Office) -> None:
    token = await office.house.held()
    await office.recovered()
    await office.recovered()
    assert await office.wallets() == [
        (office.key(1), "RETIRED"),
        (office.key(2), "RETIRED"),
        (office.key(3), "REGISTERED"),
    ]
    assert office.holding(3, token) == FACE.value


async def test_the_walk_writes_no_claims_for_a_wallet_that_was_given_up(office: Office) -> None:
    await office.house.registered_lender()
    await office.recovered()
    written = len(office.house.chain.mined_calls(RegisterIdentity))
    office.house.pass_time(days=2)
    await office.house.walk()
    assert len(office.house.chain.mined_calls(RegisterIdentity)) == written


# ── Who may, and when not


async def test_nobody_approves_what_they_asked_for(office: Office) -> None:
    await office.house.registered_lender()
    known = await office.request()
    with pytest.raises(auth.FourEyes):
        await office.decide(known, by=office.asker)
    assert await office.state(known) == "REQUESTED"
    assert await office.wallets() == [(office.key(1), "REGISTERED")]


async def test_only_the_mlro_decides(office: Office) -> None:
    await office.house.registered_lender()
    known = await office.request()
    with pytest.raises(WrongRole):
        await office.decide(known, by=office.clerk)
    assert await office.state(known) == "REQUESTED"


async def test_not_even_the_database_takes_one_pair_of_eyes(office: Office) -> None:
    await office.house.registered_lender()
    known = await office.request()
    move = audit.Changes(
        (
            audit.update(
                "wallet_recoveries",
                key={"tenant_id": TENANT, "id": known.id},
                before={"state": "REQUESTED", "decided_at": None, "decided_by": None},
                after={"state": "APPROVED", "decided_at": known.requested_at, "decided_by": known.requested_by},
            ),
        )
    )
    with pytest.raises(asyncpg.CheckViolationError):
        async with office.house.tx() as tx:
            await audit.change(tx, PLATFORM, action="WALLET_RECOVERY_APPROVE", resource="x", move=move)


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.MLRO, Role.COMPLIANCE)])
async def test_only_officers_ask_and_look(office: Office, role: Role) -> None:
    stranger = Caller(TENANT, role, "sub_x", subject_id="sub_x")
    with pytest.raises(WrongRole):
        await office.request(stranger)
    async with office.house.tx() as tx:
        with pytest.raises(WrongRole):
            await recovering.recoveries(tx, stranger, state=None, after="", limit=10)


async def test_another_tenants_officer_finds_nothing(office: Office) -> None:
    stranger = Caller("tnt_b", Role.MLRO, "sub_x", subject_id="sub_x")
    with pytest.raises(WrongTenant):
        await office.request(stranger)
    async with office.house.world.database.transaction("tnt_b") as tx:
        with pytest.raises(auth.UnknownSubject):
            await recovering.request(tx, stranger, subject_id=office.house.lender, reason=REASON)


async def test_without_a_wallet_there_is_nothing_to_recover(office: Office) -> None:
    with pytest.raises(tokenisation.UnknownWallet):
        await office.request()
    with pytest.raises(auth.UnknownSubject):
        await office.request(subject_id="sub_nobody")


async def test_a_wallet_that_the_chain_never_heard_of_is_not_recovered(office: Office) -> None:
    await office.house.ask("tokenisation.issue_claims", {"subject_id": office.house.lender})
    office.house.chain.stall()

    async def made() -> bool:
        return await office.wallets() == [(office.key(1), "CREATED")]

    await office.house.work_until(made)
    with pytest.raises(tokenisation.WalletNotOnChain):
        await office.request()


async def test_a_recovery_is_asked_for_once_at_a_time(office: Office) -> None:
    await office.house.registered_lender()
    known = await office.request()
    with pytest.raises(tokenisation.RecoveryUnderWay):
        await office.request()
    await office.decide(known, DECLINE)
    assert await office.state(known) == "DECLINED"
    assert await office.wallets() == [(office.key(1), "REGISTERED")]
    again = await office.request()
    await office.decide(again)
    with pytest.raises(tokenisation.RecoveryUnderWay):
        await office.request()


async def test_nobody_is_erased_while_its_wallet_is_being_recovered(office: Office) -> None:
    await office.house.registered_lender()
    await office.approved()
    async with office.house.tx() as tx:
        with pytest.raises(auth.ErasureBlocked, match="WALLET_RECOVERY"):
            await reactions.refuse_erasure(tx, SubjectErased(office.house.lender, "lender"))
