"""Which rows the entries about mails carry."""

from __future__ import annotations

from typing import Final

from fintokenx.audit import Carries, adds, always, changes

_ENDED: Final = changes("email_sends", "state", "failure", "failed_at")

CARRIES: Final[Carries] = {
    "MAIL_QUEUE": always(adds("email_sends")),
    "MAIL_SENT": always(changes("email_sends", "state", "provider_ref", "sent_at")),
    "MAIL_FAILED": always(_ENDED),
    "MAIL_EXPIRED": always(_ENDED),
}
