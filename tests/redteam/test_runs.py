"""A run against a system without holes: what it says, signs, keeps, and who may believe it (TI-09)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fintokenx.app import provision, redteam
from fintokenx.app.redteam import session
from fintokenx.app.redteam.attacks import api
from fintokenx.app.redteam.report import SIGNING_KEY
from fintokenx.kernel.caller import Role, system
from fintokenx.kernel.canonical import canonical_json
from fintokenx.parties import auth
from tests.redteam.house import House

pytestmark = pytest.mark.anyio


def test_the_catalogue_is_long_enough_and_every_attack_says_what_it_is() -> None:
    ids = [attack.id for attack in redteam.ATTACKS]
    assert len(ids) == len(set(ids)) >= redteam.ATTACKS_MIN
    for attack in redteam.ATTACKS:
        assert attack.title.endswith(".")
        assert attack.tries
        assert attack.holds


def test_the_documents_say_how_many_attacks_there_are() -> None:
    root = Path(__file__).parents[2]
    for name in ("README.md", "CHANGELOG.md", "docs/redteam.md"):
        assert f"{len(redteam.ATTACKS)} attacks" in (root / name).read_text(), name


def test_an_attack_that_is_not_there_cannot_be_chosen() -> None:
    assert {attack.family for attack in redteam.chosen(["pins"])} == {"pins"}
    with pytest.raises(KeyError):
        redteam.chosen(["RT-99999"])


async def _somebody_joins(place: House, tenant_id: str) -> None:
    """As `fintokenx staff create` does it, while a run is on."""
    subject_id = place.world.ids.new("sub")
    person = auth.SealedPerson("sealed:v1:x:y", "sealed:v1:x:y", f"index-{subject_id}")
    async with place.world.database.transaction(tenant_id, request_id="cli") as tx:
        await auth.create_staff(
            tx, system(tenant_id, "cli"), subject_id=subject_id, role=Role.MLRO, employer="Others", person=person
        )


@pytest.mark.parametrize("beside_the_record", [False, True])
async def test_what_others_do_meanwhile_is_told_from_what_the_attack_did(
    place: House, monkeypatch: pytest.MonkeyPatch, beside_the_record: bool
) -> None:
    async def meanwhile(_work: object) -> None:
        if beside_the_record:
            await place.plant(
                "alter table app.subjects disable trigger user; update app.subjects set legal_name = 'changed';"
                " alter table app.subjects enable trigger user"
            )
        else:
            for tenant_id in provision.TENANTS:
                await _somebody_joins(place, tenant_id)

    monkeypatch.setattr(api, "requests", lambda _scene: ())
    monkeypatch.setattr(api, "_all", meanwhile)
    [result] = (await place.play("RT-53")).values()
    assert result.broken is beside_the_record, result.detail


@pytest.mark.slow
async def test_a_whole_run_turns_every_attack_away_and_is_archived(place: House) -> None:
    done = await place.bypass()
    assert {result.attack.id: result.detail for result in done.results if result.broken} == {}
    assert (done.report.outcome, done.whole) == (0, True)
    assert done.report.body["summary"]["fingerprinted"] >= 1

    trusted = await session.signing_key(place.settings)
    assert redteam.opened(done.report.envelope(), trusted=trusted).body == done.report.body
    runs, overdue = await session.history(place.settings)
    [run] = runs
    assert (run.id, run.attacks, run.broken, run.outcome) == (done.archived_as, len(done.results), 0, 0)
    assert run.report_sha256 == hashlib.sha256(canonical_json(done.report.body)).hexdigest()
    assert (run.signature, run.signed_by_key, overdue) == (done.report.signature, SIGNING_KEY, False)

    connection = await place.superuser()
    actors = await connection.fetch("select actor_role, resource from app.audit_entries where action = 'REDTEAM_RUN'")
    live = await connection.fetchval("select count(*) from app.sessions where state = 'ACTIVE'")
    staff = await connection.fetch("select state from app.subjects where legal_name = 'Red Team'")
    keys = await connection.fetchval("select count(*) from app.api_keys where revoked_at is null")
    await connection.close()
    assert ([row["state"] for row in staff], keys) == (["SUSPENDED"] * 4, 0), "nor staff or keys that open a door"
    assert [(row["actor_role"], row["resource"]) for row in actors] == [("system", run.id)]
    assert live == 0, "a run leaves no session behind"


async def test_a_part_of_the_catalogue_is_not_archived_and_counts_for_nothing(place: House) -> None:
    done = await place.bypass("pins")
    assert [result.detail for result in done.results if result.broken] == []
    assert (done.whole, done.archived_as, done.report.outcome) == (False, "", 1)
    assert (await session.history(place.settings))[0] == []


async def test_a_report_that_was_changed_is_refused(place: House) -> None:
    done = await place.bypass("RT-03")
    content = done.report.envelope()
    trusted = await session.signing_key(place.settings)
    assert redteam.opened(content + b"\n", trusted=trusted).sha256 == done.report.sha256
    other = {**json.loads(content), "report": {**done.report.body, "outcome": 0}}
    rehashed = {**other, "sha256": hashlib.sha256(canonical_json(other["report"])).hexdigest()}
    bent = [
        canonical_json(other),
        canonical_json(rehashed),
        canonical_json({**json.loads(content), "public_key": "00" * 32}),
        canonical_json({**json.loads(content), "signature": "00" * 64}),
        canonical_json({**json.loads(content), "key": "other/1"}),
        content.replace(b'"v":1', b'"v": 1'),
        content[:-1],
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
    ]
    for changed in bent:
        with pytest.raises(redteam.ReportRefused):
            redteam.opened(changed, trusted=trusted)
    with pytest.raises(redteam.ReportRefused):
        redteam.opened(content, trusted=bytes(32))


async def test_a_system_that_does_not_answer_is_no_success(place: House) -> None:
    with pytest.raises(redteam.CouldNotRun):
        await redteam.play(place.settings, redteam.chosen(["RT-01"]))  # over real HTTP, where nobody listens
