"""What a newcomer meets first: a start, the samples, a cast to act with, the clock and the mailbox (A 10, A 19)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path

import httpx
import pytest

from fintokenx.app import seed as seeding
from fintokenx.app.cli.systems import SAMPLES_AT
from fintokenx.app.demo_paper import Paper
from fintokenx.app.local import LocalSystem
from tests.story.house import SAMPLES, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[LocalSystem]:
    """A new system, as `make up` starts one."""
    async with running(SAMPLES_AT.replace(tzinfo=UTC)) as started:
        yield started


@pytest.fixture(scope="module")
async def seeded(system: LocalSystem) -> seeding.Seeded:
    """Its cast, brought in twice: the second time only the sessions are new."""
    first = await seeding.seed(system, lambda _what: None)
    second = await seeding.seed(system, lambda _what: None)
    assert [seat.subject_id for seat in first.seats] == [seat.subject_id for seat in second.seats]
    assert first.api_keys == second.api_keys
    return second


@pytest.mark.parametrize("truth", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_is_issued_and_not_yet_due_when_a_new_system_starts(truth: Path) -> None:
    paper = Paper.read(truth)
    assert paper.issued <= SAMPLES_AT.date() < paper.due


async def test_the_cast_has_every_role_in_every_tenant_signed_in(system: LocalSystem, seeded: seeding.Seeded) -> None:
    assert {(seat.tenant_id, seat.role) for seat in seeded.seats} == {
        *((tenant, role) for tenant in ("tnt_fintokenx", "tnt_mercia") for role in (
            "seller", "buyer", "lender", "investor", "broker", "partner_admin", "mlro", "compliance")),
        ("tnt_fintokenx", "platform_admin"),
    }  # fmt: skip
    async with httpx.AsyncClient(base_url=system.settings().public_url) as http:
        for seat in seeded.seats:
            headers = {"Authorization": f"Bearer {seat.token}", "FX-Api-Key": seeded.api_keys[seat.tenant_id]}
            me = (await http.get("/v1/me", headers=headers)).json()
            assert (me["subject_id"], me["role"], me["state"]) == (seat.subject_id, seat.role, "ACTIVE")
            assert me["aal"] == (2 if seat.role == "platform_admin" else 1)


async def test_mail_is_there_again_when_the_mock_servers_have_died(system: LocalSystem, seeded: seeding.Seeded) -> None:
    mailbox = f"{system.settings().sandbox_control_urls['mailbox']}/messages"
    async with httpx.AsyncClient() as http:
        before = (await http.get(mailbox)).json()["messages"]
        assert seeded.seats[0].email in before[0]["to"]
        system.mocks.kill()
        await system.up(lambda _what: None)
        assert (await http.get(mailbox)).json()["messages"] == before


async def test_moving_the_clock_past_a_sessions_life_says_that_all_are_signed_out(system: LocalSystem) -> None:
    async with httpx.AsyncClient(base_url=system.settings().public_url) as http:
        for minutes, word in ((5, None), (31, "fintokenx seed")):
            to = system.clock().now() + timedelta(minutes=minutes)
            note = (await http.post("/v1/sandbox/clock", json={"to": to.isoformat()})).json()["note"]
            assert note is None if word is None else word in note


async def test_a_start_that_is_interrupted_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o711)  # Postgres runs as another user when we are root
    monkeypatch.setenv("FX_HOME", str(tmp_path))
    system = LocalSystem("interrupted")
    command = [sys.executable, "-m", "fintokenx.app.cli", "up", "--system", system.name]
    # Who runs the tests in the background may have them ignore the signal, and children inherit that.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as starting:
            assert starting.stderr is not None
            while "the chain" not in starting.stderr.readline():
                assert starting.poll() is None
            assert (await system.postgres()).running
            starting.send_signal(signal.SIGINT)
            starting.communicate(timeout=60)
        assert starting.returncode == 130
        assert not (await system.postgres()).running
        assert not system.anvil().running
    finally:
        signal.signal(signal.SIGINT, handler)
        await system.destroy()


def test_what_was_cut_off_in_the_mailboxs_file_is_no_message(tmp_path: Path) -> None:
    from fintokenx.sandbox.providers.mailbox import Box, Kept

    path = tmp_path / "mailbox.jsonl"
    box = Box(path)
    for number in (1, 2):
        box.keep(Kept(number, f"<{number}@here>", "us", ["you@there.example"], "s", f"text {number}", "now"))
    again = box.messages["<1@here>"]
    again.deliveries += 1
    box.keep(again)
    with path.open("a") as file:
        file.write(json.dumps({"number": 3})[:7])
    found = Box(path)
    assert [(message.number, message.deliveries) for message in found.messages.values()] == [(1, 2), (2, 1)]
    assert found.arrived == 2
