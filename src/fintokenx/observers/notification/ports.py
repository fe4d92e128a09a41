"""What notification needs of the outside: somebody who carries mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fintokenx.kernel.errors import Refused


@dataclass(frozen=True, slots=True)
class Mail:
    """One message. ``message_id`` is ours and stable over retries, so a receiver can drop a repeat."""

    message_id: str
    from_address: str
    from_name: str
    to_address: str
    subject: str
    text: str


class Undeliverable(Refused):
    """This mail is refused for good: sending it again is of no use."""

    code = "MAIL_UNDELIVERABLE"
    status = 422


class RecipientRefused(Undeliverable):
    """The mail system knows no such recipient, or takes nothing for it."""

    code = "MAIL_RECIPIENT_REFUSED"


class ContentRefused(Undeliverable):
    """The mail system does not take this message."""

    code = "MAIL_CONTENT_REFUSED"


class UnsafeMail(Undeliverable):
    """The message would not be the one message that it says it is: a header or an address is malformed."""

    code = "UNSAFE_MAIL"


class Mailer(Protocol):
    """Somebody who carries mail."""

    async def send(self, mail: Mail) -> str:
        """Hand the message over; return the system's reference.

        :raises Undeliverable: the mail system refuses it for good, or it must not be sent as it is
        :raises fintokenx.kernel.errors.Unavailable: not taken this time, or nobody knows
        """
        ...
