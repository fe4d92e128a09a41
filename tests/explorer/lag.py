"""A node that lags: a wire to the town's chain that gives no logs for blocks that it is said not to have."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.wire import Wire

_LOGS: Final = b"eth_getLogs"


@dataclass(kw_only=True)
class Lagging(Wire):
    """Without ``newest`` it has every block. ``asked`` are the ranges of blocks whose logs it was asked for."""

    newest: int | None = None
    asked: list[tuple[int, int]] = field(default_factory=list)

    def heard(self, request: bytes, answer: bytes) -> bytes | None:
        """Of logs only those that it has."""
        return self._without_newer(request, answer) if _LOGS in request else answer

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
