"""Sumsub's webhooks: the digest over the raw bytes first, then the reading."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fintokenx.kernel.clock import Instant
from fintokenx.parties.kyc.ports import VerificationEvent, WebhookRefused

DIGESTS = {"HMAC_SHA256_HEX": "sha256", "HMAC_SHA512_HEX": "sha512"}
"""What we accept. The vendor also offers HMAC_SHA1_HEX; the header is not signed, so accepting it would let the
sender choose the weakest."""


def payload_digest(webhook_secret: str, body: bytes, algorithm: str) -> str:
    """Lower-case hex HMAC of the body; ``algorithm`` as :mod:`hashlib` names it."""
    return hmac.new(webhook_secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()


def read_webhook(webhook_secrets: Iterable[str], headers: Mapping[str, str], body: bytes) -> VerificationEvent:
    """Verify, then read.

    ``event_id`` is applicant, type and millisecond. Not ``correlationId``: that names the request which caused
    the event, and one cause may have several events; the three fields are what the vendor offers for telling
    deliveries of one event from two events.

    :raises WebhookRefused: signed with none of our secrets, or not an event as documented
    """
    lower_case = {name.lower(): value for name, value in headers.items()}
    algorithm = DIGESTS.get(lower_case.get("x-payload-digest-alg", ""))
    if algorithm is None:
        raise WebhookRefused("digest algorithm missing or not accepted")
    given = lower_case.get("x-payload-digest", "").encode()
    good = [hmac.compare_digest(given, payload_digest(secret, body, algorithm).encode()) for secret in webhook_secrets]
    if not any(good):
        raise WebhookRefused("digest does not match")
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookRefused("body is not JSON") from None
    if not isinstance(event, dict):
        raise WebhookRefused("body is not an object")
    applicant_ref, event_type = _text(event, "applicantId"), _text(event, "type")
    millisecond = _text(event, "createdAtMs")
    return VerificationEvent(
        event_id=f"{applicant_ref}:{event_type}:{millisecond}",
        event_type=event_type,
        applicant_ref=applicant_ref,
        external_id=_text(event, "externalUserId"),
        occurred_at=_instant(millisecond),
    )


def _text(event: Mapping[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not value:
        raise WebhookRefused(f"{field} is missing")
    return value


def _instant(text: str) -> Instant:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        raise WebhookRefused("createdAtMs is not a time") from None
