"""The record, its chain, its anchors, and the only way to change a row.

A command calls :func:`change` with its row operations: the entry is recorded first, the rows are applied from it,
the entry is linked into one hash chain inside COMMIT. Every ten minutes a batch is sealed and its root anchored on
chain; :func:`proof_of` shows any entry to an outsider, :func:`verify` checks it all and :func:`replay` shows that the
tables are what the entries say.
"""

from fintokenx.audit.service.batches import anchor_sealed, seal
from fintokenx.audit.service.proving import proof_holds, proof_of, provable, prove
from fintokenx.audit.service.recording import change
from fintokenx.audit.service.replaying import NoSuchTable, replay
from fintokenx.audit.service.trails import entries_everywhere, entries_of, entry_count, tenant_of_entry
from fintokenx.audit.service.verifying import verify
from fintokenx.audit.types import (
    Action,
    AnchorConflict,
    Batch,
    Cell,
    Comparison,
    Drift,
    Entry,
    Move,
    NotYetAnchored,
    Proof,
    Provable,
    Replay,
    RowChange,
    UnknownEntry,
    Verdict,
    delete,
    insert,
    update,
)

__all__ = [
    "Action",
    "AnchorConflict",
    "Batch",
    "Cell",
    "Comparison",
    "Drift",
    "Entry",
    "Move",
    "NoSuchTable",
    "NotYetAnchored",
    "Proof",
    "Provable",
    "Replay",
    "RowChange",
    "UnknownEntry",
    "Verdict",
    "anchor_sealed",
    "change",
    "delete",
    "entries_everywhere",
    "entries_of",
    "entry_count",
    "insert",
    "proof_holds",
    "proof_of",
    "provable",
    "prove",
    "replay",
    "seal",
    "tenant_of_entry",
    "update",
    "verify",
]
