"""The report of a run: canonical JSON, signed in the vault, kept encrypted and recorded; and how anybody checks one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fintokenx import audit
from fintokenx.app.redteam.run import ATTACKS_MIN, Result
from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.caller import system
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Database
from fintokenx.kernel.vault import Vault

SIGNING_KEY: Final = "redteam/report/1"
BLOB_KIND: Final = "redteam_report"
HOME: Final = "tnt_fintokenx"
_BYTES_MAX: Final = 4_000_000
_BRACKETS_MAX: Final = 5_000
"""Far more than a report has: what nests deeper than the C stack must not reach the parser."""


class ReportRefused(Exception):
    """The file is no report of ours, or not as it was signed; the message says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """A signed report. ``body`` is what was signed, as canonical bytes."""

    body: dict[str, Any]
    sha256: str
    signature: str
    public_key: str

    @property
    def broken(self) -> list[str]:
        """The ids of the attacks that got through."""
        return list(self.body["broken"])

    @property
    def outcome(self) -> int:
        """The exit status of the run: 0 when every attack was turned away and there were enough of them."""
        return int(self.body["outcome"])

    def envelope(self) -> bytes:
        """The file: canonical JSON of the report, its digest and its signature."""
        return canonical_json(
            {
                "key": SIGNING_KEY,
                "public_key": self.public_key,
                "report": self.body,
                "sha256": self.sha256,
                "signature": self.signature,
            }
        )


def body_of(results: Sequence[Result], *, run_at: Instant, run_id: str, system_name: str, environment: str) -> Any:
    """The words of a report; no time of day but ``run_at``, by the system's own clock."""
    broken = [result.attack.id for result in results if result.broken]
    outcomes = [result.outcome.value for result in results]
    return {
        "attacks": [
            {
                "detail": result.detail,
                "family": result.attack.family,
                "holds": result.attack.holds,
                "id": result.attack.id,
                "milliseconds": result.milliseconds,
                "outcome": result.outcome.value,
                "title": result.attack.title,
                "tries": result.attack.tries,
            }
            for result in results
        ],
        "broken": broken,
        "environment": environment,
        "id": run_id,
        "outcome": int(bool(broken) or len(results) < ATTACKS_MIN),
        "run_at": run_at,
        "summary": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "system": system_name,
        "v": 1,
    }


async def signed(vault: Vault, body: Any) -> Report:
    """Sign a report's canonical bytes. :raises VaultUnavailable: nothing can be signed just now"""
    public = await vault.ensure_ed25519(SIGNING_KEY)
    content = canonical_json(body)
    signature = await vault.sign_ed25519(SIGNING_KEY, content)
    return Report(json.loads(content), hashlib.sha256(content).hexdigest(), signature.hex(), public.hex())


def opened(content: bytes, *, trusted: bytes) -> Report:
    """The report in a file, checked against the public key that the vault holds, whatever key the file names.

    :raises ReportRefused: not a report, changed since, or signed by somebody else
    """
    try:
        if len(content) > _BYTES_MAX:
            raise ReportRefused("this is too long to be a report")
        if content.count(b"[") + content.count(b"{") > _BRACKETS_MAX:
            raise ReportRefused("this is nested too deep to be a report")
        said = json.loads(content)
        report = Report(said["report"], said["sha256"], said["signature"], said["public_key"])
        body = canonical_json(report.body)
        signature = bytes.fromhex(report.signature)
        if said["key"] != SIGNING_KEY or canonical_json(said) != content.strip():
            raise ReportRefused("the file is not spelled as it was written")
    except ReportRefused:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise ReportRefused("this is no report of the red team") from fault
    if hashlib.sha256(body).hexdigest() != report.sha256:
        raise ReportRefused("its digest is not that of its words")
    if report.public_key != trusted.hex():
        raise ReportRefused("it names another key than the vault's")
    try:
        Ed25519PublicKey.from_public_bytes(trusted).verify(signature, body)
    except InvalidSignature as fault:
        raise ReportRefused("its signature does not hold") from fault
    return report


async def archive(database: Database, blobs: Blobs, report: Report, *, run_at: Instant) -> audit.RedteamRun:
    """Keep the signed file, encrypted, and record the run (REDTEAM_RUN)."""
    stored = await blobs.put(HOME, BLOB_KIND, report.envelope())
    run = audit.RedteamRun(
        id=report.body["id"],
        run_at=run_at,
        attacks=len(report.body["attacks"]),
        broken=len(report.broken),
        outcome=report.outcome,
        report_sha256=report.sha256,
        signature=report.signature,
        signed_by_key=SIGNING_KEY,
        storage_ref=stored.storage_ref,
    )
    async with database.transaction(HOME, request_id="redteam") as tx:
        await audit.record_redteam_run(tx, system(HOME, "redteam"), run=run)
    return run
