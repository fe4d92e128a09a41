"""A wire between a client and its node: real HTTP both ways, and a test may change or lose what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit


@dataclass(kw_only=True)
class Wire:
    """``url`` is its near end, ``upstream`` the node. As it is, it passes everything on."""

    url: str = ""
    upstream: str = ""

    def heard(self, request: bytes, answer: bytes) -> bytes | None:
        """What the near end hears of the node's answer; None: the connection breaks before it."""
        return answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        address = urlsplit(self.upstream)
        back, forth = await asyncio.open_connection(address.hostname, address.port)
        try:
            while request := await _message(reader):
                forth.write(request)
                if (heard := self.heard(request, await _message(back))) is None:
                    return
                writer.write(heard)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # a platform that is killed says no good-bye
        finally:
            forth.close()
            writer.transport.abort()


AWire = TypeVar("AWire", bound=Wire)


@asynccontextmanager
async def laid(wire: AWire) -> AsyncIterator[AWire]:
    """Lay it; it may be told later where it leads."""
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message as it is, head and body; empty at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    sizes = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(sizes[0]) if sizes else 0)
