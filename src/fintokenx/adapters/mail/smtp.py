"""Hands one plain-text message to an SMTP relay, and says whether the relay may have taken it."""

from __future__ import annotations

import asyncio
import re
import ssl
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import aiosmtplib

from fintokenx.adapters.outbound import Access, Attempt, CallGuard
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.errors import Unavailable
from fintokenx.observers.notification.ports import ContentRefused, Mail, RecipientRefused, UnsafeMail

SYSTEM: Final = "mail"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_MESSAGE_ID: Final = re.compile(r"<?([A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]+@[A-Za-z0-9.\-]+)>?")
_REFERENCE_LENGTH_MAX: Final = 200


def _is_for_good(code: int) -> bool:
    """RFC 5321 §4.2.1: 5yz is permanent, and x5z speaks of the mail system, so of this recipient or this message. The
    other permanent answers speak of us: 50z of our commands, 53z (RFC 4954) of our credentials."""
    return 550 <= code <= 559


def _judge(attempt: Attempt, code: int) -> None:
    """421 is "service not available" (RFC 5321 §4.2.3); whatever else it answers, it is there."""
    if code == 421:
        attempt.failed()
    else:
        attempt.refused()


class SmtpMailer:
    """Notification's ``Mailer``.

    ``security``: ``implicit`` TLS from the first byte, ``starttls`` or it is not sent, ``none`` for the local mailbox
    only. ``timeout_seconds`` bounds the greeting, and then the delivery. A new connection per message: mail is rare
    and relays drop idle connections. Each message is tried once: a further try is another version of it, with a link or
    a code of its own, so it is the job's.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        clock: Clock,
        guard: CallGuard,
        security: Literal["implicit", "starttls", "none"] = "starttls",
        username: str | None = None,
        password: str | None = None,
        timeout_seconds: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._circuit = guard.circuit
        self._security = security
        self._username = username
        self._password = password
        self._timeout_seconds = timeout_seconds
        self._tls = tls

    @classmethod
    def open(cls, access: Access) -> Self:
        """The platform's mailer; ``smtp://host:port``, without credentials."""
        relay = urlsplit(access.url)
        return cls(
            host=relay.hostname or "",
            port=relay.port or 0,
            clock=access.clock,
            guard=access.guard,
            security="none" if access.is_local else "starttls",
        )

    async def aclose(self) -> None:
        """Nothing to close: a connection ends with its message."""

    async def send(self, mail: Mail) -> str:
        """Hand the message over; the relay's closing words are the reference.

        Raises ``UnsafeMail`` when a header or address could smuggle in another, ``RecipientRefused`` or
        ``ContentRefused`` when the relay refuses the recipient or the message for good, and ``Unavailable`` when it
        refuses for now (``outcome_unknown`` False) or falls silent once it may have the message (True).
        """
        message = self._message(mail)
        smtp = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            timeout=self._timeout_seconds,
            use_tls=self._security == "implicit",
            start_tls=self._security == "starttls",
            tls_context=self._tls,
        )
        with await self._circuit.admit() as attempt:
            try:
                await self._connect(smtp, attempt)
                taken = await self._hand_over(smtp, message, mail, attempt)
            finally:
                smtp.close()
            attempt.answered()
            return taken

    async def _connect(self, smtp: aiosmtplib.SMTP, attempt: Attempt) -> None:
        """Until the envelope is sent nothing can have been taken."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await smtp.connect()
                await smtp.ehlo()
        except aiosmtplib.SMTPResponseException as error:
            _judge(attempt, error.code)
            raise Unavailable(SYSTEM, f"the relay answered {error.code}", outcome_unknown=False) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            attempt.failed()
            raise Unavailable(SYSTEM, f"cannot connect ({type(error).__name__})", outcome_unknown=False) from error

    async def _hand_over(self, smtp: aiosmtplib.SMTP, message: EmailMessage, mail: Mail, attempt: Attempt) -> str:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                _, words = await smtp.sendmail(mail.from_address, [mail.to_address], message.as_bytes())
        except aiosmtplib.SMTPRecipientsRefused as error:
            if any(refusal.code == 421 for refusal in error.recipients):
                attempt.failed()
            else:
                attempt.answered()  # what is said of one recipient must not stop the mail of all others
            codes = ", ".join(sorted({str(refusal.code) for refusal in error.recipients}))
            if all(_is_for_good(refusal.code) for refusal in error.recipients):
                raise RecipientRefused(codes) from error
            raise Unavailable(SYSTEM, f"the recipient was refused with {codes}", outcome_unknown=False) from error
        except aiosmtplib.SMTPResponseException as error:
            if isinstance(error, aiosmtplib.SMTPDataError) and _is_for_good(error.code):
                attempt.answered()
                raise ContentRefused(str(error.code)) from error
            _judge(attempt, error.code)
            # 421 is the relay hanging up, and it may do so after it has read the message.
            raise Unavailable(SYSTEM, f"the relay answered {error.code}", outcome_unknown=error.code == 421) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            attempt.failed()
            raise Unavailable(SYSTEM, f"the relay fell silent ({type(error).__name__})") from error
        return _CONTROL.sub(" ", words)[:_REFERENCE_LENGTH_MAX]

    def _message(self, mail: Mail) -> EmailMessage:
        headers = (mail.message_id, mail.from_address, mail.from_name, mail.to_address, mail.subject)
        message_id = _MESSAGE_ID.fullmatch(mail.message_id)
        if any(_CONTROL.search(header) for header in headers) or message_id is None:
            raise UnsafeMail("a header is malformed")
        message = EmailMessage(policy=SMTP_POLICY.clone(cte_type="7bit"))
        try:
            message["From"] = Address(mail.from_name, addr_spec=_plain_address(mail.from_address))
            message["To"] = Address(addr_spec=_plain_address(mail.to_address))
            message["Subject"] = mail.subject
            message["Message-ID"] = f"<{message_id[1]}>"
            message["Date"] = format_datetime(self._clock.now())
            message["Auto-Submitted"] = "auto-generated"
            message.set_content(mail.text)
        except (MessageError, ValueError, IndexError) as error:
            raise UnsafeMail("a header is malformed") from error
        return message


def _plain_address(address: str) -> str:
    """:raises ValueError: not one plain ASCII address; quoted local parts are legal and always trouble"""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252})", address):
        raise ValueError("not an address")
    return address
