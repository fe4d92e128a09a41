"""The record, its chain, its anchors, and the only way to change a row.

A command calls :func:`change` with its row operations: the entry is recorded first, the rows are applied from it,
the entry is linked into one hash chain inside COMMIT. Every ten minutes a batch is sealed, its checkpoint signed and
its root anchored on chain; :func:`prove` shows entries to an outsider, :func:`verify` checks it all,
and :func:`replay` shows that the tables are what the entries say.
"""

from fintokenx.audit.service.batches import anchor_sealed, keep_receipts, seal
from fintokenx.audit.service.behind import anchors, behind
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
from fintokenx.audit.service.redteam import REDTEAM_EVERY, record_redteam_run, redteam_overdue, redteam_runs
from fintokenx.audit.service.replaying import NoSuchTable, replay
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
    SEAL_EVERY,
    Anchor,
    Batch,
    Behind,
    Bundle,
    ChangedRow,
    Changes,
    Disclosed,
    Entry,
    LogIdentity,
    Proof,
    Provable,
    RedteamRun,
    RowChange,
    Verdict,
    delete,
    insert,
    update,
)
from fintokenx.audit.types.refusals import (
    AnchorConflict,
    LogInconsistent,
    NothingRecorded,
    NotPublished,
    ProofPending,
    UnknownEntry,
)
from fintokenx.audit.types.replaying import Cell, Comparison, Drift, Replay
from fintokenx.kernel.actions import Action
from fintokenx.kernel.carries import (
    Carried,
    Carries,
    NobodyWalks,
    adds,
    always,
    changes,
    known_as,
    together,
    walking,
    with_callers,
)

__all__ = [
    "REDTEAM_EVERY",
    "SEAL_EVERY",
    "Action",
    "Anchor",
    "AnchorConflict",
    "Batch",
    "Behind",
    "Bundle",
    "Carried",
    "Carries",
    "Cell",
    "ChangedRow",
    "Changes",
    "Comparison",
    "Disclosed",
    "Drift",
    "Entry",
    "LogIdentity",
    "LogInconsistent",
    "NoSuchTable",
    "NobodyWalks",
    "NotPublished",
    "NothingRecorded",
    "Proof",
    "ProofPending",
    "Provable",
    "RedteamRun",
    "Replay",
    "RowChange",
    "UnknownEntry",
    "Verdict",
    "adds",
    "always",
    "anchor_sealed",
    "anchors",
    "behind",
    "change",
    "changes",
    "delete",
    "entries_everywhere",
    "entries_of",
    "entry_count",
    "entry_of",
    "find_anywhere",
    "insert",
    "keep_receipts",
    "known_as",
    "newest_checkpoint",
    "present_row",
    "proof_holds",
    "proof_of",
    "provable",
    "provable_everywhere",
    "provable_of_resource",
    "prove",
    "record_redteam_run",
    "redteam_overdue",
    "redteam_runs",
    "replay",
    "seal",
    "sign_sealed",
    "taxonomy",
    "tenant_of_entry",
    "together",
    "update",
    "verify",
    "walking",
    "with_callers",
]
