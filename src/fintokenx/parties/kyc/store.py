"""All SQL of kyc, and the row operations on its own tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fintokenx import audit
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Row, Tx
from fintokenx.parties.kyc.transitions import FileState, GateRunState
from fintokenx.parties.kyc.types import BankAccount, GateRun, Hit, OnboardingFile, Party

_FILE = (
    "id, subject_id, form_version, state, company_name, company_number, opened_at, submitted_at, mlro_decided_at,"
    " mlro_decided_by, rationale_hash"
)
_RUN = (
    "id, file_id, subject_id, gate, attempt, provider, provider_ref, state, verdict, raw_payload_ref,"
    " started_at, requested_at, delay_alerted_at, finished_at"
)
_PARTY = "id, kind, roles, name_sealed, born_on_sealed, applicant_ref"


async def lock_subject(tx: Tx, subject_id: str) -> None:
    """Make the gates of one subject wait for each other until the transaction ends."""
    await tx.lock(f"onboarding_files:{subject_id}")


def _file(row: Row | None) -> OnboardingFile | None:
    return OnboardingFile(**{**dict(row), "state": FileState(row["state"])}) if row else None


def _run(row: Row | None) -> GateRun | None:
    return GateRun(**{**dict(row), "state": GateRunState(row["state"])}) if row else None


async def file(tx: Tx, file_id: str) -> OnboardingFile | None:
    """One file of the pinned tenant."""
    return _file(await tx.row(f"select {_FILE} from app.onboarding_files where id = $1", file_id))


async def newest_file(tx: Tx, subject_id: str) -> OnboardingFile | None:
    """The subject's undecided attempt, else the latest one."""
    return _file(
        await tx.row(
            f"select {_FILE} from app.onboarding_files where subject_id = $1"
            " order by mlro_decided_at desc nulls first, id desc limit 1",
            subject_id,
        )
    )


async def parties(tx: Tx, file_id: str) -> tuple[Party, ...]:
    """Everybody in the file, the company first."""
    rows = await tx.rows(f"select {_PARTY} from app.onboarding_parties where file_id = $1 order by id", file_id)
    return tuple(Party(**{**dict(row), "roles": tuple(row["roles"])}) for row in rows)


async def persons_of(tx: Tx, subject_id: str) -> list[str]:
    """Everybody who ever stood in a file of the subject; an id is also the name of their key."""
    rows = await tx.rows(
        "select p.id from app.onboarding_parties p"
        " join app.onboarding_files f on f.tenant_id = p.tenant_id and f.id = p.file_id"
        " where f.subject_id = $1 and p.kind = 'individual' order by p.id",
        subject_id,
    )
    return [row["id"] for row in rows]


async def is_being_checked(tx: Tx, subject_id: str) -> bool:
    """Whether a file is undecided or a gate runs."""
    found = await tx.value(
        "select exists (select from app.onboarding_files where subject_id = $1 and state in ('DRAFT', 'SUBMITTED'))"
        " or exists (select from app.gate_runs where subject_id = $1 and finished_at is null)",
        subject_id,
    )
    return bool(found)


async def party_at_provider(tx: Tx, party_id: str) -> tuple[str, str | None] | None:
    """Which file a party stands in, and which applicant it is, once that has been noted."""
    row = await tx.row("select file_id, applicant_ref from app.onboarding_parties where id = $1", party_id)
    return (row["file_id"], row["applicant_ref"]) if row else None


async def run(tx: Tx, run_id: str) -> GateRun | None:
    """One gate run of the pinned tenant."""
    return _run(await tx.row(f"select {_RUN} from app.gate_runs where id = $1", run_id))


async def newest_runs(tx: Tx, file_id: str) -> dict[int, GateRun]:
    """The newest run of each gate that has begun."""
    rows = await tx.rows(
        f"select distinct on (gate) {_RUN} from app.gate_runs where file_id = $1 order by gate, attempt desc",
        file_id,
    )
    return {row["gate"]: GateRun(**dict(row)) for row in rows}


async def checks_behind(tx: Tx, file_id: str) -> dict[int, Instant]:
    """Of gates 1 and 2, when the answers behind the newest CLEAR were had; of a decision on hits, those that it is
    about."""
    rows = await tx.rows(
        """select newest.gate, min(r.finished_at) as checked_at
             from (select distinct on (gate) gate, raw_payload_ref from app.gate_runs
                    where file_id = $1 and gate in (1, 2) and verdict = 'CLEAR'
                    order by gate, attempt desc) newest
             join app.gate_runs r
               on r.file_id = $1 and r.gate = newest.gate and r.raw_payload_ref = newest.raw_payload_ref
            group by newest.gate""",
        file_id,
    )
    return {row["gate"]: row["checked_at"] for row in rows}


async def undiscounted_hits(tx: Tx, run_id: str) -> list[str]:
    """Ids of the hits that nobody has found to be somebody else."""
    rows = await tx.rows(
        "select id from app.screening_hits where run_id = $1 and discounted_by_case is null order by id", run_id
    )
    return [row["id"] for row in rows]


async def decision_noted(tx: Tx, case_id: str) -> bool:
    """Whether kyc has acted on this case."""
    found = await tx.value("select true from app.mlro_decisions where case_id = $1", case_id)
    return found is not None


async def current_account(tx: Tx, subject_id: str) -> tuple[str, BankAccount] | None:
    """The id and details of the account in force."""
    row = await tx.row(
        "select id, account_name, sort_code, account_number from app.designated_accounts"
        " where subject_id = $1 and superseded_at is null",
        subject_id,
    )
    if row is None:
        return None
    return row["id"], BankAccount(row["account_name"], row["sort_code"], row["account_number"])


async def first_delivery(tx: Tx, event_id: str) -> bool:
    """Note a verified webhook; False when this event was here before (P-15)."""
    inserted = await tx.write(
        "insert into ops.inbox (tenant_id, provider, event_id, received_at) values ($1, 'sumsub', $2, $3)"
        " on conflict (tenant_id, provider, event_id) do nothing",
        tx.tenant_id,
        event_id,
        tx.at,
    )
    return inserted == "INSERT 0 1"


def new_file(tx: Tx, opened: OnboardingFile) -> audit.RowChange:
    """The row of a file that was not there before."""
    return audit.insert("onboarding_files", {"tenant_id": tx.tenant_id, **asdict(opened)})


def new_party(tx: Tx, file_id: str, party: Party) -> audit.RowChange:
    """The row of the company or a person."""
    return audit.insert("onboarding_parties", {"tenant_id": tx.tenant_id, "file_id": file_id, **asdict(party)})


def new_account(tx: Tx, file: OnboardingFile, account: BankAccount) -> audit.RowChange:
    """The row of an account that is in force from now on."""
    row = {"id": tx.ids.new("acc"), "subject_id": file.subject_id, "file_id": file.id, "designated_at": tx.at}
    return audit.insert("designated_accounts", {"tenant_id": tx.tenant_id, **row, **asdict(account)})


def superseded_account(tx: Tx, account_id: str) -> audit.RowChange:
    """An account that is no longer in force."""
    return _changed(tx, "designated_accounts", account_id, {"superseded_at": None}, {"superseded_at": tx.at})


def new_run(tx: Tx, started: GateRun) -> audit.RowChange:
    """The row of a gate run."""
    return audit.insert("gate_runs", {"tenant_id": tx.tenant_id, **asdict(started)})


def new_hit(tx: Tx, run_id: str, hit: Hit) -> audit.RowChange:
    """The row of a list entry found."""
    row = {"id": tx.ids.new("hit"), "run_id": run_id, "found_at": tx.at}
    return audit.insert("screening_hits", {"tenant_id": tx.tenant_id, **row, **asdict(hit)})


def discounted_hit(tx: Tx, hit_id: str, case_id: str) -> audit.RowChange:
    """A hit that a person found to be somebody else."""
    return _changed(tx, "screening_hits", hit_id, {"discounted_by_case": None}, {"discounted_by_case": case_id})


def new_decision(tx: Tx, file_id: str, decided: dict[str, Any]) -> audit.RowChange:
    """The row of a decision on one of the file's cases."""
    row = {"tenant_id": tx.tenant_id, "id": tx.ids.new("mld"), "file_id": file_id}
    return audit.insert("mlro_decisions", {**row, **decided})


def changed_file(tx: Tx, known: OnboardingFile, **after: Any) -> audit.RowChange:
    """Change named columns, provided that they still are what ``known`` says."""
    return _changed(tx, "onboarding_files", known.id, _columns(known, after), after)


def changed_run(tx: Tx, known: GateRun, **after: Any) -> audit.RowChange:
    """Change named columns, provided that they still are what ``known`` says."""
    return _changed(tx, "gate_runs", known.id, _columns(known, after), after)


def changed_party(tx: Tx, known: Party, **after: Any) -> audit.RowChange:
    """Change named columns, provided that they still are what ``known`` says."""
    return _changed(tx, "onboarding_parties", known.id, _columns(known, after), after)


def _columns(known: OnboardingFile | GateRun | Party, after: dict[str, Any]) -> dict[str, Any]:
    return {column: getattr(known, column) for column in after}


def _changed(tx: Tx, table: str, row_id: str, before: dict[str, Any], after: dict[str, Any]) -> audit.RowChange:
    return audit.update(table, key={"tenant_id": tx.tenant_id, "id": row_id}, before=before, after=after)
