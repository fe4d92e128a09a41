"""canTransfer's decision table, answered by the contracts on anvil, by the contracts in py-evm and by the predictor."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fintokenx.adapters.chain.signing import calldata
from fintokenx.lifecycle.tokenisation.ports import Claims
from tests.decisions.machines import PyEvmMachine, anvil_machine
from tests.decisions.network import Machine, Network, vault_in
from tests.decisions.prediction import RULES, Rule, TransferSnapshot, predict
from tests.decisions.table import EVERY_CLAIMS, REASONS, SOME_CLAIMS, Row, Table

pytestmark = pytest.mark.anyio

Answer = tuple[bool, str]


async def network_on(machine: Machine, folder: Path, table: Table) -> Network:
    """The table's state, made there."""
    network = Network(machine, vault_in(folder / "vault"), table)
    await network.build()
    return network


@dataclass
class Answered:
    """The table, what anvil said to it, and what stood on anvil's chain."""

    network: Network
    rows: list[Row]
    said: list[Answer]
    snapshots: list[TransferSnapshot]

    def differences(self, other: list[Answer]) -> list[tuple[Row, Answer, Answer]]:
        """Rows that the other answers in another way."""
        return [(row, a, b) for row, a, b in zip(self.rows, self.said, other, strict=True) if a != b]

    def predicted(self, rules: tuple[Rule, ...] = RULES) -> list[Answer]:
        """The predictor's answers."""
        return [predict(snapshot, rules) for snapshot in self.snapshots]


async def answered(machine: Machine, folder: Path, claims: Sequence[Claims]) -> Answered:
    """Ask the whole table over these claims."""
    network = await network_on(machine, folder, Table(claims))
    rows = list(network.table.rows())
    return Answered(network, rows, await network.answers(rows), await network.snapshots(rows))


@pytest.fixture(scope="module")
async def on_anvil() -> AsyncIterator[Answered]:
    """The short table on anvil."""
    with tempfile.TemporaryDirectory(prefix="fxd-") as folder:
        async with anvil_machine(Path(folder)) as machine:
            yield await answered(machine, Path(folder), SOME_CLAIMS)


async def test_the_predictor_gives_the_answer_and_reason_of_the_contracts_in_every_row(on_anvil: Answered) -> None:
    """CH-09 to CH-14 over the telling combinations of claims; the next but one takes all 32."""
    assert len(on_anvil.rows) > 15_000
    assert on_anvil.differences(on_anvil.predicted()) == []


async def test_every_reason_of_the_specification_is_in_the_table(on_anvil: Answered) -> None:
    counted = Counter(reason for _, reason in on_anvil.said)
    assert set(counted) == REASONS
    assert all(allowed == (reason == "ok") for allowed, reason in on_anvil.said)


@pytest.mark.slow
async def test_another_evm_gives_the_same_answers_and_reasons(on_anvil: Answered, tmp_path: Path) -> None:
    """The same transactions and questions; every seventh row, so that each value of each input stays in."""
    network = await network_on(PyEvmMachine(), tmp_path, on_anvil.network.table)
    chosen = on_anvil.rows[::7]
    said = await network.answers(chosen)
    assert {reason for _, reason in said} == REASONS
    assert said == on_anvil.said[::7]


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_all_three_agree_on_all_combinations(tmp_path: Path) -> None:
    """Must-show 3: every claims bitmap, three implementations, no difference."""
    with tempfile.TemporaryDirectory(prefix="fxd-") as folder:
        async with anvil_machine(Path(folder)) as machine:
            whole = await answered(machine, Path(folder), EVERY_CLAIMS)
        assert whole.differences(whole.predicted()) == []
        assert {reason for _, reason in whole.said} == REASONS
        other = await network_on(PyEvmMachine(), tmp_path, whole.network.table)
        assert whole.differences(await other.answers(whole.rows)) == []
        print(f"\n{len(whole.rows)} rows, 3 implementations, 0 differences: {Counter(r for _, r in whole.said)}")


@pytest.mark.parametrize("at", range(len(RULES) - 1))
async def test_two_rules_in_the_wrong_order_are_noticed(on_anvil: Answered, at: int) -> None:
    swapped = list(RULES)
    swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
    names = {RULES[at].reason, RULES[at + 1].reason}
    if names == {"unknown token", "token burned"}:
        assert not any(s.receivable.burned and not s.receivable.exists for s in on_anvil.snapshots)
        return
    assert on_anvil.differences(on_anvil.predicted(tuple(swapped))), names


@pytest.mark.parametrize("at", range(len(RULES)))
async def test_a_rule_left_out_is_noticed(on_anvil: Answered, at: int) -> None:
    assert on_anvil.differences(on_anvil.predicted(RULES[:at] + RULES[at + 1 :])), RULES[at].reason


async def test_the_deployed_contracts_name_the_standards_that_they_keep(on_anvil: Answered) -> None:
    """Must-show 2."""
    to = on_anvil.network.to
    kept = {
        to.token: {"41c4fbad", "d9b67a26", "01ffc9a7", "7f5828d0"},
        to.identity_registry: {"8ff89f73", "7f5828d0", "01ffc9a7"},
        to.topics: {"10928b13", "01ffc9a7"},
        to.issuers: {"b0f773b8", "7f5828d0", "01ffc9a7"},
    }
    asked = sorted(set().union(*kept.values(), {"b97d944c", "ffffffff"}))
    for contract, interfaces in kept.items():
        calls = [(contract, calldata("supportsInterface(bytes4)", bytes.fromhex(each))) for each in asked]
        said = await on_anvil.network.machine.ask(calls)
        assert {each for each, word in zip(asked, said, strict=True) if int.from_bytes(word, "big")} == interfaces
