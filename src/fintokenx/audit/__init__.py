"""The record, its chain, its anchors, and the only way to change a row.

A command calls :func:`change` with its row operations: the entry is recorded first, the rows are applied from it,
the entry is linked into one hash chain inside COMMIT. Every ten minutes a batch is sealed and its root anchored on
chain; :func:`proof_of` shows any entry to an outsider, :func:`verify` checks it all.
"""

from fintokenx.audit.service.batches import anchor_sealed, seal
from fintokenx.audit.service.proving import proof_holds, proof_of, provable, prove
from fintokenx.audit.service.recording import change
from fintokenx.audit.service.redteam import REDTEAM_EVERY, record_redteam_run, redteam_overdue, redteam_runs
from fintokenx.audit.service.taxonomy import find_anywhere, taxonomy
from fintokenx.audit.service.trails import (
    entries_everywhere,
    entries_of,
    entry_count,
    entry_of,
    present_row,
    tenant_of_entry,
)
from fintokenx.audit.service.verifying import verify
from fintokenx.audit.types import (
    Action,
    AnchorConflict,
    Batch,
    Entry,
    Move,
    NotYetAnchored,
    Proof,
    Provable,
    RedteamRun,
    RowChange,
    UnknownEntry,
    Verdict,
    delete,
    insert,
    update,
)

__all__ = [
    "REDTEAM_EVERY",
    "Action",
    "AnchorConflict",
    "Batch",
    "Entry",
    "Move",
    "NotYetAnchored",
    "Proof",
    "Provable",
    "RedteamRun",
    "RowChange",
    "UnknownEntry",
    "Verdict",
    "anchor_sealed",
    "change",
    "delete",
    "entries_everywhere",
    "entries_of",
    "entry_count",
    "entry_of",
    "find_anywhere",
    "insert",
    "present_row",
    "proof_holds",
    "proof_of",
    "provable",
    "prove",
    "record_redteam_run",
    "redteam_overdue",
    "redteam_runs",
    "seal",
    "taxonomy",
    "tenant_of_entry",
    "update",
    "verify",
]
