"""The scene of a run: two tenants with a canary each, the credentials an attacker may have stolen, and the database."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import httpx

from fintokenx import audit
from fintokenx.app import base, provision, wiring
from fintokenx.app.redteam.reviewed import CROSS_TENANT
from fintokenx.kernel.caller import HOME_TENANT, Role, system
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.db import Database, PinSigner, RawConnection
from fintokenx.kernel.ids import Ids
from fintokenx.kernel.sealing import Sealer
from fintokenx.kernel.settings import Settings
from fintokenx.kernel.vault import Vault
from fintokenx.parties import auth, partner

HERE: Final = "tnt_mercia"
THERE: Final = "tnt_fintokenx"
"""The attacker sits in a partner's tenant; the victim is the other one."""

SERVING: Final = ("fx_app", "fx_worker", "fx_sealer", "fx_auditor", "fx_platform")
"""The logins of the platform's own sessions."""


class CouldNotRun(Exception):
    """The scene could not be set, or the system went away: nothing is known."""


@dataclass
class Side:
    """One tenant of the scene. ``marks`` are words that nobody outside it may ever be shown."""

    tenant_id: str
    api_key: str
    key_id: str
    canary_id: str = ""
    canary_name: str = ""
    canary_company: str = ""
    canary_email: str = ""
    second_admin: str = ""
    """Another administrator, who signs in nowhere: the second pair of eyes."""
    tokens: dict[Role, str] = field(default_factory=dict)
    subjects: dict[Role, str] = field(default_factory=dict)

    @property
    def marks(self) -> tuple[str, ...]:
        """The canary's words, and the credentials. Not its company number: RT-45 registers that elsewhere too."""
        found = (self.canary_id, self.canary_name, self.canary_email, self.api_key)
        return tuple(mark for mark in (*found, *self.tokens.values(), *self.subjects.values()) if mark)

    def headers(self, *, role: Role | None = None, key: bool = True) -> dict[str, str]:
        """The credentials of a request."""
        given = {"FX-Api-Key": self.api_key} if key else {}
        return {**given, "Authorization": f"Bearer {self.tokens[role]}"} if role else given


@dataclass
class Scene:
    """What an attack may use."""

    settings: Settings
    vault: Vault
    clock: Clock
    ids: Ids
    pins: PinSigner
    database: Database
    http: httpx.AsyncClient
    here: Side
    there: Side
    openapi: dict[str, Any]
    run: str
    """The mark of this run: it begins the request ids and stands in the canaries' names."""
    requests: int = 0

    async def connect(self, role: str) -> RawConnection:
        """A session of the database with a role's real password."""
        password = await self.vault.secret(provision.password_of(role))
        return await asyncpg.connect(base.dsn(self.settings, role), password=password, command_timeout=20)

    @asynccontextmanager
    async def session(self, role: str = "fx_app", *, pin: str | None = None) -> AsyncIterator[RawConnection]:
        """A session in a transaction, under a pin if one is given; rolled back and closed whatever happens."""
        connection = await self.connect(role)
        transaction = connection.transaction()
        try:
            await transaction.start()
            if pin is not None:
                await connection.fetchval("select set_config('fx.pin', $1, true)", pin)
            yield connection
        finally:
            if not connection.is_closed():
                if connection.is_in_transaction():
                    await connection.execute("rollback")
                await connection.close()

    async def sender(self) -> str:
        """A sender of the platform, whose transactions are numbered. :raises CouldNotRun: it has none yet"""
        async with self.session("fx_auditor") as connection:
            found = await connection.fetchval("select sender from ops.chain_senders order by sender limit 1")
        if found is None:
            raise CouldNotRun("the platform has sent nothing to the chain yet; try again in a moment")
        return str(found)

    def pin(self, side: Side) -> str:
        """A sound pin of a tenant, as the platform signs it."""
        return self.pins.pin(side.tenant_id)

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request with a request id of this run."""
        self.requests += 1
        headers = {
            "FX-Request-Id": f"{self.run}-{self.requests}",
            "FX-Idempotency-Key": f"{self.run}-{self.requests}",
            **request.pop("headers", {}),
        }
        return await self.http.request(method, path, headers=headers, **request)


def leaked(side: Side, *seen: Any) -> str | None:
    """The first word of a side that stands in what was seen; None when there is none."""
    text = "\n".join(str(part) for part in seen)
    return next((mark for mark in side.marks if mark in text), None)


@asynccontextmanager
async def scene(
    settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None, token: str | None = None
) -> AsyncIterator[Scene]:
    """Set the scene on a running system: keys, staff and a canary in each tenant, through the product itself.

    ``transport`` replaces real HTTP (tests). Keys and sessions are ended afterwards; canaries stay, marked.

    :raises CouldNotRun: something of it did not work
    """
    run = f"redteam-{token or secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        on = await stack.enter_async_context(wiring.base(settings, pool_size=2))
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=settings.public_url, timeout=30.0, trust_env=False, transport=transport)
        )
        pins = await provision.pin_signer(on.vault)
        here, there = await _side(on, HERE, run), await _side(on, THERE, run)
        found = Scene(settings, on.vault, on.clock, on.ids, pins, on.database, http, here, there, {}, run)
        stack.push_async_callback(_leave, found)
        found.openapi = (await _good(found, "GET", "/openapi.json")).json()
        for side in (here, there):
            await _people(found, on, side)
        await _controls(found)
        yield found


async def _side(on: base.Base, tenant_id: str, run: str) -> Side:
    key_id = on.ids.new("key")
    raw = await partner.raw_api_key(on.vault, on.settings.environment, tenant_id=tenant_id, key_id=key_id)
    async with on.database.transaction(tenant_id, request_id=run) as tx:
        await partner.create_api_key(
            tx, system(tenant_id, "redteam"), key_id=key_id, raw=raw, name=f"{run} (red team)", scopes=["*"]
        )
    return Side(tenant_id, raw, key_id)


async def _people(found: Scene, on: base.Base, side: Side) -> None:
    """The canary, a seller; other customers and staff, so that no attack is refused for its role alone."""
    word = secrets.token_hex(5)
    side.canary_name = f"Red Team Canary {word} Ltd"
    side.canary_company = f"RT{secrets.randbelow(10**6):06}"
    side.canary_email = f"canary-{word}@redteam.example"
    for role in (Role.SELLER, Role.LENDER, Role.PARTNER_ADMIN):
        canary = role is Role.SELLER
        email = side.canary_email if canary else f"{role}-{word}@redteam.example"
        body = {
            "role": role,
            "legal_name": side.canary_name,
            "company_number": side.canary_company,
            "representative_name": "Canary Bird",
            "email": email,
        }
        answer = await _good(found, "POST", "/v1/subjects", json=body, headers=side.headers())
        side.subjects[role] = str(answer.json()["id"])
        await _sign_in(found, side, role, email)
    side.canary_id = side.subjects[Role.SELLER]
    staff = (Role.MLRO, Role.PLATFORM_ADMIN) if side.tenant_id == HOME_TENANT else (Role.MLRO,)
    for role in staff:
        email = f"{role}-{word}@redteam.example"
        side.subjects[role] = await _staff(on, side.tenant_id, role, email)
        await _sign_in(found, side, role, email)
    if Role.PLATFORM_ADMIN in staff:
        email = f"second-{word}@redteam.example"
        side.second_admin = await _staff(on, side.tenant_id, Role.PLATFORM_ADMIN, email)


async def _staff(on: base.Base, tenant_id: str, role: Role, email: str) -> str:
    sealer = Sealer(on.database, on.vault, os.urandom)
    subject_id = on.ids.new("sub")
    person = auth.SealedPerson(
        await sealer.seal(tenant_id, subject_id, "representative_name", "Red Team"),
        await sealer.seal(tenant_id, subject_id, "email", email),
        await auth.email_index_of(sealer, tenant_id=tenant_id, email=email),
    )
    async with on.database.transaction(tenant_id, request_id="redteam") as tx:
        caller = system(tenant_id, "redteam")
        await auth.create_staff(tx, caller, subject_id=subject_id, role=role, employer="Red Team", person=person)
    return subject_id


async def _sign_in(found: Scene, side: Side, role: Role, email: str) -> None:
    """With the code that a mail would carry; the address leads nowhere."""
    async with found.database.transaction(side.tenant_id, request_id=found.run) as tx:
        caller = system(side.tenant_id, "redteam")
        code = await auth.issue_login_code(tx, caller, subject_id=side.subjects[role])
    answer = await _good(found, "POST", "/v1/sessions", json={"email": email, "code": code}, headers=side.headers())
    side.tokens[role] = str(answer.json()["access_token"])


async def _good(found: Scene, method: str, path: str, **request: Any) -> httpx.Response:
    try:
        answer = await found.ask(method, path, **request)
    except httpx.HTTPError as fault:
        raise CouldNotRun(f"the platform does not answer ({type(fault).__name__}); is the system up?") from fault
    if answer.status_code >= 400:
        raise CouldNotRun(f"{method} {path} answered {answer.status_code}; the scene cannot be set")
    return answer


async def _controls(found: Scene) -> None:
    """What every refusal below is measured against: the very same reads do work where they may."""
    for side in (found.here, found.there):
        async with found.session(pin=found.pin(side)) as connection:
            rows = await connection.fetch("select id from app.subjects where legal_name = $1", side.canary_name)
        if side.canary_id not in {row["id"] for row in rows}:
            raise CouldNotRun(f"the canary of {side.tenant_id} cannot be read under its own pin")


async def _leave(found: Scene) -> None:
    """End what could be used afterwards: staff, sessions and keys."""
    for side in (found.here, found.there):
        for role in (Role.MLRO, Role.PLATFORM_ADMIN):
            if role in side.subjects:
                await _suspend(found, side, side.subjects[role])
        if side.second_admin:
            await _suspend(found, side, side.second_admin)
        for token in side.tokens.values():
            await found.ask(
                "DELETE",
                "/v1/sessions/current",
                headers={"Authorization": f"Bearer {token}", "FX-Api-Key": side.api_key},
            )
        await _revoke_keys(found, side)


async def _revoke_keys(found: Scene, side: Side) -> None:
    """The run's own keys, and those that its people and keys were given legitimately while they attacked."""
    ours = {"system:redteam", side.key_id, *side.subjects.values()}
    caller = system(side.tenant_id, "redteam")
    after = ""
    while True:
        async with found.database.transaction(side.tenant_id, request_id=found.run) as tx:
            page = await partner.api_keys(tx, caller, after=after)
            for key in page:
                if key.state == "ACTIVE" and key.created_by in ours:
                    await partner.revoke_api_key(tx, caller, key_id=key.id)
        if not page:
            return
        after = page[-1].id


async def _suspend(found: Scene, side: Side, subject_id: str) -> None:
    event = auth.SubjectEvent.SUSPEND
    async with found.database.transaction(side.tenant_id, request_id=found.run) as tx:
        caller = system(side.tenant_id, "redteam")
        move = await auth.advance(tx, caller, subject_id=subject_id, event=event, reason="REDTEAM_DONE")
        await audit.change(tx, caller, action=auth.action_of(event), resource=subject_id, move=move)


async def tenant_tables(connection: RawConnection) -> Sequence[str]:
    """Every relation that carries a tenant, from the catalogue and not from a list."""
    rows = await connection.fetch(
        """select format('%I.%I', n.nspname, c.relname) as name
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
            where c.relkind in ('r', 'p', 'v', 'm') and n.nspname in ('app', 'ops', 'fx', 'public') order by 1"""
    )
    return [row["name"] for row in rows]


def by_design(role: str, table: str) -> bool:
    """Whether this login reads the rows of all tenants in this table."""
    return bool(CROSS_TENANT.get(role, set()) & {table, table.split(".", maxsplit=1)[0]})
