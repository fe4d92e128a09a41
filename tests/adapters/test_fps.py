"""Contract of ``FasterPayments``: the ClearBank client against the mock bank, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fintokenx.adapters.fps.wire import (
    Number,
    in_scheme_charset,
    number_from_pence,
    pence_from_number,
    read_json,
    write_json,
)
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.money import PENCE_MAX, Pence
from fintokenx.lifecycle.settlement.ports import BankAccount, PaymentState
from tests.adapters.bank_house import LENDER, OUR_KEY, PAYMENTS_TOKEN, SELLER, House, bank_house, instruction, sign

pytestmark = pytest.mark.anyio

OPENING_PENCE = 10_000_000


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with bank_house(tmp_path / "bank.jsonl") as running:
        await running.open_account(LENDER, OPENING_PENCE)
        await running.open_account(SELLER)
        yield running


async def assert_paid_once(house: House, end_to_end_id: str, amount_pence: int = 12_345) -> None:
    house.time_passes(1)
    seen = await house.instruction(end_to_end_id)
    assert seen is not None
    assert seen["effects"] == 1
    assert await house.balance_pence(LENDER) == OPENING_PENCE - amount_pence
    assert await house.balance_pence(SELLER) == amount_pence


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


async def test_another_payee_under_the_same_id_is_never_called_paid(house: House) -> None:
    bank = house.payments()
    await bank.submit(instruction())
    house.time_passes(1)
    with pytest.raises(Unavailable, match="another payee"):
        await bank.submit(instruction(creditor=replace(SELLER, account_number="33333333")))


async def test_an_amount_that_differs_is_never_called_settled(house: House) -> None:
    bank = house.payments()
    await bank.submit(instruction())
    house.time_passes(1)
    await house.mode("wrong_amount")
    with pytest.raises(Unavailable, match="another amount") as failure:
        await bank.submit(instruction())
    assert failure.value.outcome_unknown


async def test_a_status_that_no_documentation_names_is_pending(house: House) -> None:
    bank = house.payments()
    await bank.submit(instruction())
    house.time_passes(1)
    await house.mode("unknown_verdict")
    outcome = await bank.look_up(LENDER, "disb-0001")
    assert outcome is not None
    assert outcome.state is PaymentState.PENDING


async def test_a_lagging_read_model_never_leads_to_a_second_payment(house: House) -> None:
    bank = house.payments()
    await bank.submit(instruction())
    await house.mode("late_read_model")
    assert await bank.look_up(LENDER, "disb-0001") is None
    with pytest.raises(Unavailable) as failure:
        await bank.submit(instruction())
    assert failure.value.outcome_unknown
    await house.mode("up")
    await assert_paid_once(house, "disb-0001")


async def test_a_signature_by_another_key_moves_nothing(house: House) -> None:
    async def forge(body: bytes) -> bytes:
        return await sign(body + b" ")

    with pytest.raises(Unavailable) as failure:
        await house.payments(sign=forge).submit(instruction())
    assert failure.value.outcome_unknown is False
    assert await house.instruction("disb-0001") is None


async def test_a_vault_that_cannot_sign_sends_nothing(house: House) -> None:
    async def no_key(body: bytes) -> bytes:
        raise KeyError("clearbank/digital-signature")

    with pytest.raises(Unavailable) as failure:
        await house.payments(sign=no_key).submit(instruction())
    assert failure.value.outcome_unknown is False
    assert (await house.http.get("/control/log")).json()["deliveries"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_pence": 0},
        {"amount_pence": -1},
        {"end_to_end_id": ""},
        {"end_to_end_id": "x" * 36},
        {"end_to_end_id": "line\nbreak"},
        {"creditor": replace(SELLER, sort_code="04-04-04")},
        {"creditor": replace(SELLER, sort_code="0404042", account_number="2222222")},
        {"creditor": replace(SELLER, name="株式会社")},
    ],
)
async def test_an_instruction_that_makes_no_sense_is_not_sent(house: House, changes: dict[str, Any]) -> None:
    outcome = await house.payments().submit(instruction(**changes))
    assert (outcome.state, outcome.reason_code, outcome.retriable) == (
        PaymentState.REJECTED,
        "INVALID_INSTRUCTION",
        False,
    )
    assert (await house.http.get("/control/log")).json()["deliveries"] == []


async def test_an_account_beyond_the_first_page_is_found(house: House) -> None:
    for number in range(60):
        await house.open_account(BankAccount(f"Filler {number}", "050505", f"{number:08d}"))
    last = BankAccount("Filler 59", "050505", "00000059")
    assert await house.payments().look_up(last, "disb-0001") is None


async def test_an_account_that_the_bank_does_not_hold_is_not_an_unknown_payment(house: House) -> None:
    with pytest.raises(Unavailable, match="not held"):
        await house.payments().look_up(BankAccount("Nobody", "999999", "99999999"), "disb-0001")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 403),
        ({"X-Request-Id": ""}, 400),
        ({"DigitalSignature": "not base64!"}, 400),
        ({"DigitalSignature": ""}, 400),
    ],
)
async def test_the_mock_refuses_what_clearbank_refuses(house: House, headers: dict[str, str], status: int) -> None:
    whole = {"Authorization": f"Bearer {PAYMENTS_TOKEN}", "X-Request-Id": "r-1", "DigitalSignature": "AAAA"}
    whole |= {"Content-Type": "application/json"}
    response = await house.http.post("/v3/payments/fps", content=b"{}", headers=whole | headers)
    assert response.status_code == status


async def test_the_book_outlives_the_bank(tmp_path: Path) -> None:
    path = tmp_path / "bank.jsonl"
    async with bank_house(path) as before:
        await before.open_account(LENDER, OPENING_PENCE)
        await before.open_account(SELLER)
        await before.payments().submit(instruction())
        await assert_paid_once(before, "disb-0001")
        await before.payments().submit(instruction("disb-0002", 5))
    path.write_bytes(path.read_bytes() + b'{"event":"settled","payment_')
    async with bank_house(path) as after:
        after.time_passes(10)
        await assert_paid_once(after, "disb-0001", 12_350)
        repeated = await after.payments().submit(instruction("disb-0001"))
        assert repeated.state is PaymentState.SETTLED
        await assert_paid_once(after, "disb-0002", 12_350)
    assert all(json.loads(line) for line in path.read_text().splitlines())


async def test_a_killed_bank_forgets_no_payment(tmp_path: Path) -> None:
    """kill -9 right after the answer; the next process knows the payment and does not take it again."""
    path, key_path = tmp_path / "bank.jsonl", tmp_path / "key.pem"
    key_path.write_bytes(OUR_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    program = (
        "import sys, uvicorn; from pathlib import Path; from fintokenx.kernel.clock import SystemClock\n"
        "from tests.support.fakes.credentials import FixedCredential as Fixed\n"
        "from fintokenx.sandbox.providers.bank import create_app\n"
        "app = create_app(state_path=Path(sys.argv[1]), clock=SystemClock(), clearbank_token=Fixed('payments-token'),\n"
        "    clearbank_public_key_pem=Path(sys.argv[2]).read_bytes(), open_banking_token=Fixed('x'))\n"
        "uvicorn.run(app, host='127.0.0.1', port=int(sys.argv[3]), log_level='error')\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, path, key_path, str(port))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False) as http:
            async with asyncio.timeout(20):
                while not await _answers(http):
                    await asyncio.sleep(0.05)
            house = House(str(http.base_url), None, None, http)  # type: ignore[arg-type]
            await house.open_account(LENDER, OPENING_PENCE)
            await house.open_account(SELLER)
            bank = house.payments()
            await bank.submit(instruction())
            await bank.aclose()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    async with bank_house(path) as after:
        after.wall.set(after.wall.now().replace(year=2099))
        outcome = await after.payments().look_up(LENDER, "disb-0001")
        assert outcome is not None
        assert outcome.state is PaymentState.SETTLED
        await after.payments().submit(instruction())
        await assert_paid_once(after, "disb-0001")


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/control/instructions")).is_success
    except httpx.TransportError:
        return False


@given(st.integers(min_value=0, max_value=PENCE_MAX))
def test_pence_survive_the_way_through_json(pence: int) -> None:
    text = write_json({"amount": number_from_pence(Pence(pence))})
    assert pence_from_number(read_json(text.encode())["amount"]) == Pence(pence)


@given(st.integers(min_value=0, max_value=10**12), st.integers(min_value=0, max_value=99_999))
def test_only_whole_pence_are_read(pounds: int, hundred_thousandths: int) -> None:
    number = Number(f"{pounds}.{hundred_thousandths:05d}")
    if hundred_thousandths % 1000:
        with pytest.raises(ValueError, match="whole pence"):
            pence_from_number(number)
    else:
        assert pence_from_number(number) == Pence(pounds * 100 + hundred_thousandths // 1000)


@pytest.mark.parametrize("text", ["1e2", "-1.00", "1E+2", '"1.00"', "true", "null", "0.001", "1.0000001", "9" * 20])
def test_an_amount_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        pence_from_number(read_json(text.encode()))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JSON_VALUES)
def test_what_is_written_is_what_json_writes(value: Any) -> None:
    assert json.loads(write_json(value)) == value


@given(st.text())
def test_the_scheme_charset_is_kept(text: str) -> None:
    carried = in_scheme_charset(text, length_max=18)
    assert len(carried) <= 18
    assert all(character.isascii() and character.isprintable() for character in carried)
