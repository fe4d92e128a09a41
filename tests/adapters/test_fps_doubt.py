"""What the bank says of a payment that is odd is never called paid; the mock as strict as the bank; amounts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
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
from tests.adapters.fps_house import OPENING_PENCE, assert_paid_once, house

pytestmark = pytest.mark.anyio
__all__ = ["house"]


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
