"""How it may be refused."""

from __future__ import annotations

from fintokenx.kernel.errors import Refused


class UnknownEntry(Refused):
    """There is no such entry that you may see."""

    code = "NOT_FOUND"
    status = 404


class ProofPending(Refused):
    """The entry stands, but no signed checkpoint covers it yet; ask again after ``pending_until``."""

    code = "PROOF_PENDING"
    status = 409


class NothingRecorded(Refused):
    """Nothing is recorded about this resource that you may see."""

    code = "NOT_FOUND"
    status = 404


class BundleTooLarge(Refused):
    """There are too many entries for one answer; `fintokenx audit bundle` takes any number."""

    code = "BUNDLE_TOO_LARGE"
    status = 422


class NotPublished(Refused):
    """The open log has not published this, or never will."""

    code = "NOT_FOUND"
    status = 404


class BadTile(Refused):
    """A tile is named <level>/<index>[.p/<width>] as in C2SP tlog-tiles."""

    code = "BAD_TILE"
    status = 400


class LogInconsistent(Refused):
    """The tree does not continue the one that was signed last: nothing is signed until people know why."""

    code = "LOG_INCONSISTENT"
    status = 409


class AnchorConflict(Refused):
    """The chain holds other anchors than this database: it was restored, or its record was rewritten."""

    code = "ANCHOR_CONFLICT"
    status = 409
