"""The payments port with a process that dies at a call: the real client behind it, the real mock bank behind that."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from fintokenx.lifecycle.settlement.ports import BankAccount, FasterPayments, PaymentInstruction, PaymentOutcome
from tests.support.fakes.chain import Crash


@dataclass
class MortalPayments:
    """``FasterPayments`` that passes everything on, except where a test ordered a death."""

    real: FasterPayments
    deaths: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    died: int = 0

    def die(self, when: str, call: str) -> None:
        """The next ``call`` (submit or look_up) ends the process ``before`` or ``after`` the bank had it."""
        self.deaths[call].append(when)

    async def submit(self, instruction: PaymentInstruction) -> PaymentOutcome:
        when = self._fate("submit")
        if when == "before":
            self._die()
        outcome = await self.real.submit(instruction)
        if when == "after":
            self._die()
        return outcome

    async def look_up(self, debtor: BankAccount, end_to_end_id: str) -> PaymentOutcome | None:
        when = self._fate("look_up")
        if when == "before":
            self._die()
        outcome = await self.real.look_up(debtor, end_to_end_id)
        if when == "after":
            self._die()
        return outcome

    def _fate(self, call: str) -> str:
        return self.deaths[call].popleft() if self.deaths[call] else ""

    def _die(self) -> None:
        self.died += 1
        raise Crash
