"""What the mailbox's SMTP side refuses as a relay would; the sources stand in :mod:`mailbox`'s docstring."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from email.utils import parsedate_to_datetime
from typing import Final

RECIPIENTS_MAX: Final = 100
_LOCAL_MAX, _PATH_MAX = 64, 254
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)", re.ASCII)
_MESSAGE_ID: Final = re.compile(rf"<{_ATOM}(?:\.{_ATOM})*@(?:{_ATOM}(?:\.{_ATOM})*|\[[!-Z^-~]*\])>", re.ASCII)
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_FIELD_NAME: Final = re.compile(rb"[!-9;-~]+")
_ONCE: Final = ("From", "Date", "Message-ID")
_ONCE_AT_MOST: Final = ("Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "In-Reply-To", "References")


def refusal_of_address(address: str) -> str | None:
    """Why a mailbox of an envelope is none; None when it is one. The null reverse path is for the caller."""
    if not address.isascii():
        return "553 5.6.7 SMTPUTF8 is not offered: the address must be ASCII"
    found = _ADDRESS.fullmatch(address)
    if found is None or len(found[1]) > _LOCAL_MAX or len(address) > _PATH_MAX:
        return "553 5.1.3 Bad mailbox address syntax"
    return None


def refusal_of_content(content: bytes, *, is_8bit: bool) -> str | None:
    """Why a message is none; None when it is one. ``is_8bit``: announced as BODY=8BITMIME."""
    if _BARE.search(content):
        return "550 5.5.2 Bare <CR> or <LF> in the message"
    if b"\0" in content:
        return "550 5.6.0 NUL in the message"
    head, _, body = content.partition(b"\r\n\r\n")
    if not head.isascii():
        return "550 5.6.7 SMTPUTF8 is not offered: the header must be ASCII"
    if not body.isascii() and not is_8bit:
        return "550 5.6.3 Eight-bit content that was not announced"
    for line in head.split(b"\r\n"):
        name, colon, _ = line.partition(b":")
        if not line.startswith((b" ", b"\t")) and not (colon and _FIELD_NAME.fullmatch(name)):
            return "550 5.6.0 A line of the header is no field"
    return _refusal_of_fields(read(content))


def read(content: bytes) -> EmailMessage:
    """The message, as Python's own parser has it."""
    return message_from_bytes(content, policy=default_policy)


def _refusal_of_fields(message: EmailMessage) -> str | None:
    for name in _ONCE:
        if len(message.get_all(name, [])) != 1:
            return f"550 5.6.0 The message must have {name} once"
    for name in _ONCE_AT_MOST:
        if len(message.get_all(name, [])) > 1:
            return f"550 5.6.0 The message has {name} more than once"
    if not _MESSAGE_ID.fullmatch(str(message["Message-ID"]).strip()):
        return "550 5.6.0 Message-ID is none"
    author = message["From"].addresses
    if not author or any(refusal_of_address(one.addr_spec) for one in author):
        return "550 5.6.0 From names nobody"
    try:
        parsedate_to_datetime(str(message["Date"]))
    except ValueError:
        return "550 5.6.0 Date is none"
    return None
