"""Contract of ``FasterPayments``: the ClearBank client against the mock bank, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest

from fintokenx.kernel.errors import Unavailable
from fintokenx.lifecycle.settlement.ports import BankAccount, PaymentState
from tests.adapters.bank_house import LENDER, SELLER, House, instruction
from tests.adapters.fps_house import OPENING_PENCE, assert_paid_once, house

pytestmark = pytest.mark.anyio
__all__ = ["house"]


async def test_a_payment_is_pending_until_it_settles(house: House) -> None:
    bank = house.payments()
    assert (await bank.submit(instruction())).state is PaymentState.PENDING
    underway = await bank.look_up(LENDER, "disb-0001")
    assert underway is not None
    assert underway.state is PaymentState.PENDING
    assert await house.balance_pence(SELLER) == 0

    house.time_passes(1)
    settled = await bank.look_up(LENDER, "disb-0001")
    assert settled is not None
    assert settled.state is PaymentState.SETTLED
    assert settled.bank_ref
    assert settled.bank_ref == underway.bank_ref
    await assert_paid_once(house, "disb-0001")


async def test_the_bank_is_asked_for_the_exact_pence_payee_and_reference(house: House) -> None:
    payee = replace(SELLER, name="Müller’s Œuvre Ltd")
    await house.payments().submit(
        instruction(amount_pence=1_000_010, creditor=payee, reference="INV–42/2026 façade and more")
    )
    seen = await house.instruction("disb-0001")
    assert seen is not None
    assert seen["amount_pence"] == 1_000_010
    assert seen["creditor"] == SELLER.sort_code + SELLER.account_number
    assert seen["creditor_name"] == "Muller's uvre Ltd"
    assert seen["reference"] == "INV-42/2026 facade"


async def test_the_same_instruction_twice_is_one_payment(house: House) -> None:
    """P-15: two deliveries, one effect; the second is answered 409 because the request id is the same."""
    await house.payments().submit(instruction())
    second = await house.payments().submit(instruction())
    assert second.state is PaymentState.PENDING
    assert second.bank_ref
    seen = await house.instruction("disb-0001")
    assert seen is not None
    assert seen["deliveries"] == 2
    log = (await house.http.get("/control/log")).json()
    assert [d["status"] for d in log["deliveries"] if d["method"] == "POST"] == [202, 409]
    await assert_paid_once(house, "disb-0001")


async def test_parallel_submits_are_one_payment(house: House) -> None:
    banks = [house.payments() for _ in range(8)]
    outcomes = await asyncio.gather(*(bank.submit(instruction()) for bank in banks))
    assert {outcome.state for outcome in outcomes} == {PaymentState.PENDING}
    seen = await house.instruction("disb-0001")
    assert seen is not None
    assert seen["deliveries"] == 8
    await assert_paid_once(house, "disb-0001")


@pytest.mark.parametrize(
    ("mode", "setting", "outcome_unknown", "was_taken"),
    [
        ("down", {}, True, False),
        ("timeout", {}, True, False),
        ("slow", {"seconds": 3}, True, True),
        ("5xx", {}, True, False),
        ("malformed", {}, True, True),
        ("html", {}, True, False),
        ("wrong_shape", {}, True, True),
        ("lost_response", {}, True, True),
        ("rate_limited", {}, False, False),
        ("rate_limited_bare", {}, False, False),
        ("unauthorised", {}, False, False),
    ],
)
async def test_a_failing_bank_is_paid_through_once_when_it_recovers(
    house: House, mode: str, setting: dict[str, Any], outcome_unknown: bool, was_taken: bool
) -> None:
    """IX-08: however the first try failed, look-up tells the truth and a retry never pays twice."""
    await house.mode(mode, times=1, only="POST /v3/payments", **setting)
    bank = house.payments(timeout_seconds=0.4)
    with pytest.raises(Unavailable) as failure:
        await bank.submit(instruction())
    assert failure.value.outcome_unknown is outcome_unknown

    steady = house.payments()
    assert (await steady.look_up(LENDER, "disb-0001") is not None) is was_taken
    assert (await steady.submit(instruction())).state is PaymentState.PENDING
    await assert_paid_once(house, "disb-0001")


async def test_a_storm_of_lost_answers_and_retries_pays_once(house: House) -> None:
    await house.mode("lost_response", times=3)
    banks = [house.payments(timeout_seconds=2) for _ in range(6)]
    results = await asyncio.gather(*(bank.submit(instruction()) for bank in banks), return_exceptions=True)
    lost = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, Unavailable) and error.outcome_unknown for error in lost)
    assert len(lost) == 3
    await assert_paid_once(house, "disb-0001")


async def test_a_refused_connection_is_known_to_have_paid_nothing(house: House) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bank = house.payments(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(Unavailable) as failure:
            await bank.submit(instruction())
    assert failure.value.outcome_unknown is False


@pytest.mark.parametrize(
    "mode", ["down", "timeout", "5xx", "malformed", "html", "wrong_shape", "rate_limited", "unauthorised"]
)
async def test_a_failed_look_up_is_not_an_unknown_payment(house: House, mode: str) -> None:
    bank = house.payments(timeout_seconds=0.4)
    assert await bank.look_up(LENDER, "disb-0001") is None
    await house.mode(mode, times=1)
    with pytest.raises(Unavailable) as failure:
        await bank.look_up(LENDER, "disb-0001")
    assert failure.value.outcome_unknown


@pytest.mark.parametrize(
    ("account_number", "amount_pence", "code", "retriable"),
    [
        ("00000007", 5_000, "AC07", False),
        ("00000003", 5_000, "MS03", True),
        (SELLER.account_number, 131_307, "AC07", False),
        (SELLER.account_number, 131_303, "MS03", True),
        ("98765432", 5_000, "AC03", False),
    ],
)
async def test_a_rejected_payment_carries_its_code_and_costs_nothing(
    house: House, account_number: str, amount_pence: int, code: str, retriable: bool
) -> None:
    bank = house.payments()
    await bank.submit(instruction(amount_pence=amount_pence, creditor=replace(SELLER, account_number=account_number)))
    house.time_passes(1)
    outcome = await bank.look_up(LENDER, "disb-0001")
    assert outcome is not None
    assert (outcome.state, outcome.reason_code, outcome.retriable) == (PaymentState.REJECTED, code, retriable)
    assert await house.balance_pence(LENDER) == OPENING_PENCE


@pytest.mark.parametrize(
    ("code", "retriable"),
    [("BE08", True), ("AG01", False), ("AC06", False), ("CB_AccountSwitched", False), ("ZZ99", False)],
)
async def test_only_the_codes_that_the_bank_calls_retriable_are(house: House, code: str, retriable: bool) -> None:
    await house.control("fates", {"fate": code})
    bank = house.payments()
    await bank.submit(instruction())
    house.time_passes(1)
    outcome = await bank.look_up(LENDER, "disb-0001")
    assert outcome is not None
    assert (outcome.state, outcome.reason_code, outcome.retriable) == (PaymentState.REJECTED, code, retriable)


async def test_a_rejected_instruction_stays_rejected_and_a_new_one_may_follow(house: House) -> None:
    """SE-09 with ClearBank's duplicate check: a further try carries a new end-to-end id."""
    await house.control("fates", {"fate": "MS03"})
    bank = house.payments()
    await bank.submit(instruction("disb-0001"))
    house.time_passes(1)
    assert (await bank.submit(instruction("disb-0001"))).state is PaymentState.REJECTED
    assert (await bank.submit(instruction("disb-0001-2"))).state is PaymentState.PENDING
    await assert_paid_once(house, "disb-0001-2")


async def test_a_held_payment_stays_pending_and_its_money_reserved(house: House) -> None:
    bank = house.payments()
    await bank.submit(instruction(amount_pence=131_309))
    house.time_passes(86_400 * 30)
    outcome = await bank.look_up(LENDER, "disb-0001")
    assert outcome is not None
    assert outcome.state is PaymentState.PENDING
    rest = await bank.submit(instruction("disb-0002", OPENING_PENCE))
    assert rest.reason_code == "InsufficientFunds"


async def test_a_payment_that_comes_back_is_returned(house: House) -> None:
    bank = house.payments()
    await bank.submit(instruction())
    await assert_paid_once(house, "disb-0001")
    await house.control("returns", {"end_to_end_id": "disb-0001", "code": "AC04"})
    outcome = await bank.look_up(LENDER, "disb-0001")
    assert outcome is not None
    assert (outcome.state, outcome.reason_code) == (PaymentState.RETURNED, "AC04")
    assert await house.balance_pence(LENDER) == OPENING_PENCE
    assert await house.balance_pence(SELLER) == 0


@pytest.mark.parametrize(
    ("changes", "word", "retriable"),
    [
        ({"amount_pence": OPENING_PENCE + 1}, "InsufficientFunds", True),
        ({"amount_pence": 100_000_001}, "Rejected", False),
        ({"creditor": LENDER}, "InvalidAccount", False),
        ({"debtor": BankAccount("Nobody", "999999", "99999999")}, "InvalidAccount", False),
    ],
)
async def test_a_refusal_at_the_door_is_a_rejection(
    house: House, changes: dict[str, Any], word: str, retriable: bool
) -> None:
    outcome = await house.payments().submit(instruction(**changes))
    assert (outcome.state, outcome.reason_code, outcome.retriable) == (PaymentState.REJECTED, word, retriable)


async def test_a_refused_duplicate_of_a_paid_instruction_is_not_called_unpaid(house: House) -> None:
    """A day later the request id is forgotten and the bank refuses the duplicate: that is not a rejection."""
    bank = house.payments()
    await bank.submit(instruction())
    house.time_passes(25 * 3600)
    with pytest.raises(Unavailable, match="another amount"):
        await bank.submit(instruction(amount_pence=12_346))
    assert (await bank.submit(instruction())).state is not PaymentState.REJECTED
    await assert_paid_once(house, "disb-0001")
