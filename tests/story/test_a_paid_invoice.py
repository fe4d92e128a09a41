"""One invoice from its upload to the burned token; then somebody with all power over the database tries to lie."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from fintokenx import audit
from fintokenx.app import assembly, inspect
from fintokenx.app.checkpoint_signer import VaultSigner
from fintokenx.app.demo import FUNDED_WITH, LENDER, TENANT, default_invoice
from fintokenx.app.demo_paper import Paper
from fintokenx.app.local import LocalSystem, project_root
from fintokenx.app.provision import TENANTS
from fintokenx.audit import store
from fintokenx.audit.store.batches import sealed
from fintokenx.audit.store.tiles import size
from fintokenx.audit.types import GENESIS_HASH
from fintokenx.kernel.merkle import Frontier
from fintokenx.kernel.notes import Checkpoint, VerifierKey, signed_checkpoint, signed_note
from fintokenx.kernel.tiles import Growth, edge_of, hash_of, width_at
from fintokenx.sandbox.processes import free_port
from tests.story.house import Told, balance_pence, cli, count_of, mints_and_burns, payments, superuser, told

pytestmark = pytest.mark.anyio

FACE_PENCE = 12_480_00
NET_ADVANCE_PENCE = 12_292_80
"""£12,480.00 less 150 basis points, £187.20."""

ROOTS = {"merkle_batches": "id", "chain_anchors": "batch_id"}
TRIGGERS = (
    ("app.audit_entries", "a_append_only_rows"),
    ("app.audit_entries", "a_append_only_table"),
    ("app.merkle_batches", "a_checkpoint_once"),
    ("ops.log_tiles", "a_only_grows"),
)


@pytest.fixture(scope="module")
async def tale() -> AsyncIterator[Told]:
    """The demo's story, told to its end."""
    async with told(Paper.read(default_invoice())) as ended:
        yield ended


@pytest.fixture(scope="module")
def trail(tale: Told) -> list[dict[str, Any]]:
    """The invoice's entries as the command line prints them for machines."""
    shown = cli("audit", "show", tale.story.reference, "--json")
    assert shown.returncode == 0
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


async def test_it_ends_settled_burned_balanced_and_proved(tale: Told) -> None:
    outcome = tale.story.outcome
    assert (outcome.invoice_state, outcome.token_state) == ("SETTLED", "BURNED")
    assert not outcome.trial_difference
    assert outcome.entries == outcome.entries_proved >= 11


async def test_everybody_has_what_is_theirs_to_the_penny(tale: Told) -> None:
    """The lender paid the advance and got the face, the seller got the advance, the buyer paid the face."""
    collections = TENANTS[TENANT].collections
    assert tale.paper.total.value == FACE_PENCE
    assert await balance_pence(tale.system, *LENDER[2:]) == FUNDED_WITH - NET_ADVANCE_PENCE + FACE_PENCE
    assert await balance_pence(tale.system, *tale.paper.seller_account) == NET_ADVANCE_PENCE
    assert await balance_pence(tale.system, "990888", "20000088") == 2 * FACE_PENCE - FACE_PENCE
    assert await balance_pence(tale.system, collections.sort_code, collections.account_number) == 0


async def test_each_payment_was_told_to_the_bank_and_happened_once(tale: Told) -> None:
    done = await payments(tale.system)
    assert [row["effects"] for row in done] == [1, 1, 1]
    assert sorted(row["amount_pence"] for row in done) == [NET_ADVANCE_PENCE, NET_ADVANCE_PENCE, FACE_PENCE]


async def test_the_chain_made_and_destroyed_the_token_once(tale: Told) -> None:
    token = await tale.story.partner.get(f"/v1/tokens/{tale.story.outcome.token_reference}")
    assert await mints_and_burns(tale.system, token["token_id"]) == (1, 1)


@pytest.mark.parametrize(
    "action", ["CONFIRM_INVOICE", "TOKEN_MINT", "FUND_INVOICE", "RECEIVE_SETTLEMENT", "TOKEN_BURN"]
)
async def test_the_record_has_each_great_moment_once(tale: Told, action: str) -> None:
    assert await count_of(tale.system, action) == 1


async def test_the_trail_of_the_invoice_can_be_shown(tale: Told, trail: list[dict[str, Any]]) -> None:
    actions = [entry["action"] for entry in trail]
    assert actions[0] == "SUBMIT_INVOICE"
    assert actions[-1] == "TOKEN_BURN"
    assert len(actions) == tale.story.outcome.entries
    table = cli("audit", "show", tale.story.reference)
    assert table.returncode == 0
    assert all(entry["id"] in table.stdout for entry in trail)


async def test_nothing_recorded_is_said_and_fails(tale: Told) -> None:
    shown = cli("audit", "show", "FXI-0000000")
    assert shown.returncode == 1
    assert "nothing is recorded about 'FXI-0000000'" in shown.stderr
    unprintable = cli("audit", "show", "a\x1b[31mred", "--system", "a\x1b[31mred")
    assert unprintable.returncode == 1
    assert "\x1b" not in unprintable.stderr


async def test_a_system_that_is_not_there_is_named(tale: Told) -> None:
    refused = cli("audit", "key", "--system", "nope")
    assert refused.returncode == 1
    assert "there is no system nope" in refused.stderr


@pytest.mark.parametrize("name", ["", "x" * 3000])
async def test_a_key_without_a_proper_name_is_refused_in_one_line(tale: Told, name: str) -> None:
    refused = cli("keys", "create", "--tenant", "tnt_mercia", "--name", name)
    assert refused.returncode == 1
    assert "API_KEY_NAME_INVALID" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_nobody_without_a_name_becomes_staff(tale: Told) -> None:
    refused = cli("staff", "create", "--role", "mlro", "--name", " ", "--email", "a@b.example")
    assert refused.returncode == 1
    assert "1 to 200 visible characters" in refused.stderr


async def test_a_proof_is_checked_against_the_chain(trail: list[dict[str, Any]]) -> None:
    proof = cli("audit", "proof", trail[0]["id"])
    assert proof.returncode == 0
    assert "the proof holds against the chain" in proof.stdout


async def test_a_proof_is_of_an_entry_and_not_of_an_invoice(tale: Told) -> None:
    refused = cli("audit", "proof", tale.story.reference)
    assert (refused.returncode, "begins with aud_" in refused.stderr) == (2, True)


async def test_an_outsider_checks_a_bundle_of_the_whole_invoice_alone(tale: Told, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    made = cli("audit", "bundle", tale.story.reference, "--out", str(file))
    assert (made.returncode, made.stderr) == (0, ""), "no progress where nobody looks"
    bundle = json.loads(file.read_text())
    again = cli("audit", "bundle", tale.story.reference, "--out", str(file))
    assert (again.returncode, "is there already" in again.stderr) == (1, True), "evidence is not overwritten"
    piped = json.loads(cli("audit", "bundle", tale.story.reference, "--out", "-").stdout)
    assert piped["entries"] == bundle["entries"]
    assert len(bundle["entries"]) == tale.story.outcome.entries
    assert bundle["anchors"]
    assert all(anchor["header"] and anchor["receipt_proof"] for anchor in bundle["anchors"])
    key = cli("audit", "key").stdout.strip()
    assert bundle["log"]["key"] == key
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(project_root() / "verifier" / "fxverify.py", alone)
    command = [sys.executable, "-I", "fxverify.py", str(file), "--key", key]
    verified = subprocess.run(command, cwd=alone, capture_output=True, text=True, timeout=60, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Whether there are more entries about this was not checked" in verified.stdout + verified.stderr
    newest = cli("audit", "checkpoint").stdout
    said = signed_checkpoint(newest, VerifierKey.parse(key))
    assert said.size >= max(entry["tree_size"] for entry in bundle["entries"])


async def test_the_running_system_serves_the_open_log_to_anybody(tale: Told) -> None:
    """A stranger with an HTTP client rebuilds the newest root from the tiles."""
    settings = tale.system.settings()
    async with httpx.AsyncClient(base_url=f"{settings.public_url}/v1/log", trust_env=False) as stranger:
        key = VerifierKey.parse((await stranger.get("/key")).text)
        said = signed_checkpoint((await stranger.get("/checkpoint")).text, key)
        tiles = {}
        for tile in edge_of(said.size):
            width = width_at(tile, said.size)
            answer = await stranger.get(f"/tile/{tile.level}/{tile.index:03}.p/{width}")
            tiles[tile] = answer.content
        assert hash_of((0, said.size), tiles) == said.root
        anchors = (await stranger.get("/anchors")).json()["items"]
        assert (said.size, said.root.hex()) in [(anchor["tree_size"], anchor["root"]) for anchor in anchors]


async def test_there_is_no_proof_of_an_entry_that_does_not_exist(tale: Told) -> None:
    proof = cli("audit", "proof", "aud_00000000000000000000000000")
    assert proof.returncode == 1
    assert "NOT_FOUND" in proof.stderr


async def test_status_says_that_all_is_up(tale: Told) -> None:
    status = cli("status", "--json")
    assert status.returncode == 0
    found = json.loads(status.stdout)
    assert found["system"] == tale.system.name
    assert found["readiness"]["status"] == "ready"
    assert {"database", "vault", "chain", "sumsub", "complyadvantage", "bank"} <= set(found["readiness"]["components"])


async def test_status_of_a_system_that_was_never_made_fails(tale: Told) -> None:
    status = cli("status", "--system", "never-made")
    assert status.returncode == 1
    assert "not set up" in status.stdout


async def test_the_address_of_the_database_opens_it_in_that_role(tale: Told) -> None:
    url = cli("db", "url", "--role", "fx_auditor")
    assert url.returncode == 0
    connection = await asyncpg.connect(url.stdout.strip())
    try:
        assert await connection.fetchval("select current_user") == "fx_auditor"
    finally:
        await connection.close()


async def test_psql_as_the_platform_sees_no_tenant_and_writes_nothing(tale: Told) -> None:
    seen = cli("db", "psql", "--role", "fx_app", "--", "-At", "-c", "select count(*) from app.invoices")
    assert (seen.returncode, seen.stdout.strip()) == (0, "0")
    written = cli("db", "psql", "--role", "fx_app", "--", "-c", "update app.invoices set state = 'SETTLED'")
    assert written.returncode == 1
    assert "permission denied" in written.stderr


async def test_psql_as_an_unknown_role_is_refused(tale: Told) -> None:
    refused = cli("db", "psql", "--role", "fx_god")
    assert refused.returncode == 1
    assert "no such role" in refused.stderr


async def test_the_record_is_sound(tale: Told) -> None:
    verified = cli("audit", "verify")
    assert verified.returncode == 0
    assert "the record is sound" in verified.stdout


async def test_the_tables_are_what_the_record_says(tale: Told) -> None:
    """Issue 3, must-show 2, on the running system; a lie in one cell is named by table, key and column."""
    replayed = cli("audit", "replay")
    assert replayed.returncode == 0
    assert " 0 differing rows" in replayed.stdout
    async with superuser(tale.system) as connection:
        await connection.execute("alter table app.invoices disable trigger a_guard_change")
        await connection.execute("set session_replication_role = replica")
        await connection.execute(
            "update app.invoices set tenor_days = tenor_days + 1, maturity_date = maturity_date + 1"
        )
        lied = cli("audit", "replay", "--table", "invoices", "--json")
        await connection.execute(
            "update app.invoices set tenor_days = tenor_days - 1, maturity_date = maturity_date - 1"
        )
        await connection.execute("alter table app.invoices enable always trigger a_guard_change")
    assert lied.returncode == 1
    [table] = json.loads(lied.stdout)["tables"]
    [drift] = table["drifts"]
    assert tale.story.reference in drift["key"]
    assert {cell["column"] for cell in drift["cells"]} == {"tenor_days", "maturity_date"}
    assert cli("audit", "replay", "--table", "jobs").returncode == 1


async def test_the_chain_agrees_with_the_tables(tale: Told) -> None:
    """Issue 4, on the running system."""
    agreed = cli("chain", "reconcile", "--json")
    assert agreed.returncode == 0, agreed.stdout + agreed.stderr
    found = json.loads(agreed.stdout)
    assert (found["equal"], found["drifts"]) == (True, [])
    assert found["tokens"] >= 1
    async with superuser(tale.system) as connection:
        await connection.execute("alter table app.tokens disable trigger all")
        due = "update app.tokens set due_date = due_date"
        await connection.execute(f"{due} + 1")
        lied = cli("chain", "reconcile")
        await connection.execute(f"{due} - 1")
        await connection.execute("alter table app.tokens enable trigger all")
        await connection.execute("alter table app.tokens enable always trigger a_guard_change")
        await connection.execute("alter table app.tokens enable always trigger b_identity_is_fixed")
    assert lied.returncode == 1
    assert "token due FXR-INV-" in lied.stdout
    assert "chain and database do NOT agree" in lied.stdout
    assert cli("chain", "reconcile").returncode == 0


async def test_the_lender_sees_its_burnt_token_with_the_way_in_and_out_and_the_proof_of_both(tale: Told) -> None:
    """Issue 4, must-show 7: what the lender, and nobody else, is told; by API and in a browser."""
    lender, partner = await tale.story.signed_in_again("lender"), tale.story.partner
    [held] = (await lender.get("/v1/explorer/holdings"))["items"]
    reference = tale.story.outcome.token_reference
    assert (held["token_reference"], held["state"], held["agreement"]) == (reference, "BURNED", "equal")
    assert (held["face_pence"], held["chain_pence"], held["database_pence"]) == (FACE_PENCE, 0, 0)
    gone, came = (await lender.get("/v1/explorer/transfers"))["items"]
    told = [(each["kind"], each["direction"], each["counterparty"], each["entry"]["action"]) for each in (came, gone)]
    assert told == [
        ("transfer", "in", "fx_minting_wallet", "TOKEN_TRANSFER"),
        ("burn", "out", "nobody", "TOKEN_BURN"),
    ]
    anchors = (await lender.get("/v1/explorer/anchors"))["items"]
    for each in (came, gone):
        assert each["entry"]["anchor"] in anchors
        bundle = await lender.get(each["proof"])
        assert json.loads(bundle["entries"][0]["canonical"])["id"] == each["entry"]["id"]
        await _checked_by_an_outsider(bundle)
    asked = {"holder_subject_id": tale.story.subjects["lender"]}
    assert (await partner.get("/v1/explorer/holdings", **asked))["items"][0]["token_id"] == held["token_id"]
    link = (await lender.post("/v1/explorer/links", None, key="look"))["url"]
    page = await lender.page(link, {})
    assert page.status_code == 200
    assert all(word in page.text for word in (reference, came["tx_hash"], gone["tx_hash"], "burn, out"))
    assert (await lender.page(link, {})).status_code == 410


async def _checked_by_an_outsider(bundle: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bundle.json"
        file.write_text(json.dumps(bundle))
        command = [sys.executable, "-I", str(project_root() / "verifier" / "fxverify.py"), str(file), "--key"]
        verified = subprocess.run(
            [*command, cli("audit", "key").stdout.strip()], capture_output=True, text=True, timeout=60, check=False
        )
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize("away", ["chain", "database"])
async def test_without_chain_or_database_nothing_is_said_of_drift(tale: Told, away: str) -> None:
    """One clear line, on a system that has the other half of this one."""
    settings = tale.system.settings()
    nobody = f"127.0.0.1:{free_port()}"
    half = LocalSystem(f"no-{away}")
    half.folder.mkdir()
    (half.folder / "vault").symlink_to(tale.system.folder / "vault")
    if away == "chain":
        settings = settings.model_copy(update={"chain_rpc_urls": (f"http://{nobody}",)})
    else:
        settings = settings.model_copy(update={"database_url": f"postgresql://{nobody}/fintokenx"})
    settings.save(half.settings_path)
    asked = cli("chain", "reconcile", "--system", half.name)
    shutil.rmtree(half.folder)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert f"the {away} does not answer" in asked.stderr
    assert "Traceback" not in asked.stderr


async def test_one_changed_byte_is_found_and_its_entry_named(tale: Told) -> None:
    """Must-show 3: not even a superuser can change the record unseen."""
    entry_id, seq = await _confirmation(tale)

    async def one_byte(connection: asyncpg.Connection) -> None:
        changed = await connection.execute(
            "update app.audit_entries set actor = overlay(actor placing 'X' from 1 for 1) where seq = $1", seq
        )
        assert changed == "UPDATE 1"

    async with _rewritten(tale, one_byte):
        found = cli("audit", "verify")
        assert found.returncode == 1
        assert entry_id in found.stdout
        assert "its content is not what was hashed" in found.stdout
        assert "the record is NOT sound" in found.stdout
        assert cli("audit", "proof", entry_id).returncode == 1
    assert cli("audit", "verify").returncode == 0


async def test_a_removed_entry_is_found(tale: Told) -> None:
    _entry_id, seq = await _confirmation(tale)

    async def gone(connection: asyncpg.Connection) -> None:
        await connection.execute("delete from app.audit_entries where seq = $1", seq)

    async with _rewritten(tale, gone):
        found = cli("audit", "verify")
        assert found.returncode == 1
        assert f"entry {seq}: missing" in found.stdout
    assert (await inspect.verify(tale.system, lambda _seq, _total: None)).sound


async def test_a_rewrite_that_is_consistent_in_itself_differs_from_the_chain(tale: Told) -> None:
    """Every hash, link, tile, root, checkpoint and anchor row is made to fit the lie, with the vault's own key; the
    chain's anchors are not."""
    _entry_id, seq = await _confirmation(tale)

    async def everything_after(connection: asyncpg.Connection) -> None:
        await connection.execute("update app.audit_entries set actor = 'somebody else' where seq = $1", seq)
        await _make_consistent(connection, tale.system)
        without_the_chain = await audit.verify(connection, None)
        assert without_the_chain.sound, without_the_chain.faults

    async with _rewritten(tale, everything_after):
        found = cli("audit", "verify", "--json")
        assert found.returncode == 1
        verdict = json.loads(found.stdout)
        assert verdict["faults"]
        assert all("its root differs from the anchor on chain" in fault for fault in verdict["faults"])
    assert (await inspect.verify(tale.system, lambda _seq, _total: None)).sound


async def _confirmation(tale: Told) -> tuple[str, int]:
    """The entry that a liar would want to change: who confirmed the invoice."""
    async with superuser(tale.system) as connection:
        row = await connection.fetchrow("select id, seq from app.audit_entries where action = 'CONFIRM_INVOICE'")
    assert row is not None
    return row["id"], row["seq"]


@asynccontextmanager
async def _rewritten(tale: Told, lie: Callable[[asyncpg.Connection], Awaitable[None]]) -> AsyncIterator[None]:
    """The record with a superuser's lie in it; afterwards it is as it was. (The story is over: nobody writes.)"""
    async with superuser(tale.system) as connection:
        for name in ("audit_entries", *ROOTS):
            await connection.execute(f"create temporary table {name}_as_told as table app.{name}")
        await connection.execute("create temporary table log_tiles_as_told as table ops.log_tiles")
        try:
            async with _undefended(connection):
                await lie(connection)
            yield
        finally:
            async with _undefended(connection):
                await connection.execute("delete from app.audit_entries")
                await connection.execute("insert into app.audit_entries select * from audit_entries_as_told")
                await connection.execute("delete from ops.log_tiles")
                await connection.execute("insert into ops.log_tiles select * from log_tiles_as_told")
                await connection.execute(
                    "update app.merkle_batches now set checkpoint = told.checkpoint from merkle_batches_as_told told"
                    " where told.id = now.id"
                )
                for name, key in ROOTS.items():
                    await connection.execute(
                        f"update app.{name} now set root = told.root from {name}_as_told told"
                        f" where told.{key} = now.{key}"
                    )


@asynccontextmanager
async def _undefended(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """What only a superuser can do: put the record's triggers to sleep."""
    for table, name in TRIGGERS:
        await connection.execute(f"alter table {table} disable trigger {name}")
    try:
        yield
    finally:
        for table, name in TRIGGERS:
            await connection.execute(f"alter table {table} enable always trigger {name}")


async def _make_consistent(connection: asyncpg.Connection, system: LocalSystem) -> None:
    """Hash, link, tile, root and sign everything anew, as the format says."""
    log = await assembly.log_identity(system.settings(), system.vault())
    signer = VaultSigner(system.vault())
    batches = {batch.tree_size: batch for batch in await sealed(connection)}
    frontier, growth, previous = Frontier(), Growth(), GENESIS_HASH
    held = await size(connection)
    for entry in [entry async for entry in store.all_entries(connection)]:
        linked = replace(entry, prev_hash=previous)
        await connection.execute(
            "update app.audit_entries set prev_hash = $2, hash = $3 where seq = $1",
            linked.seq, linked.prev_hash, linked.recomputed_hash(),
        )  # fmt: skip
        previous = linked.recomputed_hash()
        frontier.extend([previous])
        if growth.size < held:
            growth.extend([previous])
        if batch := batches.get(frontier.size):
            root = frontier.root()
            text = Checkpoint(log.key.name, batch.tree_size, root).text()
            note = signed_note(text, log.key, await signer.sign(text.encode()))
            await connection.execute(
                "update app.merkle_batches set root = $2, checkpoint = $3 where id = $1", batch.id, root, note
            )
            await connection.execute("update app.chain_anchors set root = $2 where batch_id = $1", batch.id, root)
    for tile, content in growth.added.items():
        await connection.execute(
            "update ops.log_tiles set hashes = $3 where level = $1 and index = $2",
            tile.level, tile.index, bytes(content),
        )  # fmt: skip
