"""Clients whose circuit opens: nothing is sent, and no payment's unknown outcome becomes a known one (P-15)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx.adapters.mail import SmtpMailer
from fintokenx.adapters.outbound import CallGuard, CircuitBreaker, CircuitOpen, CircuitState
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.errors import Unavailable
from fintokenx.lifecycle.settlement.ports import PaymentState
from fintokenx.observers.notification.ports import Mail, RecipientRefused
from fintokenx.sandbox.providers.mailbox import create_app
from tests.adapters.bank_house import LENDER, NOON, PAYMENTS_TOKEN, SELLER, House, bank_house, instruction, serving

pytestmark = pytest.mark.anyio


class Machine:
    """Seconds that pass when told to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def circuit(machine: Machine) -> CircuitBreaker:
    """Opens at the second failure in a row."""
    return CircuitBreaker("bank", clock=FixedClock(NOON), machine_seconds=machine, failures_max=2, rest_seconds=5.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with bank_house(tmp_path / "bank.jsonl") as running:
        await running.open_account(LENDER, 10_000_000)
        await running.open_account(SELLER)
        yield running


def guarded(circuit: CircuitBreaker) -> CallGuard:
    return CallGuard(circuit, lambda: 0.0)


def opened(circuit: CircuitBreaker) -> None:
    """By calls of others."""
    while circuit.state is CircuitState.CLOSED:
        with circuit.attempt() as attempt:
            attempt.failed()


class OpensBefore:
    """A token at whose ``request``-th use the circuit opens, as it does when calls of others fail meanwhile."""

    def __init__(self, request: int, open_it: Callable[[], None]) -> None:
        self._left = request
        self._open_it = open_it

    async def value(self) -> str:
        self._left -= 1
        if self._left == 0:
            self._open_it()
        return PAYMENTS_TOKEN

    async def accepted(self) -> tuple[str, ...]:
        return (PAYMENTS_TOKEN,)


async def deliveries(house: House) -> list[str]:
    found = (await house.http.get("/control/log")).json()["deliveries"]
    return [f"{one['method']} {one['path'].split('?')[0]}" for one in found]


async def test_a_payment_to_a_bank_that_is_left_alone_is_known_not_to_be_sent(
    house: House, circuit: CircuitBreaker, machine: Machine
) -> None:
    opened(circuit)
    bank = house.payments(guard=guarded(circuit))
    with pytest.raises(CircuitOpen) as refused:
        await bank.submit(instruction())
    assert (refused.value.outcome_unknown, refused.value.system) == (False, "clearbank")
    assert await deliveries(house) == []
    machine.seconds = 5.0
    assert (await bank.submit(instruction())).state is PaymentState.PENDING
    assert circuit.state is CircuitState.CLOSED


async def test_a_look_up_at_a_bank_that_is_left_alone_says_nothing_of_the_payment(
    house: House, circuit: CircuitBreaker
) -> None:
    """It was sent before: that this question was not even asked does not make it known."""
    bank = house.payments(guard=guarded(circuit))
    await bank.submit(instruction())
    opened(circuit)
    with pytest.raises(Unavailable) as refused:
        await bank.look_up(LENDER, "disb-0001")
    assert refused.value.outcome_unknown


@pytest.mark.parametrize("said", ["received before", "refused"])
async def test_a_circuit_that_opens_between_the_banks_word_and_the_look_up_leaves_the_payment_unknown(
    house: House, circuit: CircuitBreaker, said: str
) -> None:
    """A repeat is answered with 409 or a refusal, and only the look-up tells whether the first one was made."""
    amount_pence = 12_345
    if said == "received before":
        await house.payments().submit(instruction())
    else:
        amount_pence = 99_000_000_00
    before = await deliveries(house)
    token = OpensBefore(2, lambda: opened(circuit))
    bank = house.payments(guard=guarded(circuit), token=token)
    with pytest.raises(Unavailable) as lost:
        await bank.submit(instruction(amount_pence=amount_pence))
    assert lost.value.outcome_unknown
    assert (await deliveries(house))[len(before) :] == ["POST /v3/payments/fps"]


async def test_answers_that_make_no_sense_open_the_circuit_and_a_refused_payment_does_not(
    house: House, circuit: CircuitBreaker
) -> None:
    bank = house.payments(guard=guarded(circuit))
    for number in range(4):
        outcome = await bank.submit(instruction(f"disb-{number}", amount_pence=99_000_000_00))
        assert outcome.state is PaymentState.REJECTED
    await house.mode("unauthorised", times=4)
    for _ in range(4):
        with pytest.raises(Unavailable):
            await bank.submit(instruction())
    assert circuit.state is CircuitState.CLOSED
    assert circuit.health().consecutive_failures == 4
    await house.mode("malformed")
    for number in range(2):
        with pytest.raises(Unavailable) as lost:
            await bank.submit(instruction(f"disb-taken-{number}"))
        assert lost.value.outcome_unknown
    assert circuit.state is CircuitState.OPEN


async def test_a_statement_of_a_bank_that_is_left_alone_is_no_empty_list(house: House, circuit: CircuitBreaker) -> None:
    opened(circuit)
    bank = house.information(guard=guarded(circuit))
    with pytest.raises(Unavailable):
        await bank.credits(LENDER, NOON)
    assert await deliveries(house) == []


# ── Mail

MAIL = Mail("<1@fintokenx.example>", "invoices@fintokenx.example", "FinToken X", "ada@acme.example", "Hello", "Words.")


@pytest.fixture
async def mailbox(circuit: CircuitBreaker) -> AsyncIterator[tuple[SmtpMailer, httpx.AsyncClient]]:
    app = create_app(clock=FixedClock(NOON), smtp_port=0)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        port = (await http.get("/smtp")).json()["port"]
        guard = guarded(circuit)
        yield SmtpMailer(host="127.0.0.1", port=port, clock=FixedClock(NOON), guard=guard, security="none"), http


async def switch(mailbox: httpx.AsyncClient, mode: str, **setting: Any) -> None:
    (await mailbox.post("/control/mode", json={"mode": mode, **setting})).raise_for_status()


@pytest.mark.parametrize("mode", ["smtp_refuse", "smtp_defer"])
async def test_what_a_relay_says_of_one_recipient_stops_no_other_mail(
    mailbox: tuple[SmtpMailer, httpx.AsyncClient], circuit: CircuitBreaker, mode: str
) -> None:
    mailer, http = mailbox
    await switch(http, mode)
    for _ in range(4):
        with pytest.raises((RecipientRefused, Unavailable)):
            await mailer.send(MAIL)
    assert circuit.state is CircuitState.CLOSED
    await switch(http, "up")
    assert await mailer.send(MAIL)


async def test_a_relay_that_hangs_up_is_left_alone_and_tried_again(
    mailbox: tuple[SmtpMailer, httpx.AsyncClient], circuit: CircuitBreaker, machine: Machine
) -> None:
    mailer, http = mailbox
    await switch(http, "smtp_down")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await mailer.send(MAIL)
    await switch(http, "up")
    with pytest.raises(CircuitOpen) as refused:
        await mailer.send(MAIL)
    assert refused.value.outcome_unknown is False
    machine.seconds = 5.0
    assert await mailer.send(MAIL)
    assert circuit.health().consecutive_failures == 0
