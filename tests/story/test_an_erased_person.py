"""Three people do business, are told about, and are erased: what stays proves everything and tells nothing.

Must-show 6 of issue 3 (AD-14, SB-01, SB-05, CO-09): the words below go in through the API by every field for a person
that there is, and are looked for in a full dump, in the blob folder and in the logs.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fintokenx.adapters.blobs import DataKeys, EncryptedBlobs
from fintokenx.app import base, cast, catalogue, demo, inspect, wiring
from fintokenx.app.api_client import Api, ApiRefused, eventually
from fintokenx.app.demo import TENANT, default_invoice
from fintokenx.app.demo_paper import Paper
from fintokenx.kernel.caller import system as system_caller
from fintokenx.kernel.sealing import SealBroken, Sealer, Shredded
from fintokenx.parties import compliance
from tests.story.canaries import dump_of, files_of, found_in
from tests.story.house import cli, running, story_of, superuser, the_day_after
from tests.support import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ERASED = ("seller", "buyer", "lender")
PEOPLE = {
    "seller": "Zoë Zyxwvseller", "buyer": "Bruna Zyxwvbuyer", "lender": "Lorcan Zyxwvlender", "mlro": "Mira Officer"
}  # fmt: skip
RATIONALE = "Identity verified, no hits, plausible business."
BORN_ON = "1980-02-29"
ADDRESS = "127.0.0.1"
FIELDS = sorted({column.field for column in catalogue.SEALED.values() if not column.is_secret})


def address_of(who: str) -> str:
    return f"{who}.zyxwv@canary-{who}.example"


WORDS = (*(PEOPLE[who] for who in ERASED), *(address_of(who) for who in ERASED), RATIONALE, BORN_ON, ADDRESS)
REASON = {"reason": "Asked for by letter; the business is at its end."}


@dataclass
class After:
    """What was taken down before the erasure, and how the system looked before and after."""

    story: demo.Story
    blocked: dict[str, str] = field(default_factory=dict)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    proofs: dict[str, dict[str, Any]] = field(default_factory=dict)
    erasures: dict[str, Any] = field(default_factory=dict)
    mlro: Api = field(init=False)
    asked: dict[str, Any] = field(default_factory=dict)
    clear_before: set[str] = field(default_factory=set)
    """What a dump and the blobs held in clear before anybody was erased."""


@pytest.fixture(scope="module")
async def after() -> AsyncIterator[After]:
    with pytest.MonkeyPatch.context() as names:
        names.setattr(cast, "PEOPLE", PEOPLE)
        names.setattr(cast.Cast, "email_of", lambda _cast, who: address_of(who))
        paper = Paper.read(default_invoice())
        async with running(the_day_after(paper)) as system:
            story = story_of(system, paper)
            try:
                yield await _told_and_erased(After(story))
            finally:
                await story.aclose()


async def _told_and_erased(after: After) -> After:
    story = after.story
    await story.tell(until="fund")
    after.blocked = {who: await _refusal(story.mlro, story.subjects[who]) for who in ERASED}
    await story.tell(since="mature_and_pay")
    mlro = after.mlro = await story.signed_in_again("mlro")
    await inspect.anchor_now(story.system)
    sealed = await _entries_with_seals(after)
    for start in range(0, len(sealed), 100):
        asked = after.asked = {"entries": sealed[start : start + 100], "fields": FIELDS}
        assert len(sealed) <= 100, "or the replay below asks for less than all of it"
        after.evidence += (await mlro.post("/v1/audit/disclosures", asked, key=f"tell-{start}"))["disclosed"]
    for entry_id in {one["entry_id"] for one in after.evidence}:
        after.proofs[entry_id] = await eventually(f"the anchor of {entry_id}", lambda e=entry_id: _proof(mlro, e))
    after.clear_before = await _in_clear(after)
    for who in ERASED:
        path = f"/v1/subjects/{story.subjects[who]}/erasure"
        after.erasures[who] = await mlro.post(path, REASON, key=f"erase-{who}")
    return after


async def _refusal(mlro: Api, subject_id: str) -> str:
    try:
        await mlro.post(f"/v1/subjects/{subject_id}/erasure", REASON, key=f"too-early-{subject_id}")
    except ApiRefused as refused:
        return f"{refused.code} {refused.problem.get('why')}"
    return "erased"


async def _proof(mlro: Api, entry_id: str) -> Any:
    try:
        return await mlro.get(f"/v1/audit/entries/{entry_id}/proof")
    except ApiRefused as refused:
        if refused.code == "PROOF_PENDING":
            return None
        raise


async def _entries_with_seals(after: After) -> list[str]:
    async with superuser(after.story.system) as connection:
        rows = await connection.fetch(
            "select id from app.audit_entries where diff::text like '%sealed:v1:%' and tenant_id = $1 order by seq",
            TENANT,
        )
    return [row["id"] for row in rows]


async def _in_clear(after: After) -> set[str]:
    found = found_in(await dump_of(after.story.system), WORDS)
    for _name, content in files_of(after.story.system.folder / "blobs"):
        found |= found_in(content, WORDS)
    return found


@asynccontextmanager
async def platform(after: After) -> AsyncIterator[tuple[base.Base, Sealer, EncryptedBlobs]]:
    """The platform's own means of opening things, in a process that remembers no key."""
    system = after.story.system
    async with wiring.base(system.settings(), pool_size=2) as on:
        keys = DataKeys(on.database, on.vault, os.urandom)
        blobs = EncryptedBlobs(on.settings.blobs_url, on.vault, keys, os.urandom)
        yield on, Sealer(on.database, on.vault, os.urandom), blobs


def told(after: After, *fields: str) -> set[str]:
    """What was told of these fields before the erasure."""
    return {one["value"] for one in after.evidence if one["field"] in fields}


async def test_every_word_had_gone_in_and_was_told_when_asked(after: After) -> None:
    """Otherwise the searches below would look for what was never there."""
    assert told(after, "name", "representative_name") >= {PEOPLE[who] for who in ERASED}
    assert told(after, "email") >= {address_of(who) for who in ERASED}
    assert (told(after, "born_on"), told(after, "ip")) == ({BORN_ON}, {ADDRESS})
    assert RATIONALE in told(after, "rationale")


async def test_nothing_personal_ever_rested_in_clear(after: After) -> None:
    assert after.clear_before == set()


async def test_nobody_is_erased_while_the_law_or_money_needs_them(after: After) -> None:
    assert after.blocked == {
        "seller": "ERASURE_BLOCKED INVOICE_OPEN",
        "buyer": "ERASURE_BLOCKED INVOICE_OPEN",
        "lender": "ERASURE_BLOCKED TOKEN_HELD",
    }


async def test_an_erasure_is_on_record_and_harmless_when_done_twice(after: After) -> None:
    story = after.story
    again = await after.mlro.post(f"/v1/subjects/{story.subjects['seller']}/erasure", REASON, key="erase-again")
    assert again == after.erasures["seller"]
    async with superuser(story.system) as connection:
        rows = await connection.fetch(
            "select e.resource, e.actor_role, s.state, coalesce(s.email_sealed, s.email_index, 'nothing') as address,"
            " k.wrapped_key is null as key_is_gone from app.audit_entries e join app.subjects s on s.id = e.resource"
            " join ops.subject_keys k on k.subject_id = s.id where e.action = 'SUBJECT_ERASE'"
        )
    assert sorted(tuple(row) for row in rows) == sorted(
        (story.subjects[who], "mlro", "ERASED", "nothing", True) for who in ERASED
    )


async def test_an_erased_person_is_signed_out(after: After) -> None:
    with pytest.raises(ApiRefused) as refused:
        await after.story.seller.get("/v1/me")
    assert refused.value.status == 401


async def test_a_dump_and_the_blobs_hold_none_of_the_words(after: After) -> None:
    assert await _in_clear(after) == set()


async def test_the_platform_itself_opens_nothing_of_the_erased(after: After) -> None:
    """Every seal in every entry and every blob, with all that the platform has: what opens tells none of the words."""
    opened: list[bytes] = []
    shredded = 0
    async with platform(after) as (on, sealer, blobs):
        async with on.database.transaction(TENANT) as tx:
            values = await compliance.find_sealed(
                tx,
                system_caller(TENANT, "test"),
                entry_ids=await _entries_with_seals(after),
                fields=FIELDS,
                sealed=catalogue.SEALED,
            )
        for value in values:
            try:
                opened.append((await sealer.open(TENANT, value.owner, value.field, value.sealed)).encode())
            except Shredded:
                shredded += 1
        gone = 0
        for name, _content in files_of(after.story.system.folder / "blobs"):
            try:
                opened.append(await blobs.get(name.split("/")[0], name))
            except Shredded:
                gone += 1
    assert shredded >= len([one for one in after.evidence if one["value"] in WORDS]) >= 3 * 5
    assert gone == 3 * 2, "two gates, three companies"
    assert found_in(b"\n".join(opened), WORDS) == set()
    assert opened, "the mlro is still there, and so are the invoice's documents"


async def test_old_evidence_still_proves_every_disclosed_field(after: After, tmp_path: Path) -> None:
    """Checked as a stranger would, by the lone file, from bundles that were handed out before the erasure."""
    told_of: dict[str, list[dict[str, str]]] = {}
    for one in after.evidence:
        field = {name: one[name] for name in ("pointer", "field", "salt", "value")}
        told_of.setdefault(one["entry_id"], []).append(field)
    assert told_of
    for entry_id, fields in told_of.items():
        bundle = after.proofs[entry_id]
        bundle["entries"][0]["disclosed"] = sorted(fields, key=lambda field: field["pointer"])
        code, said = verified(tmp_path, bundle)
        assert code in (0, 3), said  # 3: its anchor was not there yet when it was handed out
        assert all(json.dumps(field["value"]) in said for field in fields)
    bundle["entries"][0]["disclosed"][0]["value"] += " "
    code, said = verified(tmp_path, bundle)
    assert (code, said.split(":")[0]) == (1, "False")


async def test_the_command_line_tells_an_officer_and_says_so_on_record(after: After) -> None:
    async with superuser(after.story.system) as connection:
        row = await connection.fetchrow(
            "select e.id, s.id as mlro from app.audit_entries e join app.subjects s on s.id = e.resource"
            " where s.role = 'mlro' and e.action = 'STAFF_CREATE'"
        )
        assert row is not None
    erased = after.story.subjects["seller"]
    other = await inspect.create_staff(after.story.system, TENANT, "platform_admin", "Pia", "pia@canary.example")
    for by, code in (("sub_x", "NOT_AN_OFFICER"), (erased, "NOT_AN_OFFICER"), (other, "ROLE_FORBIDDEN")):
        refused = cli("audit", "disclose", row["id"], "--field", "email", "--by", by)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert code in refused.stderr
    await inspect.anchor_now(after.story.system)
    for half in (("--field", "email"), ("--by", row["mlro"])):
        unclear = cli("audit", "bundle", row["mlro"], *half)
        assert unclear.returncode == 2
        assert "--field and --by go together" in unclear.stderr
    refused = cli("audit", "bundle", row["mlro"], "--field", "email", "--by", "sub_x")
    assert refused.returncode == 1
    assert "NOT_AN_OFFICER" in refused.stderr
    told = cli("audit", "disclose", row["id"], "--field", "email", "--by", row["mlro"])
    assert told.returncode == 0, told.stderr
    assert {one["value"] for one in json.loads(told.stdout)} == {address_of("mlro")}
    async with superuser(after.story.system) as connection:
        last = await connection.fetchrow(
            "select actor, actor_role, resource from app.audit_entries where action = 'PERSONAL_DATA_DISCLOSE'"
            " order by seq desc limit 1"
        )
    assert last is not None
    assert tuple(last) == (row["mlro"], "mlro", row["mlro"])


def verified(folder: Path, bundle: Any) -> tuple[int, str]:
    """What the outsider's verifier says."""
    file = folder / "evidence.json"
    file.write_text(json.dumps(bundle))
    command = [sys.executable, "-I", str(ROOT / "verifier" / "fxverify.py"), str(file), "--key", bundle["log"]["key"]]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stdout


async def test_new_evidence_says_that_the_field_is_shredded(after: After) -> None:
    mlro = after.mlro
    ours = next(one for one in after.evidence if one["value"] == PEOPLE["seller"])
    asked = {"entries": [ours["entry_id"]], "fields": [ours["field"]]}
    [told_now] = (await mlro.post("/v1/audit/disclosures", asked, key="tell-again"))["disclosed"]
    assert (told_now["shredded"], told_now["salt"], told_now["value"]) == (True, None, None)
    assert told_now["pointer"] == ours["pointer"]
    # An answer that is asked for again under its old key tells no more than that either.
    everything = json.dumps(await mlro.post("/v1/audit/disclosures", after.asked, key="tell-0"))
    assert found_in(everything.encode(), WORDS) == set()


async def test_that_it_was_told_is_on_record_without_being_told_there(after: After) -> None:
    async with superuser(after.story.system) as connection:
        rows = await connection.fetch(
            "select resource, diff::text as diff from app.audit_entries where action = 'PERSONAL_DATA_DISCLOSE'"
        )
    assert {after.story.subjects[who] for who in ERASED} <= {row["resource"] for row in rows}
    facts = [json.loads(row["diff"])["facts"][0] for row in rows if row["resource"] == after.story.subjects["buyer"]]
    assert set(facts[0]["fields"]) == {"email", "ip", "rationale", "representative_name"}


async def test_the_record_is_sound(after: After) -> None:
    verified = cli("audit", "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["faults"]) == (0, []), verified.stderr


async def test_a_replay_of_the_record_gives_the_same_rows(after: After) -> None:
    """P-06: what is shredded is carried along as it stands."""
    async with superuser(after.story.system) as connection, connection.transaction():
        tables = [
            row["table_name"]
            for row in await connection.fetch(
                "select table_name from fx.tables where kind = 'tenant' and table_name <> 'audit_entries'"
            )
        ]
        await connection.execute("create schema shadow")
        for table in tables:
            await connection.execute(f"create table shadow.{table} (like app.{table})")
        for entry in await connection.fetch("select diff::text as diff from app.audit_entries order by seq"):
            await connection.execute("select fx.apply('shadow', ($1::text::jsonb) -> 'rows')", entry["diff"])
        differing = {table: await _differences(connection, table) for table in tables}
        await connection.execute("drop schema shadow cascade")
    assert {table: n for table, n in differing.items() if n} == {}


async def _differences(connection: asyncpg.Connection, table: str) -> int:
    return int(
        await connection.fetchval(
            f"select count(*) from ((select to_jsonb(a) from app.{table} a except all select to_jsonb(s)"
            f" from shadow.{table} s) union all (select to_jsonb(s) from shadow.{table} s except all"
            f" select to_jsonb(a) from app.{table} a)) as differing"
        )
    )


async def test_the_logs_held_none_of_the_words_either(after: After) -> None:
    """SB-05: the platform's and the database's. A mock provider's log is the provider's own."""
    logs = {
        name: content for name, content in files_of(after.story.system.folder)
        if name.endswith(".log") and not name.endswith("mocks.log")
    }  # fmt: skip
    assert any(name.endswith("platform.log") and len(content) > 1000 for name, content in logs.items()), logs.keys()
    words = [word for word in WORDS if word != ADDRESS]  # where the platform listens stands there
    assert {name: found_in(content, words) for name, content in logs.items() if found_in(content, words)} == {}


@pytest.mark.parametrize("column", ["note text", "note bytea"])
async def test_a_planted_leak_is_found(after: After, column: str) -> None:
    """The twin: a column in clear, and one that holds a packed copy."""
    secret: Iterable[Any] = [PEOPLE["buyer"] if "text" in column else gzip.compress(address_of("buyer").encode())]
    async with superuser(after.story.system) as connection:
        await connection.execute(f"create table public.planted ({column})")
        await connection.execute("insert into public.planted values ($1)", *secret)
        try:
            found = await _in_clear(after)
        finally:
            await connection.execute("drop table public.planted")
    assert found == {PEOPLE["buyer"] if "text" in column else address_of("buyer")}


async def test_another_persons_key_opens_no_seal(after: After) -> None:
    async with platform(after) as (on, sealer, _blobs):
        async with on.database.transaction(TENANT) as tx:
            [value, *_] = await compliance.find_sealed(
                tx,
                system_caller(TENANT, "test"),
                entry_ids=[after.evidence[0]["entry_id"]],
                fields=FIELDS,
                sealed=catalogue.SEALED,
            )
        with pytest.raises((SealBroken, Shredded)):
            await sealer.open(TENANT, after.story.subjects["lender"], value.field, value.sealed)
