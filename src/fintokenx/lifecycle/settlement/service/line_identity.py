"""Which line of an account a credit on its statement is: one that is known, a new one, or perhaps a known one.

No single value is a line's identity: the bank's id is optional and may come later, narration and time may be completed,
two sources show different things. Three facts carry the decision. An amount that is booked does not change. A whole
list shows every known line of its time, so a credit can only be a known line that is not shown otherwise. And a credit
that could be such a line is it for certain only if something says so beside the amount; else a person decides.
ADR 0014; the rules are pure, so that properties can be held against them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from fintokenx.kernel.clock import Instant
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.types import BankCredit, Form, Line, is_given

_LENGTH_MAX: Final = 1_500
MAY_MOVE_IN_WITHIN: Final = timedelta(hours=24)
"""So far a line from before the time of a list may be from the one that it has become in it."""


def form_of(credit: BankCredit, account: str) -> Form:
    """How a credit is shown on an account (sort code and account number)."""
    narration = _narration(credit)
    return Form(
        source=credit.source,
        transaction_id=credit.transaction_id,
        booked_at=credit.booked_at,
        narration_length=len(narration),
        narration_sha256=_digest(narration, account),
        bank_reference=credit.bank_reference,
        end_to_end_id=credit.end_to_end_id if is_given(credit.end_to_end_id) else "",
    )


class Answer(StrEnum):
    """KNOWN as it is shown; SAME as a known line, shown differently; NEW; perhaps a known one: DOUBT; CONTRADICTION:
    the id of a known line with another amount."""

    KNOWN = "KNOWN"
    SAME = "SAME"
    NEW = "NEW"
    DOUBT = "DOUBT"
    CONTRADICTION = "CONTRADICTION"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``line``: which it is (KNOWN, SAME). ``may_be``: the ids of those that it may be (DOUBT)."""

    answer: Answer
    line: Line | None = None
    may_be: tuple[str, ...] = ()


def identify(
    credits_shown: Sequence[BankCredit], lines: Sequence[Line], *, account: str, since: Instant
) -> list[Verdict]:
    """A verdict on each credit of a whole list that begins at ``since``, against the lines that are known of the
    account. Each line is one credit at most, each credit one line at most."""
    found: dict[int, Verdict] = {}
    owner = {(form.source, form.transaction_id): line for line in lines for form in line.forms if form.transaction_id}
    groups: defaultdict[Pence, list[int]] = defaultdict(list)
    for number, credit in enumerate(credits_shown):
        known = owner.get((credit.source, credit.transaction_id))
        if known is not None and known.amount != credit.amount:
            found[number] = Verdict(Answer.CONTRADICTION, known)
        else:
            groups[credit.amount].append(number)
    of_amount: defaultdict[Pence, list[Line]] = defaultdict(list)
    for line in lines:
        of_amount[line.amount].append(line)
    for amount, numbers in groups.items():
        shown = {number: form_of(credits_shown[number], account) for number in numbers}
        group = _Group(credits_shown, shown, of_amount[amount], account, since)
        found |= group.verdicts()
    return [found[number] for number in range(len(credits_shown))]


class _Group:
    """Credits and lines of one amount."""

    def __init__(
        self,
        credits_shown: Sequence[BankCredit],
        shown: dict[int, Form],
        lines: Iterable[Line],
        account: str,
        since: Instant,
    ) -> None:
        self._credits = credits_shown
        self._shown = shown
        self._left = {line.id: line for line in lines}
        self._account = account
        self._since = since
        self._found: dict[int, Verdict] = {}

    def verdicts(self) -> dict[int, Verdict]:
        self._pair(lambda form: [(form.source, form.transaction_id)] if form.transaction_id else [])
        self._pair(lambda form: [form.content])
        for numbers, lines in self._clusters():
            self._found |= self._decided(numbers, lines)
        return self._found

    def _pair(self, keys: Callable[[Form], list[object]]) -> None:
        """Give each credit a line that was shown under one of its keys, as many as possible."""
        by_key: defaultdict[object, list[Line]] = defaultdict(list)
        for line in self._left.values():
            for key in {key for form in line.forms for key in keys(form)}:
                by_key[key].append(line)
        wanted = {
            number: [
                line for key in keys(self._shown[number]) for line in by_key[key] if not self._differs(number, line)
            ]
            for number in self._open()
        }
        for number, line in _matching(wanted).items():
            self._found[number] = self._is(number, line)
            del self._left[line.id]

    def _is(self, number: int, line: Line) -> Verdict:
        form = self._shown[number]
        as_before = any(known.source == form.source and known.content == form.content for known in line.forms)
        ids = {known.transaction_id for known in line.forms if known.source == form.source}
        if as_before and form.transaction_id in {"", *ids}:
            return Verdict(Answer.KNOWN, line)
        return Verdict(Answer.SAME, line)

    def _differs(self, number: int, line: Line) -> bool:
        """Both have an id at the same source, and they are not the same."""
        form = self._shown[number]
        ids = {known.transaction_id for known in line.forms if known.source == form.source} - {""}
        return bool(form.transaction_id and ids) and form.transaction_id not in ids

    def _open(self) -> list[int]:
        return [number for number in self._shown if number not in self._found]

    def _clusters(self) -> list[tuple[list[int], list[Line]]]:
        """Credits and the lines that they may be, connected: lines that this list must show and has not shown yet, and
        those from shortly before it, which may have moved into its time."""
        must = [line for line in self._left.values() if self._must_be_shown(line)]
        clusters: list[tuple[list[int], list[Line]]] = []
        together: list[int] = []
        for number in self._open():
            moved_in = [line for line in self._left.values() if self._may_have_moved_in(number, line)]
            if must or moved_in:
                together.append(number)
                must += [line for line in moved_in if line not in must]
            else:
                clusters.append(([number], []))
        return [*clusters, (together, must)] if together else clusters

    def _must_be_shown(self, line: Line) -> bool:
        return line.forms[-1].booked_at >= self._since

    def _may_have_moved_in(self, number: int, line: Line) -> bool:
        gap = abs(self._shown[number].booked_at - line.forms[-1].booked_at)
        return not self._must_be_shown(line) and gap <= MAY_MOVE_IN_WITHIN

    def _decided(self, numbers: list[int], lines: list[Line]) -> dict[int, Verdict]:
        """What is left of one amount. Every line among ``lines`` that the list must show is one of these credits."""
        if not lines:
            return dict.fromkeys(numbers, Verdict(Answer.NEW))
        doubt = Verdict(Answer.DOUBT, may_be=tuple(sorted(line.id for line in lines)))
        must = [line for line in lines if self._must_be_shown(line)]
        sure = {number: [line for line in must if self._surely_is(number, line)] for number in numbers}
        likely = [number for number, theirs in sure.items() if theirs]
        pairs = _matching(sure)
        alike = len({self._shown[number].content for number in likely}) == 1
        all_are_found = len(pairs) == len(must)
        if len(pairs) < len(likely) and not (all_are_found and alike):
            return dict.fromkeys(numbers, doubt)  # one more than there are lines, and which of them is the new one?
        rest = Verdict(Answer.NEW) if all_are_found and len(must) == len(lines) else doubt
        return {number: Verdict(Answer.SAME, pairs[number]) if number in pairs else rest for number in numbers}

    def _surely_is(self, number: int, line: Line) -> bool:
        if self._differs(number, line):
            return False
        form, known = self._shown[number], line.forms
        if any(_conflict(form.end_to_end_id, one.end_to_end_id) for one in known):
            return False
        if any(one.end_to_end_id and one.end_to_end_id == form.end_to_end_id for one in known):
            return True
        of_source = [one for one in known if one.source == form.source]
        if any(_conflict(form.bank_reference, one.bank_reference) for one in of_source):
            return False
        if any(one.bank_reference and one.bank_reference == form.bank_reference for one in of_source):
            return True
        return any(self._completes(number, one) and _same_time(form.booked_at, one.booked_at) for one in known)

    def _completes(self, number: int, known: Form) -> bool:
        """Whether the narration begins with the one that was shown before, or is it."""
        begin = _narration(self._credits[number])[: known.narration_length]
        return len(begin) == known.narration_length and _digest(begin, self._account) == known.narration_sha256


def _matching(wanted: dict[int, list[Line]]) -> dict[int, Line]:
    """As many pairs as possible, each credit and each line in one of them at most."""
    taken: dict[str, int] = {}
    lines = {line.id: line for theirs in wanted.values() for line in theirs}
    for number in wanted:
        _augment(number, wanted, taken, set())
    return {number: lines[line_id] for line_id, number in taken.items()}


def _augment(number: int, wanted: dict[int, list[Line]], taken: dict[str, int], tried: set[str]) -> bool:
    """One more pair, if that is possible by pairing others anew."""
    for line in wanted[number]:
        if line.id in tried:
            continue
        tried.add(line.id)
        if line.id not in taken or _augment(taken[line.id], wanted, taken, tried):
            taken[line.id] = number
            return True
    return False


def _conflict(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _same_time(one: Instant, other: Instant) -> bool:
    """The same minute, or the day of one that has only a date (midnight, here or in British summer)."""
    early, late = sorted((one, other))
    if late - early < timedelta(minutes=1) and late.replace(second=0, microsecond=0) == early.replace(
        second=0, microsecond=0
    ):
        return True
    is_date = (early.minute, early.second, early.microsecond) == (0, 0, 0) and early.hour in (0, 23)
    return is_date and late - early < timedelta(days=1)


def _narration(credit: BankCredit) -> str:
    return "".join(credit.narration.casefold().split())[:_LENGTH_MAX]


def _digest(narration: str, account: str) -> str:
    return hashlib.sha256(f"{account}|{narration}".encode()).hexdigest()
