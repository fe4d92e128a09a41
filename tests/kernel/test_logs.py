"""Logs never carry what a person or a vault told us (SB-05): canaries go in everywhere, none comes out."""

from __future__ import annotations

import json
import subprocess
import sys

CANARY = "canary-Ada-Lovelace-SW1A"

_PROGRAM = f"""
import structlog
from fintokenx.kernel import logs
logs.configure()
log = structlog.get_logger("fintokenx.test")

class Sealed:
    def __repr__(self): return {CANARY!r}

log.info("plain", request_id="req_1", duration_ms=1.5, count=3, email={CANARY!r}, body={{"name": {CANARY!r}}})
log.info("objects", detail=Sealed(), resource=Sealed(), error=ValueError({CANARY!r}), reason={{"a": {CANARY!r}}})
def deep(secret):
    raise ValueError("bad value " + secret)
try:
    deep({CANARY!r})
except ValueError as fault:
    log.exception("fault", request_id="req_2")
    log.error("again", exc_info=fault)
log.warning("nested", exc_info=(ValueError, ValueError({CANARY!r}), None), stack_info={CANARY!r})
"""


def written() -> list[dict[str, object]]:
    """The lines of a process that logs canaries in every way it can think of."""
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_no_canary_reaches_the_log_and_what_was_kept_out_is_named() -> None:
    lines = written()
    assert CANARY not in json.dumps(lines)
    plain, objects, fault, again, nested = lines
    assert (plain["request_id"], plain["duration_ms"], plain["count"]) == ("req_1", 1.5, 3)
    assert plain["dropped"] == ["body", "email"]
    assert objects["dropped"] == ["detail", "error", "reason", "resource"]
    assert (fault["exc_type"], fault["request_id"]) == ("ValueError", "req_2")
    assert "deep" in str(fault["frames"])
    assert again["exc_type"] == "ValueError"
    assert nested["event"] == "nested"
