"""The shape of the tests themselves, each rule with a fault that it must catch (docs/conventions.md, 20; P-22)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture.house import ROOT, nodes, parsed, strings

TESTS = ROOT / "tests"
WORDS_MIN = 3
LINES_MAX = 400
LONGER = {
    # Files over the limit, and why; what is split loses its line.
    "tests/failures/house.py": "the running system of the failure matrix: one class, to be taken apart",
    "tests/properties/walk.py": "a table of data: how a row of each of 20 machines looks",
    "tests/story/test_a_paid_invoice.py": "its tests read one story, which takes a minute to tell",
    "tests/story/test_edges.py": "its tests ask one running system, which takes half a minute to start",
    "tests/verifier/test_mutations.py": "a table of data: 190 lines of ways to change a bundle",
}
TYPED_BY_HAND = {
    # Whoever attacks with SQL or looks after the tables themselves; a folder stands for its files.
    "tests/architecture/": "spells faults",
    "tests/audit/": "forges entries, tiles and rows behind the record's back",
    "tests/database/": "attacks the guards with SQL, and makes tables of its own",
    "tests/redteam/": "plants holes",
    "tests/support/rows.py": "is where rows are made",
    "tests/support/harness/database.py": "lets a test's actions carry any row",
    "tests/kernel/edge_app.py": "a mutation of a table of its own",
    "tests/kernel/shop.py": "jobs of a table of its own",
    "tests/kernel/test_bus.py": "a fact of a table of its own",
    "tests/kernel/test_edge.py": "a key whose first request never ended",
    "tests/kernel/test_fair_jobs.py": "ten thousand jobs in one statement",
    "tests/kernel/test_job_time_limits.py": "a job's effect in a table of its own",
    "tests/kernel/test_jobs.py": "a job's effect in a table of its own",
    "tests/kernel/test_lanes.py": "ten thousand jobs in one statement, and a tenant that chooses a lane",
    "tests/kernel/test_sessions.py": "a session that switches guards off",
    "tests/kernel/test_transactions.py": "rows of a table of its own",
    "tests/explorer/house.py": "a session of a party, with a time of its own",
    "tests/explorer/test_own_holdings.py": "a slice behind our back",
    "tests/inputs/house.py": "a session for each route",
    "tests/modules/paper.py": "inserts what rows.py made, under the product's action",
    "tests/modules/test_account_books.py": "a second live leg, which the database refuses",
    "tests/modules/test_funding.py": "a leap that the machine does not list",
    "tests/modules/test_nonces.py": "a sender that counts too far",
    "tests/modules/test_notices.py": "an address in the clear, which the database refuses",
    "tests/properties/walk.py": "random rows that the schema accepts, of every machine",
    "tests/reconciliation/split_token.py": "a split behind our back, by the superuser",
    "tests/story/test_a_paid_invoice.py": "puts the record back as it was told",
    "tests/story/test_a_thousand_tenants.py": "a thousand tenants' jobs in one statement",
    "tests/story/test_an_erased_person.py": "plants what must be found",
}
FEW_WORDS = {
    "test_inclusion": "named after the proof in RFC 6962",
    "test_consistency": "named after the proof in RFC 6962",
    "test_inclusion_vectors": "named after the file of vectors",
    "test_consistency_vectors": "named after the file of vectors",
    "test_keccak_vectors": "named after the file of vectors",
    "test_rlp_vectors": "named after the file of vectors",
}
_INSERT = re.compile(r"\binsert\s+into\b", re.IGNORECASE)
_TEST_FILE = re.compile(r"(?:^|\.)test_\w+")


def borrowed_from_tests(place: str, tree: ast.Module) -> list[str]:
    """Imports from a file of tests: whoever splits it breaks others."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [f"{place}:{node.lineno}: imports {name}" for name in names if _TEST_FILE.search(name)]
    return found


def rows_by_hand(place: str, tree: ast.Module) -> list[str]:
    """Rows that are typed where support/rows.py has a factory, or could have one."""
    if any(place == known or (known.endswith("/") and place.startswith(known)) for known in TYPED_BY_HAND):
        return []
    typed = [f"{place}:{text.lineno}: insert into" for text in strings(tree) if _INSERT.search(str(text.value))]
    calls = [node for node in nodes(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "audit.insert"]
    return typed + [f"{place}:{call.lineno}: {ast.unparse(call)[:60]}" for call in calls]


def applications_of_their_own(place: str, tree: ast.Module) -> list[str]:
    """Applications without the product's errors, limits and headers: app.http.create makes those that have them."""
    made = (node for node in nodes(tree) if isinstance(node, ast.Call))
    return [f"{place}:{call.lineno}: FastAPI()" for call in made if ast.unparse(call.func).split(".")[-1] == "FastAPI"]


def names_that_are_no_sentences(place: str, tree: ast.Module) -> list[str]:
    """Tests whose name does not say what is true when they pass."""
    functions = (node for node in nodes(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [
        f"{place}:{function.lineno}: {function.name}"
        for function in functions
        if function.name.startswith("test_")
        and function.name not in FEW_WORDS
        and len([word for word in function.name.split("_")[1:] if word]) < WORDS_MIN
    ]


def too_long(place: str, text: str) -> list[str]:
    """Files of more than 400 lines."""
    lines = len(text.splitlines())
    return [f"{place}: {lines} lines"] if lines > LINES_MAX and place not in LONGER else []


def _files(tests: Path = TESTS) -> Iterator[tuple[str, str]]:
    for path in sorted(tests.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


Rule = Callable[[str, ast.Module], list[str]]
RULES: tuple[Rule, ...] = (
    borrowed_from_tests, rows_by_hand, applications_of_their_own, names_that_are_no_sentences,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_of_tests_keeps_the_rule(rule: Rule) -> None:
    assert [fault for place, text in _files() for fault in rule(place, parsed(text))] == []


def test_no_file_of_tests_is_longer_than_four_hundred_lines() -> None:
    assert [fault for place, text in _files() for fault in too_long(place, text)] == []


def test_what_is_excepted_still_needs_to_be() -> None:
    texts = dict(_files())
    assert [place for place in LONGER if len(texts.get(place, "").splitlines()) <= LINES_MAX] == []
    typed = {place for place, text in texts.items() if _INSERT.search(text) or "audit.insert(" in text}
    assert [name for name in TYPED_BY_HAND if not any(place.startswith(name) for place in typed)] == []
    assert [name for name in FEW_WORDS if not any(f"def {name}(" in text for text in texts.values())] == []


PLANTED: list[tuple[Rule, str]] = [
    (borrowed_from_tests, "from tests.modules.test_kyc import Desk"),
    (borrowed_from_tests, "from tests.modules import test_kyc"),
    (borrowed_from_tests, "import tests.modules.test_kyc as kyc"),
    (borrowed_from_tests, "def late():\n    from tests.modules.test_kyc import Desk"),
    (rows_by_hand, 'await admin.execute("insert into app.invoices values (1)")'),
    (rows_by_hand, 'await admin.execute(f"INSERT\\n INTO app.{table} values (1)")'),
    (rows_by_hand, 'row = audit.insert("subjects", {})'),
    (rows_by_hand, "row = audit.insert(table, {})"),
    (applications_of_their_own, "app = FastAPI()"),
    (applications_of_their_own, "app = fastapi.FastAPI(title='x')"),
    (names_that_are_no_sentences, "def test_kyc(): ..."),
    (names_that_are_no_sentences, "async def test_it_works(): ..."),
    (names_that_are_no_sentences, "class TestKyc:\n    def test_desk(self): ..."),
]


@pytest.mark.parametrize(("rule", "text"), PLANTED)
def test_a_planted_fault_in_a_test_is_caught(rule: Rule, text: str) -> None:
    assert rule("tests/modules/test_any.py", parsed(text)) != []


def test_a_planted_line_too_many_is_caught() -> None:
    assert too_long("tests/modules/test_any.py", "x = 1\n" * (LINES_MAX + 1)) != []
    assert too_long("tests/modules/test_any.py", "x = 1\n" * LINES_MAX) == []


def test_what_keeps_the_rules_is_left_alone() -> None:
    good = (
        '"""Nothing says insert into here."""\nfrom tests.support import rows\n'
        "from tests.modules.kyc_desk import Desk\n"
        "row = rows.invoice('tnt_a')\ndef test_a_desk_is_open(): ...\napp = application.create()\n"
    )
    assert [fault for rule in RULES for fault in rule("tests/modules/test_any.py", parsed(good))] == []
