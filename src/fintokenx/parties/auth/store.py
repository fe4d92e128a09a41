"""All SQL of auth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from fintokenx import audit
from fintokenx.kernel.caller import Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Connection, Row, Tx
from fintokenx.parties.auth.transitions import AdminSessionState, MagicLinkState, SessionState, SubjectState
from fintokenx.parties.auth.types import (
    AdminSession,
    CredentialVersion,
    Erasure,
    Factor,
    LoginCode,
    MagicLink,
    Purpose,
    Session,
    Subject,
    Throttle,
)

_SUBJECT: Final = (
    "tenant_id, id, role, legal_name, company_number, representative_name_sealed, email_sealed, email_index, state,"
    " suspension_reason, frozen_from, created_at, last_kyc_run_at, last_screening_at, cleared_at,"
    " freeze_ground"
)
_SESSION: Final = "s.tenant_id, s.id, s.subject_id, p.role, s.aal, s.state, s.created_at, s.expires_at"
_SESSIONS: Final = "app.sessions s join app.subjects p on p.tenant_id = s.tenant_id and p.id = s.subject_id"
_WINDOW_OVER: Final = "t.window_from <= $3 - make_interval(secs => $6)"
_FACTOR: Final = "tenant_id, id, subject_id, secret_sealed, created_at, confirmed_at"
_ADMIN_SESSION: Final = (
    "tenant_id, id, purpose, on_behalf_of, reason, state, requested_by, requested_at, approved_by, approved_at,"
    " opened_at, expires_at, closed_at"
)
_LINK: Final = "tenant_id, id, invoice_reference, subject_id, state, issued_at, expires_at"


async def lock(tx: Tx, thing: str) -> None:
    """Serialise the commands on one thing until this transaction ends."""
    await tx.lock(thing)


async def hold(tx: Tx, thing: str) -> None:
    """Keep off the commands that :func:`lock` the thing until this transaction ends; others may hold it too."""
    await tx.lock(thing, shared=True)


async def subject(tx: Tx, subject_id: str) -> Subject | None:
    """One subject of the pinned tenant."""
    return _subject(await tx.row(f"select {_SUBJECT} from app.subjects where id = $1", subject_id))


async def subject_of_company(tx: Tx, company_number: str, role: Role) -> Subject | None:
    """The one subject of a company in a role."""
    sql = f"select {_SUBJECT} from app.subjects where company_number = $1 and role = $2"
    return _subject(await tx.row(sql, company_number, role.value))


async def active_holders(tx: Tx, *, after: str, limit: int) -> list[Subject]:
    """Active lenders and investors by id, from the one after ``after``."""
    rows = await tx.rows(
        f"select {_SUBJECT} from app.subjects where state = 'ACTIVE' and role in ('lender', 'investor') and id > $1"
        " order by id limit $2",
        after,
        limit,
    )
    return [found for row in rows if (found := _subject(row))]


async def sanctioned(tx: Tx) -> list[str]:
    """Ids of subjects that are frozen because a sanctions list names them."""
    rows = await tx.rows("select id from app.subjects where freeze_ground is not null order by id")
    return [row["id"] for row in rows]


async def subjects_of_email(tx: Tx, email_index: str, role: Role | None) -> list[Subject]:
    """Subjects that sign in with this address and are not barred."""
    rows = await tx.rows(
        f"select {_SUBJECT} from app.subjects where email_index = $1 and ($2::text is null or role = $2)"
        " and state not in ('FROZEN', 'ERASED') order by id",
        email_index,
        role.value if role else None,
    )
    return [found for row in rows if (found := _subject(row))]


def _subject(row: Row | None) -> Subject | None:
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    frozen_from = values["frozen_from"] and SubjectState(values["frozen_from"])
    typed = {"role": Role(values["role"]), "state": SubjectState(values["state"]), "frozen_from": frozen_from}
    return Subject(**(values | typed))


def subject_created(new: Subject) -> audit.RowChange:
    """The row of a new subject."""
    return audit.insert("subjects", {name: getattr(new, name) for name in _SUBJECT.split(", ")})


def subject_changed(subject: Subject, after: Mapping[str, Any]) -> audit.RowChange:
    """Columns of one subject change."""
    return audit.update(
        "subjects",
        key={"tenant_id": subject.tenant_id, "id": subject.id},
        before={name: getattr(subject, name) for name in after},
        after=dict(after),
    )


_ERASURE: Final = "id, subject_id, erased_at, erased_by, reason_sealed"


async def erasure_of(tx: Tx, subject_id: str) -> Erasure | None:
    """When and why a subject was erased."""
    row = await tx.row(f"select {_ERASURE} from app.erasures where subject_id = $1", subject_id)
    return Erasure(**dict(row)) if row else None


def erased(tx: Tx, erasure: Erasure) -> audit.RowChange:
    """The row of an erasure."""
    columns = {name: getattr(erasure, name) for name in _ERASURE.split(", ")}
    return audit.insert("erasures", {"tenant_id": tx.tenant_id, **columns})


async def forget_code(tx: Tx, subject_id: str) -> None:
    """No code of this subject is good any more."""
    await tx.write(
        "update ops.login_codes set used_at = $2 where subject_id = $1 and used_at is null", subject_id, tx.at
    )


async def session(tx: Tx, session_id: str) -> Session | None:
    """One session of the pinned tenant, in any state."""
    row = await tx.row(f"select {_SESSION} from {_SESSIONS} where s.id = $1", session_id)
    return _session(row) if row else None


async def live_session(tx: Tx, session_id: str) -> Session | None:
    """The session if it is neither ended nor expired and its subject neither frozen nor erased."""
    row = await tx.row(
        f"select {_SESSION} from {_SESSIONS}"
        " where s.id = $1 and s.state = 'ACTIVE' and s.expires_at > $2 and p.state not in ('FROZEN', 'ERASED')",
        session_id,
        tx.at,
    )
    return _session(row) if row else None


async def live_sessions_of(tx: Tx, subject_id: str) -> list[Session]:
    """Sessions of a subject that still let it in."""
    rows = await tx.rows(
        f"select {_SESSION} from {_SESSIONS}"
        " where s.subject_id = $1 and s.state = 'ACTIVE' and s.expires_at > $2 order by s.id",
        subject_id,
        tx.at,
    )
    return [_session(row) for row in rows]


def _session(row: Row) -> Session:
    values: dict[str, Any] = dict(row)
    return Session(**(values | {"role": Role(values["role"]), "state": SessionState(values["state"])}))


def session_opened(session: Session) -> audit.RowChange:
    """The row of a new session."""
    columns = ("tenant_id", "id", "subject_id", "aal", "state", "created_at", "expires_at")
    return audit.insert("sessions", {**{name: getattr(session, name) for name in columns}, "revoked_at": None})


def session_revoked(tx: Tx, session: Session, *, state: str) -> audit.RowChange:
    """A live session ends."""
    return audit.update(
        "sessions",
        key={"tenant_id": session.tenant_id, "id": session.id},
        before={"state": session.state, "revoked_at": None},
        after={"state": state, "revoked_at": tx.at},
    )


async def newest_credential_version(tx: Tx, name: str) -> CredentialVersion | None:
    """The last recorded version of a credential."""
    row = await tx.row(
        "select name, version, stored_as, rotated_at, rotated_by from app.credential_versions where name = $1"
        " order by version desc limit 1",
        name,
    )
    return CredentialVersion(**dict(row)) if row else None


def credential_version_made(tx: Tx, new: CredentialVersion) -> audit.RowChange:
    """The row of a new version."""
    return audit.insert(
        "credential_versions",
        {
            "tenant_id": tx.tenant_id,
            "name": new.name,
            "version": new.version,
            "stored_as": new.stored_as,
            "rotated_at": new.rotated_at,
            "rotated_by": new.rotated_by,
        },
    )


async def active_administrators(tx: Tx) -> list[str]:
    """Subject ids of the tenant's active platform administrators."""
    rows = await tx.rows(
        "select id from app.subjects where role = 'platform_admin' and state = 'ACTIVE' order by created_at, id"
    )
    return [row["id"] for row in rows]


async def count_sign_in(tx: Tx, email_index: str, *, attempts: int, codes: int, window_seconds: int) -> Throttle:
    """Add to an address's throttle; the present window, this one included."""
    tx.wrote = True
    row = await tx.row(
        f"""insert into ops.login_throttles as t (tenant_id, email_index, window_from, attempts, codes)
           values ($1, $2, $3, $4, $5)
           on conflict (tenant_id, email_index) do update set
             window_from = case when {_WINDOW_OVER} then excluded.window_from else t.window_from end,
             attempts = excluded.attempts + case when {_WINDOW_OVER} then 0 else t.attempts end,
             codes = excluded.codes + case when {_WINDOW_OVER} then 0 else t.codes end
           returning window_from, attempts, codes""",
        tx.tenant_id,
        email_index,
        tx.at,
        attempts,
        codes,
        window_seconds,
    )
    if row is None:
        raise LookupError("an upsert that returns always returns")
    return Throttle(**dict(row))


async def throttle(tx: Tx, email_index: str) -> Throttle | None:
    """How often an address was tried in its last window."""
    row = await tx.row(
        "select window_from, attempts, codes from ops.login_throttles where email_index = $1", email_index
    )
    return Throttle(**dict(row)) if row else None


async def forget_attempts(tx: Tx, email_index: str) -> None:
    """A code was right: the next sign-in starts from zero."""
    await tx.write("update ops.login_throttles set attempts = 0 where email_index = $1", email_index)


async def keep_code(tx: Tx, code: LoginCode, *, life: timedelta) -> None:
    """Store a subject's code in place of any earlier one."""
    await tx.write(
        """insert into ops.login_codes (tenant_id, subject_id, salt, code_scrypt, expires_at, attempts)
           values ($1, $2, $3, $4, $5, 0)
           on conflict (tenant_id, subject_id) do update set salt = excluded.salt,
             code_scrypt = excluded.code_scrypt, expires_at = excluded.expires_at, attempts = 0, used_at = null""",
        tx.tenant_id,
        code.subject_id,
        code.salt,
        code.code_scrypt,
        tx.at + life,
    )


async def count_against_codes(tx: Tx, email_index: str) -> None:
    """One more try against every code of an address."""
    await tx.write(
        "update ops.login_codes set attempts = attempts + 1 where used_at is null"
        " and subject_id in (select id from app.subjects where email_index = $1)",
        email_index,
    )


async def live_codes(tx: Tx, email_index: str, *, attempts_max: int) -> list[LoginCode]:
    """Codes of an address that are not used, too old or tried too often."""
    rows = await tx.rows(
        """select c.subject_id, c.salt, c.code_scrypt
             from ops.login_codes c join app.subjects p on p.tenant_id = c.tenant_id and p.id = c.subject_id
            where p.email_index = $1 and c.used_at is null and c.expires_at > $2 and c.attempts <= $3
            order by c.subject_id""",
        email_index,
        tx.at,
        attempts_max,
    )
    return [LoginCode(**dict(row)) for row in rows]


async def use_code(tx: Tx, code: LoginCode) -> bool:
    """Use a code up; False when somebody else has just done so."""
    used = await tx.write(
        "update ops.login_codes set used_at = $3 where subject_id = $1 and code_scrypt = $2 and used_at is null",
        code.subject_id,
        code.code_scrypt,
        tx.at,
    )
    return used == "UPDATE 1"


async def keep_page_link(tx: Tx, session_id: str, link_id: str, expires_at: Instant) -> None:
    """Store a session's page link in place of any earlier one."""
    await tx.write(
        """insert into ops.page_links (tenant_id, session_id, link_id, expires_at) values ($1, $2, $3, $4)
           on conflict (tenant_id, session_id)
           do update set link_id = excluded.link_id, expires_at = excluded.expires_at, used_at = null""",
        tx.tenant_id,
        session_id,
        link_id,
        expires_at,
    )


async def session_of_page_link(tx: Tx, link_id: str) -> str | None:
    """The session of a page link that is neither used nor too old."""
    value = await tx.value(
        "select session_id from ops.page_links where link_id = $1 and used_at is null and expires_at > $2",
        link_id,
        tx.at,
    )
    return str(value) if value else None


async def use_page_link(tx: Tx, link_id: str) -> bool:
    """Use a page link up; False when it is used or too old."""
    used = await tx.write(
        "update ops.page_links set used_at = $2 where link_id = $1 and used_at is null and expires_at > $2",
        link_id,
        tx.at,
    )
    return used == "UPDATE 1"


async def magic_link(tx: Tx, link_id: str) -> MagicLink | None:
    """One link of the pinned tenant, in any state."""
    return _link(await tx.row(f"select {_LINK} from app.magic_link_tokens where id = $1", link_id))


async def magic_link_by_hash(tx: Tx, token_sha256: str) -> MagicLink | None:
    """The link with this token, in any state."""
    return _link(await tx.row(f"select {_LINK} from app.magic_link_tokens where token_sha256 = $1", token_sha256))


async def live_links_of_invoice(tx: Tx, invoice_reference: str) -> list[MagicLink]:
    """Links of an invoice whose state is not final."""
    sql = f"select {_LINK} from app.magic_link_tokens where state in ('ISSUED', 'OPENED') and invoice_reference = $1"
    return [found for row in await tx.rows(sql, invoice_reference) if (found := _link(row))]


async def live_links_of_subject(tx: Tx, subject_id: str) -> list[MagicLink]:
    """Links of a buyer whose state is not final."""
    sql = f"select {_LINK} from app.magic_link_tokens where state in ('ISSUED', 'OPENED') and subject_id = $1"
    return [found for row in await tx.rows(sql, subject_id) if (found := _link(row))]


def _link(row: Row | None) -> MagicLink | None:
    return MagicLink(**{**dict(row), "state": MagicLinkState(row["state"])}) if row else None


def link_issued(link: MagicLink, *, token_sha256: str) -> audit.RowChange:
    """The row of a new link."""
    columns = {name: getattr(link, name) for name in _LINK.split(", ")}
    return audit.insert("magic_link_tokens", {**columns, "token_sha256": token_sha256})


def link_moved(link: MagicLink, *, state: str) -> audit.RowChange:
    """A link changes state."""
    return audit.update(
        "magic_link_tokens",
        key={"tenant_id": link.tenant_id, "id": link.id},
        before={"state": link.state},
        after={"state": state},
    )


async def live_factor(tx: Tx, subject_id: str) -> Factor | None:
    """The subject's second factor, confirmed or not; None when it has none."""
    sql = f"select {_FACTOR} from app.mfa_factors where subject_id = $1 and revoked_at is null"
    return _factor(await tx.row(sql, subject_id))


async def factors_since(tx: Tx, subject_id: str, since: Instant) -> int:
    """How many factors were added after ``since``, those that were replaced included."""
    sql = "select count(*) from app.mfa_factors where subject_id = $1 and created_at > $2"
    return int(await tx.value(sql, subject_id, since))


def _factor(row: Row | None) -> Factor | None:
    return Factor(**dict(row)) if row else None


def factor_added(factor: Factor) -> audit.RowChange:
    """The row of a new factor. The sealed secret is ciphertext; the record holds no other."""
    columns = {name: getattr(factor, name) for name in _FACTOR.split(", ")}
    return audit.insert("mfa_factors", {**columns, "kind": "totp", "revoked_at": None})


def factor_changed(factor: Factor, **after: Any) -> audit.RowChange:
    """A factor is confirmed or revoked; ``after`` names columns that were NULL."""
    key = {"tenant_id": factor.tenant_id, "id": factor.id}
    return audit.update("mfa_factors", key=key, before=dict.fromkeys(after), after=after)


async def count_factor_try(tx: Tx, factor_id: str, *, window_seconds: int) -> int:
    """One more try of a factor's code; how many there were in the present window, this one included."""
    tx.wrote = True
    return int(
        await tx.value(
            """insert into ops.mfa_tries as t (tenant_id, factor_id, window_from, attempts) values ($1, $2, $3, 1)
               on conflict (tenant_id, factor_id) do update set
                 window_from = case when t.window_from <= $3 - make_interval(secs => $4) then excluded.window_from
                                    else t.window_from end,
                 attempts = 1 + case when t.window_from <= $3 - make_interval(secs => $4) then 0 else t.attempts end
               returning attempts""",
            tx.tenant_id,
            factor_id,
            tx.at,
            window_seconds,
        )
    )


async def use_step(tx: Tx, factor_id: str, step: int) -> bool:
    """Use up a time step and every earlier one; False when it was used already. A right code forgets wrong ones."""
    used = await tx.write(
        "update ops.mfa_tries set last_step = $2, attempts = 0"
        " where factor_id = $1 and (last_step is null or last_step < $2)",
        factor_id,
        step,
    )
    return used == "UPDATE 1"


async def admin_session(tx: Tx, session_id: str) -> AdminSession | None:
    """One admin session of the pinned tenant, in any state."""
    return _admin_session(await tx.row(f"select {_ADMIN_SESSION} from app.admin_sessions where id = $1", session_id))


async def admin_sessions(tx: Tx, *, before: str, limit: int, concerning: str | None) -> list[AdminSession]:
    """Admin sessions of the pinned tenant, newest first; all, or those ``concerning`` an administrator: that wait for
    an answer, or that he or she asked for or approved."""
    rows = await tx.rows(
        f"select {_ADMIN_SESSION} from app.admin_sessions where ($1 = '' or id < $1)"
        " and ($3::text is null or state = 'REQUESTED' or $3 in (requested_by, approved_by)) order by id desc limit $2",
        before,
        limit,
        concerning,
    )
    return [found for row in rows if (found := _admin_session(row))]


def _admin_session(row: Row | None) -> AdminSession | None:
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    typed = {"purpose": Purpose(values["purpose"]), "state": AdminSessionState(values["state"])}
    return AdminSession(**(values | typed))


def admin_session_requested(new: AdminSession) -> audit.RowChange:
    """The row of a new admin session."""
    return audit.insert("admin_sessions", {name: getattr(new, name) for name in _ADMIN_SESSION.split(", ")})


def admin_session_moved(before: AdminSession, after: Mapping[str, Any]) -> audit.RowChange:
    """An admin session changes state, and the columns that change with it."""
    return audit.update(
        "admin_sessions",
        key={"tenant_id": before.tenant_id, "id": before.id},
        before={name: getattr(before, name) for name in after},
        after=dict(after),
    )


async def find_anywhere(connection: Connection, subject_id: str) -> dict[str, Any] | None:
    """A subject in whatever tenant, as far as it is public; ``connection`` reads under a bypass."""
    row = await connection.fetchrow(
        "select tenant_id, id, role, state, legal_name, company_number from app.subjects where id = $1", subject_id
    )
    return dict(row) if row else None
