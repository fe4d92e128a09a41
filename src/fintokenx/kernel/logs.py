"""Structured logs that never carry personal data or secrets (SB-05): only known keys with plain words get through."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

ALLOWED_KEYS: Final = frozenset(
    {
        "event", "level", "timestamp", "logger", "exc_type", "frames",
        "request_id", "method", "route", "status", "duration_ms", "tenant_id", "role", "code",
        "job", "job_id", "attempts", "error", "fault", "seconds",
        "action", "resource", "entry_id", "seq", "batch_id", "tree_size", "tx_hash", "block_number",
        "provider", "mode", "component", "state", "environment", "port", "version", "count", "reason",
    }
)  # fmt: skip
"""A key that is not here is dropped, and its name listed under ``dropped``: adding one is a reviewed decision."""


def _only_allowed(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    kept: dict[str, Any] = {}
    dropped = []
    for key, value in event.items():
        if key in ALLOWED_KEYS and isinstance(value, str | int | float | bool | list | None):
            kept[key] = value
        elif key != "exc_info":
            dropped.append(key)
    if dropped:
        kept["dropped"] = sorted(dropped)
    return kept


def _fault_without_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Where it happened and what kind it was; an exception's text may hold a person's data, so it stays out."""
    if event.pop("exc_info", None):
        kind, _, trace = sys.exc_info()
        frames = []
        while trace is not None:
            code = trace.tb_frame.f_code
            frames.append(f"{code.co_filename.rsplit('/src/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        event["exc_type"] = kind.__name__ if kind else "unknown"
        event["frames"] = frames[-12:]
    return event


def configure(level: str = "INFO") -> None:
    """JSON lines on stderr. Call once, at the start of a process."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _fault_without_values,
            _only_allowed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
