"""Contract of ``Mailer``: the SMTP mailer against the local mailbox, over real SMTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from fintokenx.adapters.mail import SmtpMailer
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.errors import Unavailable
from fintokenx.observers.notification.ports import ContentRefused, Mail, RecipientRefused, Undeliverable, UnsafeMail
from fintokenx.sandbox.providers.mailbox import create_app
from tests.adapters.bank_house import NOON, serving
from tests.support.fakes.outbound import calm

pytestmark = pytest.mark.anyio

MAIL = Mail(
    message_id="<mail-0001@fintokenx.example>",
    from_address="post@fintokenx.example",
    from_name="FinToken X",
    to_address="seller@oak.example",
    subject="Your invoice is confirmed",
    text="Good morning.\n\nInvoice 42 is confirmed.\n.\nA line that begins with a full stop stays.\n",
)


@dataclass
class Box:
    """The mailbox that a test may look into."""

    http: httpx.AsyncClient
    port: int

    async def messages(self, to: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get("/messages", params={"to": to})).json()["messages"]
        return found

    async def mode(self, mode: str, times: int | None = None) -> None:
        assert (await self.http.post("/control/mode", json={"mode": mode, "times": times})).is_success

    def mailer(self, timeout_seconds: float = 5.0, **changes: Any) -> SmtpMailer:
        wanted: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "clock": FixedClock(NOON), "security": "none"}
        wanted["guard"] = calm("mail")
        return SmtpMailer(**(wanted | {"timeout_seconds": timeout_seconds} | changes))


@pytest.fixture
async def box() -> AsyncIterator[Box]:
    app = create_app(clock=FixedClock(NOON), smtp_port=0)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as http:
        yield Box(http, (await http.get("/smtp")).json()["port"])


async def test_a_message_arrives_as_it_was_written(box: Box) -> None:
    reference = await box.mailer().send(MAIL)
    [kept] = await box.messages()
    assert kept["message_id"] == MAIL.message_id
    assert kept["from"] == "FinToken X <post@fintokenx.example>"
    assert kept["to"] == [MAIL.to_address]
    assert kept["subject"] == MAIL.subject
    assert kept["text"].replace("\r\n", "\n") == MAIL.text
    assert "kept as 1" in reference


async def test_names_subjects_and_texts_in_any_script_arrive(box: Box) -> None:
    mail = replace(
        MAIL, from_name="Zoë at FinToken X", subject="£1,234.50 – paid ✓" * 5, text="Grüße, 42 €\n" + "long " * 400
    )
    await box.mailer().send(mail)
    [kept] = await box.messages()
    assert kept["from"] == "Zoë at FinToken X <post@fintokenx.example>"
    assert kept["subject"] == mail.subject
    assert kept["text"].replace("\r\n", "\n").rstrip("\n") == mail.text


async def test_the_list_can_be_asked_for_one_recipient(box: Box) -> None:
    await box.mailer().send(MAIL)
    await box.mailer().send(
        replace(MAIL, message_id="<mail-0002@fintokenx.example>", to_address="lender@harbour.example")
    )
    assert [kept["number"] for kept in await box.messages("LENDER@harbour.example")] == [2]
    assert len(await box.messages()) == 2
    await box.http.delete("/messages")
    assert await box.messages() == []


async def test_a_repeat_carries_the_same_message_id(box: Box) -> None:
    for _ in range(2):
        await box.mailer().send(MAIL)
    [kept] = await box.messages()
    assert kept["deliveries"] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Hello\r\nBcc: everybody@elsewhere.example"},
        {"subject": "Hello\nBcc: everybody@elsewhere.example"},
        {"subject": "Hello\u2028there"},
        {"from_name": "FinToken X\r\nBcc: everybody@elsewhere.example"},
        {"to_address": "seller@oak.example\r\nBcc: everybody@elsewhere.example"},
        {"to_address": "seller@oak.example, everybody@elsewhere.example"},
        {"to_address": "seller@oak.example> RCPT TO:<everybody@elsewhere.example"},
        {"to_address": "seller"},
        {"to_address": ""},
        {"from_address": "post@fintokenx.example\x00"},
        {"message_id": "<a@b>\r\nX: y"},
        {"message_id": "no-at-sign"},
    ],
)
async def test_a_header_that_smuggles_is_refused(box: Box, changes: dict[str, str]) -> None:
    with pytest.raises(UnsafeMail):
        await box.mailer().send(replace(MAIL, **changes))
    assert await box.messages() == []


@pytest.mark.parametrize(
    ("mode", "outcome_unknown", "kept"),
    [
        ("smtp_down", False, 0),
        ("smtp_defer", False, 0),
        ("smtp_lost_response", True, 1),
    ],
)
async def test_a_failing_relay_is_told_apart_and_a_retry_is_one_message(
    box: Box, mode: str, outcome_unknown: bool, kept: int
) -> None:
    await box.mode(mode, times=1)
    with pytest.raises(Unavailable) as failure:
        await box.mailer().send(MAIL)
    assert failure.value.outcome_unknown is outcome_unknown
    assert MAIL.to_address not in failure.value.detail
    assert len(await box.messages()) == kept
    await box.mailer().send(MAIL)
    assert len(await box.messages()) == 1


@pytest.mark.parametrize(("mode", "refusal"), [("smtp_refuse", RecipientRefused), ("smtp_reject_data", ContentRefused)])
async def test_a_refusal_for_good_is_told_apart_from_one_for_now(
    box: Box, mode: str, refusal: type[Undeliverable]
) -> None:
    """A12."""
    await box.mode(mode, times=1)
    with pytest.raises(refusal) as failure:
        await box.mailer().send(MAIL)
    assert MAIL.to_address not in str(failure.value)
    assert await box.messages() == []


@pytest.mark.parametrize(
    ("answer", "for_good"),
    [(421, False), (450, False), (452, False), (500, False), (503, False), (530, False), (535, False), (550, True),
     (552, True), (554, True), (559, True)],
)  # fmt: skip
async def test_only_what_is_said_of_the_recipient_or_the_message_is_for_good(answer: int, for_good: bool) -> None:
    """A relay that dislikes our commands or our credentials has said nothing of the recipient: mail waits for us."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        while line := await reader.readline():
            writer.write(f"{answer} no\r\n".encode() if line.startswith(b"RCPT") else b"250 yes\r\n")
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        mailer = Box(httpx.AsyncClient(verify=False), server.sockets[0].getsockname()[1]).mailer()
        with pytest.raises(RecipientRefused if for_good else Unavailable):
            await mailer.send(MAIL)


async def test_a_relay_that_falls_silent_is_given_up(box: Box) -> None:
    await box.mode("smtp_silent")
    with pytest.raises(Unavailable) as failure:
        await box.mailer(timeout_seconds=0.3).send(MAIL)
    assert failure.value.outcome_unknown


async def test_a_relay_that_is_not_there_has_taken_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable) as failure:
            await Box(httpx.AsyncClient(verify=False), unused.getsockname()[1]).mailer().send(MAIL)
    assert failure.value.outcome_unknown is False


async def test_a_relay_without_encryption_gets_nothing_when_encryption_is_wanted(box: Box) -> None:
    with pytest.raises(Unavailable) as failure:
        await box.mailer(security="starttls").send(MAIL)
    assert failure.value.outcome_unknown is False
    assert await box.messages() == []
