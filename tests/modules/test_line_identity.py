"""Which line a credit on a statement is: the pure rules (SE-10, ADR 0014)."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.settlement.service.line_identity import Answer, Verdict, form_of, identify
from fintokenx.lifecycle.settlement.types import BankCredit, Line

ACCOUNT = "04000412345678"
NOON = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)
SINCE = NOON - timedelta(days=2)
MIDNIGHT = NOON.replace(hour=0)


def credit(transaction_id: str = "", *, pence: int = 1_000, at: datetime = NOON, **changes: str) -> BankCredit:
    """A buyer's payment as a poor bank shows it."""
    told = {"narration": "RENT", "end_to_end_id": "", "bank_reference": "", "source": "AIS"} | changes
    return BankCredit(transaction_id, Pence(pence), at, **told)


def line(*shown: BankCredit, name: str = "rec_1", kind: str = "collection", doubt: str | None = None) -> Line:
    """A known line that was shown like this, one after the other."""
    return Line(name, kind, shown[0].amount, doubt, tuple(form_of(one, ACCOUNT) for one in shown))


def answers(shown: list[BankCredit], known: list[Line]) -> list[str]:
    """What each credit is."""
    return [verdict.answer.value for verdict in verdicts(shown, known)]


def verdicts(shown: list[BankCredit], known: list[Line]) -> list[Verdict]:
    return identify(shown, known, account=ACCOUNT, since=SINCE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (credit(), credit("T1")),
        (credit(narration="RE"), credit(narration="Re nt march")),
        (credit(narration=""), credit(narration="RENT")),
        (credit(at=MIDNIGHT), credit()),
        (credit(), credit(at=MIDNIGHT)),
        (credit(at=MIDNIGHT - timedelta(hours=1)), credit()),
        (credit(at=NOON + timedelta(seconds=1)), credit(at=NOON + timedelta(seconds=1, microseconds=7))),
        (credit(at=MIDNIGHT, narration="RE"), credit("T1", end_to_end_id="E", bank_reference="R")),
        (credit(end_to_end_id="E"), credit("T1", end_to_end_id="E", narration="OTHER", at=NOON - timedelta(hours=5))),
        (credit(bank_reference="R"), credit("T1", bank_reference="R", narration="OTHER")),
        (credit("T1"), credit("T1", narration="OTHER", at=NOON + timedelta(hours=5))),
        (credit("T1", end_to_end_id="E"), credit("F1", source="FPS", end_to_end_id="E", narration="R")),
        (credit("T1", end_to_end_id="NOTPROVIDED"), credit("F1", source="FPS")),
        (credit("T1", bank_reference="R"), credit("F1", source="FPS", bank_reference="S", narration="RENT MARCH")),
    ],
)
def test_what_is_completed_later_or_seen_by_another_is_the_same_line(before: BankCredit, after: BankCredit) -> None:
    known = line(before)
    [verdict] = verdicts([after], [known])
    assert (verdict.answer, verdict.line) == (Answer.SAME, known)
    assert answers([after], [line(before, after)]) == ["KNOWN"]
    assert answers([before], [line(before, after)]) == ["KNOWN"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (credit(), credit(narration="OTHER")),
        (credit(), credit(at=NOON - timedelta(hours=3))),
        (credit("T1"), credit("T2")),
        (credit(end_to_end_id="E"), credit(end_to_end_id="F")),
        (credit(bank_reference="R"), credit(bank_reference="S")),
        (credit(narration="RENT MARCH"), credit("F1", source="FPS", narration="RENT")),
        (credit(at=SINCE - timedelta(hours=3)), credit(at=SINCE + timedelta(hours=3))),
    ],
)
def test_what_may_be_a_line_that_is_no_longer_shown_is_a_persons_turn(before: BankCredit, after: BankCredit) -> None:
    [verdict] = verdicts([after], [line(before)])
    assert (verdict.answer, verdict.may_be) == (Answer.DOUBT, ("rec_1",))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (credit(), credit(at=NOON + timedelta(minutes=5))),
        (credit("T1"), credit("T2")),
        (credit("T1"), credit()),
        (credit(), credit()),
        (credit(end_to_end_id="E"), credit(end_to_end_id="F")),
        (credit(), credit(pence=1_001)),
    ],
)
def test_a_second_credit_beside_the_first_is_new_however_alike(before: BankCredit, after: BankCredit) -> None:
    """The same payer pays the same amount twice: both are shown, so both are credits."""
    for shown in ([before, after], [after, before]):
        assert Counter(answers(shown, [line(before)])) == {"KNOWN": 1, "NEW": 1}


def test_of_twins_that_get_their_ids_one_by_one_each_stays_one() -> None:
    known = [line(credit(), name="rec_1"), line(credit(), name="rec_2")]
    assert sorted(answers([credit("T1"), credit()], known)) == ["KNOWN", "SAME"]
    assert answers([credit("T1"), credit("T2")], known) == ["SAME", "SAME"]
    assert sorted(answers([credit("T1"), credit("T2"), credit("T3")], known)) == ["NEW", "SAME", "SAME"]
    longer = credit(narration="RENT MARCH")
    assert answers([longer, longer], known) == ["SAME", "SAME"]
    assert Counter(answers([longer, longer, longer], known)) == {"SAME": 2, "NEW": 1}


def test_of_two_that_may_both_be_the_one_line_a_person_says_which() -> None:
    march, april = credit(narration="RENT MARCH"), credit(narration="RENT APRIL")
    assert answers([march, april], [line(credit())]) == ["DOUBT", "DOUBT"]
    assert answers([march, credit(narration="OTHER")], [line(credit())]) == ["SAME", "NEW"]


def test_an_id_on_another_amount_is_neither_known_nor_new() -> None:
    assert answers([credit("T1", pence=1)], [line(credit("T1"))]) == ["CONTRADICTION"]


def test_a_line_that_is_long_past_asks_nothing() -> None:
    assert answers([credit()], [line(credit("T1", at=SINCE - timedelta(days=3)))]) == ["NEW"]


@dataclass
class Bank:
    """A bank that shows each of its lines ever more completely, and never all at once."""

    chance: random.Random
    truth: list[BankCredit] = field(default_factory=list)
    stage: list[int] = field(default_factory=list)

    def book(self) -> None:
        chance = self.chance
        at = SINCE + timedelta(minutes=chance.randrange(0, 2_880, 240), seconds=7)
        name = f"T{len(self.truth)}"
        narration = chance.choice(["RENT MARCH", "RENT APRIL", "INV 7"])
        self.truth.append(credit(name, pence=chance.choice([1_000, 2_000]), at=at, narration=narration))
        self.stage.append(0)

    def completes(self) -> None:
        for number in range(len(self.stage)):
            self.stage[number] += self.chance.random() < 0.4

    def statement(self) -> list[BankCredit]:
        shown = []
        for one, stage in zip(self.truth, self.stage, strict=True):
            told = one
            if stage < 3:
                told = replace(told, transaction_id="")
            if stage < 2:
                told = replace(told, narration=told.narration[:4])
            if stage < 1:
                told = replace(told, booked_at=max(told.booked_at.replace(hour=0, minute=0, second=0), SINCE))
            shown.append(told)
        self.chance.shuffle(shown)
        return shown


@given(st.integers(0, 10**9))
@settings(max_examples=150, deadline=None)
def test_no_credit_is_lost_and_none_counts_twice_whatever_is_completed_when(seed: int) -> None:
    """Booked lines and open doubts together are never fewer than the credits at the bank, and booked ones never more:
    what is in doubt may be a known line or a new one, and nothing else is."""
    bank, names = Bank(random.Random(seed)), itertools.count(1)
    known: list[Line] = []
    for _ in range(8):
        for _ in range(bank.chance.randrange(3)):
            bank.book()
        bank.completes()
        shown = bank.statement()
        for one, verdict in zip(shown, verdicts(shown, known), strict=True):
            assert verdict.answer is not Answer.CONTRADICTION
            if verdict.answer is Answer.SAME and verdict.line is not None:
                known = [_also(k, one) if k.id == verdict.line.id else k for k in known]
            elif verdict.answer is not Answer.KNOWN:
                kind = "doubt" if verdict.answer is Answer.DOUBT else "collection"
                known.append(line(one, name=f"rec_{next(names)}", kind=kind))
        for pence in (1_000, 2_000):
            at_the_bank = sum(one.amount.value == pence for one in bank.truth)
            booked = sum(k.amount.value == pence and k.kind != "doubt" for k in known)
            in_doubt = sum(k.amount.value == pence and k.kind == "doubt" for k in known)
            assert booked <= at_the_bank <= booked + in_doubt
        assert all(verdict.answer is Answer.KNOWN for verdict in verdicts(shown, known))


def _also(known: Line, shown: BankCredit) -> Line:
    return replace(known, forms=(*known.forms, form_of(shown, ACCOUNT)))
