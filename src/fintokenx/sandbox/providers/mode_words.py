"""What every mode of a mock server means, by the one who acts on it."""

from __future__ import annotations

from collections.abc import Mapping

UP = "up"

TRANSPORT_MODES: Mapping[str, str] = {
    "down": "the connection is reset before anything is processed",
    "timeout": "nothing is processed and no answer comes while the client waits (at most `seconds`, else 60)",
    "slow": "processed at once, answered after `seconds` (else 1): beyond the client's patience the outcome is unknown",
    "5xx": "not processed; 500, 502 and 503 in turn",
    "malformed": "processed; the body of the answer is cut in half, its length header agrees",
    "html": "not processed; a gateway's HTML page with status 200",
    "wrong_shape": "processed; the answer is JSON of another shape",
    "lost_response": "processed, then the connection is reset; only requests that write, reads are answered",
    "rate_limited": "not processed; 429 with Retry-After: `seconds` (else 1)",
    "rate_limited_bare": "not processed; 429 without Retry-After",
    "unauthorised": "not processed; 401 as if our credentials had been revoked",
}
"""Acted on by the middleware for every mock. ``times`` counts requests."""

WEBHOOK_MODES: Mapping[str, str] = {
    "late_webhook": "webhooks wait for `seconds`, or without it until the mode changes",
    "duplicate_webhook": "every webhook is delivered twice, byte for byte",
    "reordered_webhook": "a webhook is held back until the next one has been delivered",
    "lost_webhook": "webhooks are never sent",
    "forged_webhook": "webhooks carry a signature of other bytes",
}
"""Acted on by ``Courier``; a mock with webhooks adds them to its own. ``times`` counts webhooks."""

VERDICT_MODES: Mapping[str, str] = {
    "unknown_verdict": "answers carry a verdict that no documentation names",
    "late_verdict": "nothing is decided for `seconds`, or without it until the mode changes",
}
"""Acted on by the mock itself with ``take`` or ``is_on``."""

LATE_MODES = frozenset({"late_webhook", "late_verdict"})
