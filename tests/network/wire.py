"""A wire between the platform and its chain that takes transactions through and loses the answers to some."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_SENDS = b"eth_sendRawTransaction"


@dataclass
class Wire:
    """``url`` is its near end, ``upstream`` the node. Of ``sent`` calls the chain answered all, and ``lost`` answers
    were never heard."""

    url: str = ""
    upstream: str = ""
    sent: int = 0
    lost: int = 0
    _share: float = 0.0
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def lose(self, share: float, dice: random.Random) -> None:
        """From now on lose this share of the answers to sent transactions, and the next in any case; counted anew."""
        self._share, self._dice, self.sent, self.lost = share, dice, 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the platform's, until either side ends it."""
        address = urlsplit(self.upstream)
        back, forth = await asyncio.open_connection(address.hostname, address.port)
        try:
            while request := await _message(reader):
                forth.write(request)
                answer = await _message(back)
                if _SENDS in request:
                    self.sent += 1
                    if self._share and (self.sent == 1 or self._dice.random() < self._share):
                        self.lost += 1
                        return
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # a platform that is killed says no good-bye
        finally:
            forth.close()
            writer.transport.abort()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message as it is, head and body; empty at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(sizes[0]) if sizes else 0)


@asynccontextmanager
async def laid() -> AsyncIterator[Wire]:
    """A wire that waits to be told where it leads, and loses nothing."""
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
