"""A local mailbox: an SMTP server that keeps every message, and a small HTTP API that shows them.

``GET /messages?to=…`` lists newest last, ``GET /messages/{number}`` shows one, ``DELETE /messages`` empties the box.
A message that arrives again under the same Message-ID is counted, not shown twice, as a careful receiver would.

Modes of the SMTP side are switched at ``/control/mode`` as for every mock; their count is in deliveries:

- ``smtp_down``: hangs up (421) on the first command
- ``smtp_silent``: says nothing more once it has the message
- ``smtp_defer``: 451 to every recipient; ``smtp_refuse``: 550
- ``smtp_reject_data``: takes the envelope, then 554 to the content
- ``smtp_lost_response``: keeps the message, then drops the connection without a word

Refused as a relay refuses it; SIZE and 8BITMIME are offered, SMTPUTF8 is not:

- a line of more than 998 octets and CRLF: 500; more than 32 MiB: 552; a command out of turn: 503 (RFC 5321, 4.5.3.1 and
  4.1.4, by aiosmtpd)
- an envelope address that is no plain mailbox, whose local part has over 64 octets or that has over 254: 501 or 553;
  one beyond ASCII: 553 (RFC 5321, 4.1.2 and 4.5.3.1; RFC 6531). Quoted local parts and address literals are legal there
  and refused here, as big relays do
- the 101st recipient: 452 (RFC 5321, 4.5.3.1.8)
- a CR or LF by itself: 550 (RFC 5321, 2.3.8; what SMTP smuggling is made of), NUL: 550
- octets beyond ASCII in the header, or in a body that was not announced as 8BITMIME: 550 (RFC 6152, RFC 6531)
- a header without ``From``, ``Date`` or ``Message-ID``, or with any single field twice; a ``Message-ID``, ``From`` or
  ``Date`` that is none: 550 (RFC 5322, 3.6, which only recommends the ``Message-ID``: Gmail demands it)

The HTTP side: a parameter it does not have is 422 with its name, a message that there is not 404.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aiosmtpd import smtp as aiosmtpd
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fintokenx.kernel.clock import Clock, to_wire
from fintokenx.sandbox.providers import mailbox_rules
from fintokenx.sandbox.providers.mock import Mock, MockParts
from fintokenx.sandbox.providers.modes import Modes

KEPT_MAX: Final = 10_000

OWN_MODES: Final = {
    "smtp_down": "421 to the first command",
    "smtp_silent": "no answer once the message has been read, nothing is kept",
    "smtp_defer": "451 to every recipient",
    "smtp_refuse": "550 to every recipient",
    "smtp_reject_data": "554 to the content",
    "smtp_lost_response": "the message is kept, then the connection drops",
}


@dataclass(slots=True)
class Kept:
    """One message. ``deliveries`` counts arrivals under its Message-ID."""

    number: int
    message_id: str
    from_header: str
    recipients: list[str]
    subject: str
    text: str
    received_at: str
    deliveries: int = 1

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "message_id": self.message_id,
            "from": self.from_header,
            "to": self.recipients,
            "subject": self.subject,
            "text": self.text,
            "received_at": self.received_at,
            "deliveries": self.deliveries,
        }


class Box:
    """The kept messages by Message-ID, oldest first. With ``path`` they outlive the process: a line of JSON each, the
    newest of a Message-ID counts, and a last line that was cut off by a crash is none."""

    def __init__(self, path: Path | None) -> None:
        self.messages: dict[str, Kept] = {}
        self.arrived = 0
        self._path = path
        for line in path.read_text().splitlines() if path is not None and path.exists() else ():
            with suppress(ValueError, TypeError):
                self._remember(Kept(**json.loads(line)))
        self._rewrite()

    def keep(self, message: Kept) -> None:
        """Keep a message, or that one arrived again; it is in the file when this returns."""
        self._remember(message)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(message)) + "\n")

    def clear(self) -> None:
        """Forget all."""
        self.messages.clear()
        self._rewrite()

    def _remember(self, message: Kept) -> None:
        self.messages[message.message_id] = message
        self.arrived = max(self.arrived, message.number)
        while len(self.messages) > KEPT_MAX:
            self.messages.pop(next(iter(self.messages)))

    def _rewrite(self) -> None:
        if self._path is not None:
            fresh = self._path.with_suffix(".new")
            fresh.write_text("".join(json.dumps(asdict(message)) + "\n" for message in self.messages.values()))
            fresh.replace(self._path)


class _Sink:
    """aiosmtpd's handler; its method names are aiosmtpd's."""

    def __init__(self, modes: Modes, clock: Clock, box: Box) -> None:
        self._box = box
        self._modes = modes
        self._clock = clock

    async def handle_EHLO(  # noqa: N802
        self,
        _server: aiosmtpd.SMTP,
        session: aiosmtpd.Session,
        _envelope: aiosmtpd.Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        if self._modes.take("smtp_down"):
            return ["421 4.3.2 Service not available"]
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self,
        _server: aiosmtpd.SMTP,
        _session: aiosmtpd.Session,
        envelope: aiosmtpd.Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if address not in ("", "<>") and (refusal := mailbox_rules.refusal_of_address(address)) is not None:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self,
        _server: aiosmtpd.SMTP,
        _session: aiosmtpd.Session,
        envelope: aiosmtpd.Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if self._modes.take("smtp_defer"):
            return "451 4.3.0 Try again later"
        if self._modes.take("smtp_refuse"):
            return "550 5.1.1 No such mailbox"
        if (refusal := mailbox_rules.refusal_of_address(address)) is not None:
            return refusal
        if len(envelope.rcpt_tos) >= mailbox_rules.RECIPIENTS_MAX:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: aiosmtpd.SMTP, _session: aiosmtpd.Session, envelope: aiosmtpd.Envelope
    ) -> str:
        if self._modes.take("smtp_reject_data"):
            return "554 5.6.0 Content rejected"
        if self._modes.is_on("smtp_silent"):
            await self._modes.until_off("smtp_silent")
            return "451 4.3.0 Try again later"
        content = envelope.original_content or b""
        is_8bit = any(option.upper() == "BODY=8BITMIME" for option in envelope.mail_options)
        if (refusal := mailbox_rules.refusal_of_content(content, is_8bit=is_8bit)) is not None:
            return refusal
        message = self._keep(envelope, content)
        if self._modes.take("smtp_lost_response") and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return f"250 2.0.0 OK: kept as {message.number}"

    def _keep(self, envelope: aiosmtpd.Envelope, content: bytes) -> Kept:
        message = mailbox_rules.read(content)
        body = message.get_body(("plain", "html"))
        message_id = str(message["Message-ID"]).strip()
        again = self._box.messages.get(message_id)
        if again is not None:
            again.deliveries += 1
            self._box.keep(again)
            return again
        kept = Kept(
            self._box.arrived + 1,
            message_id,
            str(message.get("From", "")),
            list(envelope.rcpt_tos),
            str(message.get("Subject", "")),
            body.get_content() if body is not None else "",
            to_wire(self._clock.now()),
        )
        self._box.keep(kept)
        self._modes.effect(message_id, "message kept")
        return kept


def create_app(
    *, clock: Clock, smtp_port: int, smtp_host: str = "127.0.0.1", state_path: Path | None = None
) -> Starlette:
    """The mailbox as an ASGI application; its lifespan runs the SMTP server. With ``state_path`` the mail is there
    again after a restart.

    With ``smtp_port`` 0 the system chooses; ``GET /smtp`` tells the port either way.
    """
    modes = Modes("mailbox", clock, own=OWN_MODES)
    box = Box(state_path)
    sink = _Sink(modes, clock, box)
    servers: list[asyncio.Server] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        smtp = await loop.create_server(
            lambda: aiosmtpd.SMTP(sink, hostname="mailbox.localhost", loop=loop), smtp_host, smtp_port
        )
        servers.append(smtp)
        yield
        smtp.close()

    async def messages(request: Request) -> Response:
        if unknown := [name for name, _ in request.query_params.multi_items() if name != "to"]:
            return JSONResponse({"error": f"unknown: {unknown[0]}; there is to"}, status_code=422)
        to = request.query_params.get("to", "").lower()
        found = [m.as_json() for m in box.messages.values() if not to or to in (name.lower() for name in m.recipients)]
        return JSONResponse({"messages": found})

    async def message(request: Request) -> Response:
        wanted = request.path_params["number"]
        found = next((kept for kept in box.messages.values() if kept.number == wanted), None)
        return JSONResponse(found.as_json()) if found else Response(status_code=404)

    async def clear(_: Request) -> Response:
        box.clear()
        return Response(status_code=204)

    async def smtp_address(_: Request) -> Response:
        host, port = servers[0].sockets[0].getsockname()[:2]
        return JSONResponse({"host": host, "port": port})

    routes = [
        Route("/messages", messages, methods=["GET"]),
        Route("/messages", clear, methods=["DELETE"]),
        Route("/messages/{number:int}", message, methods=["GET"]),
        Route("/smtp", smtp_address, methods=["GET"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    modes.install(app)
    return app


def _of_a_local_system(parts: MockParts) -> Starlette:
    return create_app(clock=parts.clock, smtp_port=parts.ports["smtp"], state_path=parts.folder / "mailbox.jsonl")


MOCK: Final = Mock("mailbox", _of_a_local_system, further_ports=("smtp",))
