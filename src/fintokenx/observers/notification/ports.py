"""What notification needs of the outside: somebody who carries mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Mail:
    """One message. ``message_id`` is ours and stable over retries, so a receiver can drop a repeat."""

    message_id: str
    from_address: str
    from_name: str
    to_address: str
    subject: str
    text: str


class Mailer(Protocol):
    """Raises ``kernel.errors.Unavailable`` when the mail system does not take the message."""

    async def send(self, mail: Mail) -> str:
        """Hand the message over; return the system's reference."""
        ...
