"""The record, its chain, its anchors, and the only way to change a row.

A command calls :func:`change` with its row operations: the entry is recorded first, the rows are applied from it,
the entry is linked into one hash chain inside COMMIT. Every ten minutes a batch is sealed, its checkpoint signed and
its root anchored on chain; :func:`prove` shows entries to an outsider, :func:`verify` checks it all.
"""

from fintokenx.audit.service.batches import anchor_sealed, keep_receipts, seal
from fintokenx.audit.service.checkpoints import sign_sealed
from fintokenx.audit.service.open_log import newest_checkpoint
from fintokenx.audit.service.proving import (
    proof_holds,
    proof_of,
    provable,
    provable_everywhere,
    provable_of_resource,
    prove,
)
from fintokenx.audit.service.recording import change
from fintokenx.audit.service.trails import entries_everywhere, entries_of, entry_count, tenant_of_entry
from fintokenx.audit.service.verifying import verify
from fintokenx.audit.types import (
    SEAL_EVERY,
    Action,
    AnchorConflict,
    Batch,
    Bundle,
    Disclosed,
    Entry,
    LogIdentity,
    LogInconsistent,
    Move,
    NothingRecorded,
    NotPublished,
    Proof,
    ProofPending,
    Provable,
    RowChange,
    UnknownEntry,
    Verdict,
    delete,
    insert,
    update,
)

__all__ = [
    "SEAL_EVERY",
    "Action",
    "AnchorConflict",
    "Batch",
    "Bundle",
    "Disclosed",
    "Entry",
    "LogIdentity",
    "LogInconsistent",
    "Move",
    "NotPublished",
    "NothingRecorded",
    "Proof",
    "ProofPending",
    "Provable",
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
    "keep_receipts",
    "newest_checkpoint",
    "proof_holds",
    "proof_of",
    "provable",
    "provable_everywhere",
    "provable_of_resource",
    "prove",
    "seal",
    "sign_sealed",
    "tenant_of_entry",
    "update",
    "verify",
]
