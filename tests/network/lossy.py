"""A wire between the platform and its chain that takes transactions through and loses the answers to some."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.support.wire import Wire

_SENDS = b"eth_sendRawTransaction"


@dataclass(kw_only=True)
class LossyWire(Wire):
    """Of ``sent`` calls the chain answered all, and ``lost`` answers were never heard."""

    sent: int = 0
    lost: int = 0
    _share: float = 0.0
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def lose(self, share: float, dice: random.Random) -> None:
        """From now on lose this share of the answers to sent transactions, and the next in any case; counted anew."""
        self._share, self._dice, self.sent, self.lost = share, dice, 0, 0

    def heard(self, request: bytes, answer: bytes) -> bytes | None:
        """None for an answer that is lost."""
        if _SENDS in request:
            self.sent += 1
            if self._share and (self.sent == 1 or self._dice.random() < self._share):
                self.lost += 1
                return None
        return answer
