"""A post office for the tests of notification: a mailer, its mock relay, and what it sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx import audit
from fintokenx.adapters.mail import SmtpMailer
from fintokenx.kernel.bus import Reactions
from fintokenx.kernel.caller import Role
from fintokenx.lifecycle.invoice.ports import InvoiceOnPaper, Reading
from fintokenx.observers.notification.jobs import NotificationJobs
from fintokenx.observers.notification.reactions import AFTERWARDS
from fintokenx.parties import auth
from fintokenx.parties.auth.events import LoginCodeWanted
from fintokenx.sandbox.providers.mailbox import create_app
from tests.adapters.bank_house import serving
from tests.modules.paper import SYSTEM, Paper
from tests.modules.parties_house import HERE, House, house
from tests.support import World, names, world_from
from tests.support.fakes.outbound import calm

CANARY = "Bea.Canary-4711@elm.example"

PUBLIC_URL = "https://app.fintokenx.example"


@dataclass
class Post:
    """An installation with a real mailbox at the other end of a real SMTP connection."""

    house: House
    paper: Paper
    mailbox: httpx.AsyncClient
    jobs: NotificationJobs

    @property
    def world(self) -> World:
        return self.house.world

    async def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.mailbox.get("/messages", params={"to": CANARY})).json()["messages"]
        return found

    async def mode(self, mode: str, times: int | None = None) -> None:
        assert (await self.mailbox.post("/control/mode", json={"mode": mode, "times": times})).is_success

    async def emails(self) -> list[dict[str, Any]]:
        async with self.world.database.transaction(HERE) as tx:
            return [dict(row) for row in await tx.rows("select * from app.email_sends order by id")]

    async def jobs_left(self) -> list[dict[str, Any]]:
        """Notification's jobs that are not done."""
        admin = await self.world.connect("postgres")
        rows = await admin.fetch("select * from ops.jobs where name like 'notification.%' and state <> 'DONE'")
        await admin.close()
        return [dict(row) for row in rows]

    async def all_sent(self) -> bool:
        return not await self.jobs_left()

    async def tried(self) -> bool:
        """Whether every job that is left has failed at least once."""
        left = await self.jobs_left()
        return bool(left) and all(job["last_error"] for job in left)

    async def trail(self, resource: str) -> list[str]:
        async with self.world.database.transaction(HERE) as tx:
            return names(await audit.entries_of(tx, SYSTEM, resources=[resource]))

    async def opens(self, text: str) -> str | None:
        """The invoice behind the link in a mail's text; None when the link is dead."""
        async with self.world.database.transaction(HERE) as tx:
            try:
                return (await auth.open_magic_link(tx, link_in(text))).scope
            except auth.MagicLinkRevoked:
                return None


def link_in(text: str) -> str:
    found = re.search(rf"^{re.escape(PUBLIC_URL)}/confirm/(\S+)$", text.replace("\r\n", "\n"), re.MULTILINE)
    assert found, text
    return found[1]


@pytest.fixture
async def post(cluster: str, template: str, tmp_path: Path) -> AsyncIterator[Post]:
    async with world_from(cluster, template, reactions=Reactions(afterwards=AFTERWARDS)) as world:
        made = house(world, tmp_path)
        await made.open_tenants()
        seller = await made.subject(Role.SELLER, "s@oak.example")
        buyer = await made.subject(Role.BUYER, CANARY)
        app = create_app(clock=world.clock, smtp_port=0)
        async with (
            made.client,
            serving(app) as url,
            httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as mailbox,
        ):
            port = (await mailbox.get("/smtp")).json()["port"]
            mailer = SmtpMailer(
                host="127.0.0.1", port=port, clock=world.clock, guard=calm(), security="none", timeout_seconds=5
            )
            jobs = NotificationJobs(mailer, made.sealer, PUBLIC_URL + "/")
            yield Post(made, Paper(world, seller, buyer), mailbox, jobs)


async def wanted(post: Post, *subjects: auth.Subject) -> None:
    """Somebody asks for a code to sign in as each of these."""
    async with post.world.database.transaction(HERE) as tx:
        for subject in subjects:
            move = audit.Changes(facts=(LoginCodeWanted(subject.id, tx.at),))
            await audit.change(tx, SYSTEM, action="LOGIN_CODE_REQUEST", resource=subject.id, move=move)


OTHER_DATE = InvoiceOnPaper(issue_date=date(2020, 1, 1))

A_SCAN = Reading("pdf", "reader/1", 10_000, OTHER_DATE, ("NO_TEXT_LAYER", "HIDDEN_TEXT"), "")
