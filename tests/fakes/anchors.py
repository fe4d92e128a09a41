"""FXAuditAnchor in memory: takes each batch once, forgets nothing, and can be away like a network."""

from __future__ import annotations

from fintokenx.audit.ports import AnchorOnChain
from fintokenx.kernel.errors import Unavailable


class AnchorsInMemory:
    """Passes as ``audit.ports.Anchors``; the real contract is held to the same promises in tests/adapters."""

    def __init__(self) -> None:
        self.standing: dict[int, AnchorOnChain] = {}
        self.away = False
        self.lose_answers = False
        self.calls = 0

    async def publish(self, batch_id: int, tree_size: int, root: bytes) -> AnchorOnChain:
        """Anchor, once. :raises ValueError: other values stand for this batch"""
        self._must_answer()
        known = self.standing.get(batch_id)
        if known is not None and (known.tree_size, known.root) != (tree_size, root):
            raise ValueError(f"batch {batch_id} is anchored with other values")
        if known is None:
            block = 100 + len(self.standing)
            known = AnchorOnChain(batch_id, tree_size, root, block, f"0x{block:064x}")
            self.standing[batch_id] = known
        if self.lose_answers:
            raise Unavailable("chain", "the answer was lost")
        return known

    async def read(self, batch_id: int) -> AnchorOnChain | None:
        """The anchor of a batch, or None."""
        self._must_answer()
        return self.standing.get(batch_id)

    async def latest(self) -> AnchorOnChain | None:
        """The newest anchor, or None before the first."""
        self._must_answer()
        return self.standing[max(self.standing)] if self.standing else None

    def _must_answer(self) -> None:
        self.calls += 1
        if self.away:
            raise Unavailable("chain", "no answer")
