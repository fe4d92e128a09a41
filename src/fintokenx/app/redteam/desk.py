"""The administrators' desk: admin sessions of the attacker's tenant, and the two steps of the bypass in plain SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from fintokenx import audit
from fintokenx.app.redteam.scene import Scene
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import RawConnection

OPEN: Final = "select fx.open_bypass($1, $2::timestamptz, $3, 'subject', $4, $5)"
REASON: Final = "Red team: the bypass is tried on purpose, see the report"


@dataclass(frozen=True, slots=True)
class Desk:
    """Two administrators of the platform, at work in the attacker's tenant for its canary."""

    scene: Scene

    @property
    def asking(self) -> str:
        """The administrator who asks."""
        return self.scene.there.subjects[Role.PLATFORM_ADMIN]

    @property
    def approving(self) -> str:
        """The one who approves."""
        return self.scene.there.second_admin

    async def record(self, actor: str, action: str, row: audit.RowChange, resource: str) -> None:
        """One entry of an administrator, through the record's own door."""
        tenant_id = self.scene.here.tenant_id
        caller = Caller(tenant_id, Role.PLATFORM_ADMIN, actor)
        async with self.scene.database.transaction(tenant_id, request_id=self.scene.run) as tx:
            await audit.change(tx, caller, action=action, resource=resource, move=audit.Changes((row,)))

    def requested(self, session_id: str, **other: Any) -> audit.RowChange:
        """The row of a session that is asked for."""
        row = {
            "tenant_id": self.scene.here.tenant_id,
            "id": session_id,
            "purpose": "BYPASS",
            "on_behalf_of": self.scene.here.canary_id,
            "reason": REASON,
            "state": "REQUESTED",
            "requested_by": self.asking,
            "requested_at": self.scene.clock.now(),
            **other,
        }
        return audit.insert("admin_sessions", row)

    def moved(self, session_id: str, state: str, target: str, **after: Any) -> audit.RowChange:
        """A session goes on."""
        return audit.update(
            "admin_sessions",
            key={"tenant_id": self.scene.here.tenant_id, "id": session_id},
            before={"state": state, **dict.fromkeys(after)},
            after={"state": target, **after},
        )

    async def ask(self) -> str:
        """Ask for a session; its id."""
        session_id = self.scene.ids.new("ads")
        await self.record(self.asking, "ADMIN_SESSION_REQUEST", self.requested(session_id), session_id)
        return session_id

    async def approve(self, session_id: str, *, by: str | None = None) -> None:
        """Approve it. ``by``: who tries to."""
        who = by or self.approving
        row = self.moved(session_id, "REQUESTED", "APPROVED", approved_by=who, approved_at=self.scene.clock.now())
        await self.record(who, "ADMIN_SESSION_APPROVE", row, session_id)

    async def open(self, session_id: str, *, minutes: int = 15, ago: int = 0) -> None:
        """Open it, now or ``ago`` minutes ago."""
        opened_at = self.scene.clock.now() - timedelta(minutes=ago)
        row = self.moved(
            session_id, "APPROVED", "OPEN", opened_at=opened_at, expires_at=opened_at + timedelta(minutes=minutes)
        )
        await self.record(self.asking, "ADMIN_SESSION_OPEN", row, session_id)

    async def close(self, session_id: str) -> None:
        """Close it."""
        row = self.moved(session_id, "OPEN", "CLOSED", closed_at=self.scene.clock.now())
        await self.record(self.asking, "ADMIN_SESSION_CLOSE", row, session_id)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        """A session that is open for the time of the block."""
        session_id = await self.ask()
        await self.approve(session_id)
        await self.open(session_id)
        try:
            yield session_id
        finally:
            if await self.state(session_id) == "OPEN":
                await self.close(session_id)

    async def state(self, session_id: str) -> str:
        """Where a session stands."""
        async with self.scene.database.transaction(self.scene.here.tenant_id, request_id=self.scene.run) as tx:
            return str(await tx.value("select state from app.admin_sessions where id = $1", session_id))

    def arguments(self, session_id: str, **other: Any) -> tuple[Any, ...]:
        """What step 1 is called with."""
        scene = self.scene
        given = {
            "id": scene.ids.new("aud"), "at": scene.clock.now(), "session": session_id,
            "reference": scene.there.canary_id, "request": scene.run, **other,
        }  # fmt: skip
        return tuple(given.values())

    async def step_one(self, connection: RawConnection, session_id: str, **other: Any) -> str:
        """Leave the fingerprint, within whatever transaction the connection is in; the entry's id."""
        given = self.arguments(session_id, **other)
        await pin(connection, self.scene)
        await connection.execute(OPEN, *given)
        return str(given[0])

    async def entries(self, *entry_ids: str) -> int:
        """How many of these fingerprints stand in the record, committed."""
        async with self.scene.session("fx_auditor") as connection:
            return int(
                await connection.fetchval(
                    "select count(*) from app.audit_entries where id = any($1) and action = 'RBAC_BYPASS'",
                    list(entry_ids),
                )
            )

    async def fingerprints(self) -> int:
        """How many fingerprints this run has left in the tenant."""
        async with self.scene.session("fx_auditor") as connection:
            return int(
                await connection.fetchval(
                    "select count(*) from app.audit_entries where action = 'RBAC_BYPASS' and request_id = $1",
                    self.scene.run,
                )
            )


async def pin(connection: RawConnection, scene: Scene) -> None:
    """The attacker's own sound pin, for this transaction."""
    await connection.fetchval("select set_config('fx.pin', $1, true)", scene.pin(scene.here))


async def foreign(connection: RawConnection, scene: Scene, *, role: bool = True, guc: bool = True) -> int:
    """How many rows of the victim's the transaction shows now."""
    if guc:
        await connection.execute("set local fx.bypass_rls = true")
    if role:
        await connection.execute("set local role fx_bypass")
    return int(
        await connection.fetchval("select count(*) from app.subjects where tenant_id = $1", scene.there.tenant_id)
    )


async def look(
    connection: RawConnection, scene: Scene, *, role: bool = True, guc: bool = True, read_only: bool = True
) -> int:
    """Step 2 in a transaction of its own; how many rows of the victim's show."""
    async with connection.transaction(readonly=read_only):
        return await foreign(connection, scene, role=role, guc=guc)
