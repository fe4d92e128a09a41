"""A node that lags: a wire to the town's chain that gives no logs for blocks that it is said not to have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.network.wire import _message

_LOGS: Final = b"eth_getLogs"


@dataclass
class Lagging:
    """Without ``newest`` it has every block. ``asked`` are the ranges of blocks whose logs it was asked for."""

    upstream: str
    url: str = ""
    newest: int | None = None
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        address = urlsplit(self.upstream)
        back, forth = await asyncio.open_connection(address.hostname, address.port)
        try:
            while request := await _message(reader):
                forth.write(request)
                answer = await _message(back)
                writer.write(self._without_newer(request, answer) if _LOGS in request else answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            forth.close()
            writer.transport.abort()

    def _without_newer(self, request: bytes, answer: bytes) -> bytes:
        spans = {
            (int(call["params"][0]["fromBlock"], 16), int(call["params"][0]["toBlock"], 16)) for call in _body(request)
        }
        self.asked += sorted(spans)
        given = _body(answer)
        for each in given:
            each["result"] = [log for log in each["result"] if self._has(int(log["blockNumber"], 16))]
        body = json.dumps(given).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def _has(self, block_number: int) -> bool:
        return self.newest is None or block_number <= self.newest


def _body(message: bytes) -> list[Any]:
    found: list[Any] = json.loads(message.split(b"\r\n\r\n", 1)[1])
    return found


@asynccontextmanager
async def lagging(upstream: str) -> AsyncIterator[Lagging]:
    """A node in front of ``upstream`` that has every block until it is told otherwise."""
    node = Lagging(upstream)
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    node.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield node
    finally:
        server.close()
