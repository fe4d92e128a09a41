"""The map from requirements to code and tests names every requirement once, and nothing that does not exist; the story
speaks of entries that can be recorded."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

from fintokenx.app.catalogue import ACTIONS, MACHINES
from tests.architecture.house import ROOT, parsed

MAP = ROOT / "docs/requirements.md"
STORY = ROOT / "docs/story.md"
LEDGER = ROOT / "docs/requirement-ledger.md"
HANDED_DOWN = ROOT.parent / "shared/spec/requirements.md"
"""Where the words come from; not in a plain clone."""
COUNTS = {
    # The ledger's sections and how many requirements each has; their ids count from 01.
    "P": 25, "AU": 13, "KY": 19, "MO": 7, "IN": 16, "TK": 15, "CH": 17, "MK": 6, "SE": 19, "SC": 7, "CO": 11, "PA": 10,
    "AD": 22, "TI": 9, "NO": 8, "AI": 11, "IX": 15, "EN": 6, "RL": 7, "SB": 5, "PR": 5,
}  # fmt: skip
IDS = [f"{section}-{number:02d}" for section, count in COUNTS.items() for number in range(1, count + 1)]
WORDS_MAX = 8

ROW = re.compile(r"^\| ([A-Z]+-\d\d) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
WORDS = re.compile(r"^\| (\d+) \| ([A-Z]+-\d\d) \| ([EIA]) \| (\S.*?) \| (\S.*?) \|$", re.MULTILINE)
NOT_YET = re.compile(r"^not yet: (.*)$", re.MULTILINE)
TOTALS = re.compile(r"^(\d+) done, (\d+) part, (\d+) not yet, of (\d+)\.$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)#]*)\)")
NAMED_TEST = re.compile(r"\[[^\]]*\]\(([^)#]*)\)::(\w+)")
SOLIDITY_TEST = re.compile(r"\bfunction (\w+)")
CAPITALS = re.compile(r"`([A-Z][A-Z0-9_]+)`")
NO_ENTRIES = {"KYC_VERIFIED": "a claim on chain"}


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests in a Python or Solidity file; none when it is not there."""
    if not path.is_file():
        return frozenset()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sol":
        return frozenset(SOLIDITY_TEST.findall(text))
    found = (node for node in ast.walk(parsed(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in found if node.name.startswith("test_"))


def not_yet(text: str) -> list[str]:
    """The ids that have nothing that counts."""
    return [name for line in NOT_YET.findall(text) for name in line.split(", ")]


def miscounted(text: str) -> list[str]:
    """Ids that do not stand exactly once, that nobody has asked for, and totals that do not add up."""
    rows, missing = ROW.findall(text), not_yet(text)
    times = Counter([row[0] for row in rows] + missing)
    faults = [f"{name} stands {times[name]} times" for name in IDS if times[name] != 1]
    faults += [f"{name} is no requirement" for name in times if name not in IDS]
    done = sum(state == "done" for _, state, _, _ in rows)
    said = [tuple(map(int, found)) for found in TOTALS.findall(text)]
    if said != [(done, len(rows) - done, len(missing), len(IDS))]:
        faults.append(f"the totals are {done}, {len(rows) - done}, {len(missing)}")
    return faults


def misjudged(text: str) -> list[str]:
    """Rows whose state is none, or is more than their evidence."""
    faults = []
    for name, state, where, shown_by in ROW.findall(text):
        words = state.removeprefix("part: ").split()
        if state != "done" and not (state.startswith("part: ") and 0 < len(words) <= WORDS_MAX):
            faults.append(f"{name}: no state: {state}")
        if not LINK.search(where):
            faults.append(f"{name}: nowhere")
        if not NAMED_TEST.search(shown_by) and (state == "done" or shown_by != "none yet"):
            faults.append(f"{name}: no test")
    return faults


def dangling(text: str, folder: Path) -> list[str]:
    """Links to files that are not there, and tests that their file does not have."""
    faults = [target for target in LINK.findall(text) if not (folder / target).exists() or Path(target).is_absolute()]
    return faults + [
        f"{target}::{test}"
        for target, test in NAMED_TEST.findall(text)
        if test not in names_in((folder / target).resolve())
    ]


def unheard_of(text: str) -> list[str]:
    """Words in capitals that are neither an action nor a state."""
    known = {action.name for action in ACTIONS} | {state for machine in MACHINES for state in machine.states}
    return [word for word in CAPITALS.findall(text) if word not in known | NO_ENTRIES.keys()]


@pytest.fixture(scope="module")
def written() -> str:
    """The map as it stands."""
    return MAP.read_text(encoding="utf-8")


def test_every_requirement_stands_once_and_the_totals_add_up(written: str) -> None:
    assert len(IDS) == 253
    assert miscounted(written) == []


def unworded(ledger: str, handed_down: str) -> list[str]:
    """Requirements that the ledger does not put into words, in their order, or not into those handed down."""
    words = WORDS.findall(ledger)
    faults = [] if [row[1] for row in words] == IDS else ["the ids are not those of the map"]
    asked = {row[1]: row for row in WORDS.findall(handed_down)}
    return faults + [f"{row[1]} reads otherwise" for row in words if asked.get(row[1], row) != row]


def test_the_ledger_has_the_words_of_every_requirement() -> None:
    handed_down = HANDED_DOWN.read_text(encoding="utf-8") if HANDED_DOWN.is_file() else ""
    assert unworded(LEDGER.read_text(encoding="utf-8"), handed_down) == []


def test_a_requirement_without_words_and_one_reworded_are_caught() -> None:
    ledger = LEDGER.read_text(encoding="utf-8")
    row = next(match.group() for match in WORDS.finditer(ledger) if match[2] == "P-08")
    assert unworded(ledger.replace(row, "| 8 | P-08 | E |  | none |"), "") == ["the ids are not those of the map"]
    assert unworded(ledger, ledger.replace(row, "| 8 | P-08 | E | Money is a float | none |")) == [
        "P-08 reads otherwise"
    ]


def test_every_state_has_its_evidence(written: str) -> None:
    assert misjudged(written) == []


def test_every_linked_file_and_every_named_test_exists(written: str) -> None:
    assert dangling(written, MAP.parent) == []


def test_the_story_speaks_of_what_can_be_recorded() -> None:
    assert unheard_of(STORY.read_text(encoding="utf-8")) == []


HERE = "../tests/architecture/test_requirement_map.py"
TEST = f"[map]({HERE})::test_every_state_has_its_evidence"


def table(*rows: str, missing: list[str], totals: str) -> str:
    """A small map."""
    return "\n".join([totals, *rows, f"not yet: {', '.join(missing)}"])


def test_a_sound_map_is_left_alone() -> None:
    """Or the tests below could fail for another reason."""
    sol = "[t](../contracts/test/Compliance.t.sol)::test_either_wallet_not_verified"
    rows = [f"| P-01 | done | [x]({HERE}) | {TEST}<br>{sol} |", f"| P-02 | part: no x yet | [x]({HERE}) | none yet |"]
    text = table(*rows, missing=IDS[2:], totals="1 done, 1 part, 251 not yet, of 253.")
    assert (miscounted(text), misjudged(text), dangling(text, MAP.parent)) == ([], [], [])


@pytest.mark.parametrize(
    ("missing", "totals", "fault"),
    [
        (IDS, "1 done, 0 part, 253 not yet, of 253.", "P-01 stands 2 times"),
        (IDS[2:], "1 done, 0 part, 251 not yet, of 253.", "P-02 stands 0 times"),
        ([*IDS[1:], "P-26"], "1 done, 0 part, 253 not yet, of 253.", "P-26 is no requirement"),
        (IDS[1:], "2 done, 0 part, 252 not yet, of 253.", "the totals are 1, 0, 252"),
        (IDS[1:], "", "the totals are 1, 0, 252"),
    ],
)
def test_a_wrong_count_is_caught(missing: list[str], totals: str, fault: str) -> None:
    row = f"| P-01 | done | [x]({HERE}) | {TEST} |"
    assert fault in miscounted(table(row, missing=missing, totals=totals))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (f"| P-01 | nearly | [x]({HERE}) | {TEST} |", "P-01: no state: nearly"),
        (f"| P-01 | part:  | [x]({HERE}) | {TEST} |", "P-01: no state: part: "),
        (f"| P-01 | part: {'x ' * 9} | [x]({HERE}) | {TEST} |", f"P-01: no state: part: {'x ' * 9}"),
        (f"| P-01 | done | somewhere | {TEST} |", "P-01: nowhere"),
        (f"| P-01 | done | [x]({HERE}) | none yet |", "P-01: no test"),
        (f"| P-01 | part: x | [x]({HERE}) | surely |", "P-01: no test"),
    ],
)
def test_a_row_without_evidence_is_caught(row: str, fault: str) -> None:
    assert misjudged(row) == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[x](../src/gone.py)", "../src/gone.py"),
        (f"[map]({HERE})::test_of_something_else", f"{HERE}::test_of_something_else"),
        (f"[map]({HERE})::dangling", f"{HERE}::dangling"),
        (
            "[t](../contracts/test/Compliance.t.sol)::test_nothing",
            "../contracts/test/Compliance.t.sol::test_nothing",
        ),
    ],
)
def test_a_link_into_nothing_is_caught(text: str, fault: str) -> None:
    assert dangling(text, MAP.parent) == [fault]


def test_an_entry_that_nobody_records_is_caught() -> None:
    assert unheard_of("`SUBMIT_INVOICE`, then `INVOICE_SUBMITTED`; the token is `BURNED`") == ["INVOICE_SUBMITTED"]
