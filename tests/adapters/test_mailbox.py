"""The mailbox refuses what a relay refuses, over real SMTP (A5; RFC 5321, 5322, 6152, 6531)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from fintokenx.kernel.clock import FixedClock
from fintokenx.sandbox.providers.mailbox import create_app
from tests.adapters.bank_house import NOON, serving

pytestmark = pytest.mark.anyio

FIELDS = {
    "From": "FinToken X <post@fintokenx.example>",
    "To": "seller@oak.example",
    "Subject": "Hello",
    "Date": "Mon, 02 Mar 2026 12:00:00 +0000",
    "Message-ID": "<one@fintokenx.example>",
}
HELLO = (b"EHLO client.example",)
ENVELOPE = (*HELLO, b"MAIL FROM:<post@fintokenx.example>", b"RCPT TO:<seller@oak.example>", b"DATA")


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(clock=FixedClock(NOON), smtp_port=0)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield http


async def say(box: httpx.AsyncClient, *lines: bytes) -> list[bytes]:
    """The last line of the answer to the greeting and to each of ours, byte for byte as it stands here."""
    port = (await box.get("/smtp")).json()["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    try:
        for line in (None, *lines):
            if line is not None:
                writer.write(line + b"\r\n")
                await writer.drain()
            while (answer := (await asyncio.wait_for(reader.readline(), 10)).rstrip())[3:4] == b"-":
                pass
            answers.append(answer)
    finally:
        writer.close()
    return answers


def message(body: bytes = b"Good morning.", extra: bytes = b"", **changed: str | None) -> bytes:
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    head = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items() if value is not None)
    return head + extra + b"\r\n" + body + b"\r\n."


async def kept(box: httpx.AsyncClient) -> int:
    return len((await box.get("/messages")).json()["messages"])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (message(Message_ID=None), b"550 5.6.0"),
        (message(Message_ID="one"), b"550 5.6.0"),
        (message(Message_ID="<one two@x>"), b"550 5.6.0"),
        (message(extra=b"Message-ID: <two@fintokenx.example>\r\n"), b"550 5.6.0"),
        (message(From=None), b"550 5.6.0"),
        (message(From="nobody"), b"550 5.6.0"),
        (message(extra=b"From: other@fintokenx.example\r\n"), b"550 5.6.0"),
        (message(Date=None), b"550 5.6.0"),
        (message(Date="2026-03-02"), b"550 5.6.0"),
        (message(extra=b"Subject: again\r\n"), b"550 5.6.0"),
        (message(extra=b"no field\r\n"), b"550 5.6.0"),
        (message(Subject="Zo\u00eb"), b"550 5.6.7"),
        (message("Grüße".encode()), b"550 5.6.3"),
        (message(b"bare\nline"), b"550 5.5.2"),
        (message(b"bare\rline"), b"550 5.5.2"),
        (message(b"smuggled\n.\r\nMAIL FROM:<a@b.example>"), b"550 5.5.2"),
        (message(b"a\0b"), b"550 5.6.0"),
        (message(b"x" * 1001), b"500"),
        (b".", b"550 5.6.0"),
    ],
)
async def test_a_message_that_is_none_is_refused_and_not_kept(
    box: httpx.AsyncClient, content: bytes, code: bytes
) -> None:
    answers = await say(box, *ENVELOPE, content)
    assert answers[-1].startswith(code), answers[-1]
    assert await kept(box) == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((b"MAIL FROM:<post@fintokenx.example>",), b"503"),
        ((*HELLO, b"RCPT TO:<seller@oak.example>"), b"503"),
        ((*HELLO, b"DATA"), b"503"),
        ((*HELLO, b"MAIL FROM:<post>"), b"553"),
        ((*HELLO, b"MAIL FROM:<a..b@x.example>"), b"553"),
        ((*HELLO, b"MAIL FROM:<post@x.example> SMTPUTF8"), b"501"),
        ((*HELLO, b"MAIL FROM:<post@x.example> SIZE=99999999999"), b"552"),
        ((*HELLO, b"MAIL FROM:<>"), b"250"),
        ((*HELLO, b"MAIL FROM:<p@x.example>", b"RCPT TO:<" + b"a" * 65 + b"@x.example>"), b"553 5.1.3"),
        ((*HELLO, b"MAIL FROM:<p@x.example>", b"RCPT TO:<a@" + b"x" * 64 + b".example>"), b"553 5.1.3"),
        ((*HELLO, b"MAIL FROM:<p@x.example>", b"RCPT TO:<a@-x.example>"), b"553 5.1.3"),
        ((*HELLO, b"MAIL FROM:<p@x.example>", b"RCPT TO:<a,b@x.example>"), b"501"),
        ((*HELLO, b"NONSENSE"), b"500"),
    ],
)
async def test_an_envelope_that_is_none_is_refused(
    box: httpx.AsyncClient, lines: tuple[bytes, ...], code: bytes
) -> None:
    answers = await say(box, *lines)
    assert answers[-1].startswith(code), answers[-1]


async def test_the_hundred_and_first_recipient_has_to_wait(box: httpx.AsyncClient) -> None:
    recipients = [f"RCPT TO:<r{number}@x.example>".encode() for number in range(101)]
    answers = await say(box, *HELLO, b"MAIL FROM:<p@x.example>", *recipients)
    assert (answers[-2][:3], answers[-1][:3]) == (b"250", b"452")


async def test_eight_bit_content_that_was_announced_is_kept_and_smtputf8_is_not_offered(box: httpx.AsyncClient) -> None:
    announced = ENVELOPE[1] + b" BODY=8BITMIME"
    answers = await say(box, ENVELOPE[0], announced, *ENVELOPE[2:], message("Grüße".encode()))
    assert answers[-1].startswith(b"250")
    assert await kept(box) == 1
    await box.delete("/messages")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/messages?from=x", 422), ("POST", "/messages", 405), ("GET", "/messages/99", 404), ("GET", "/x", 404)],
)
async def test_the_http_side_refuses_what_it_does_not_have(
    box: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    assert (await box.request(method, path)).status_code == status
