"""The mock Sumsub, an inbox for its webhooks, and the production client between, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fintokenx.adapters.outbound import RetryPolicy
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.adapters.sumsub.webhook import read_webhook
from fintokenx.kernel.clock import FixedClock
from fintokenx.parties.kyc.ports import Applicant, IdentityVerification, ProviderVerdict, VerificationEvent
from fintokenx.sandbox.providers import sumsub
from fintokenx.sandbox.providers.modes import Modes
from fintokenx.sandbox.providers.sumsub_requests import Rate
from tests.support.fakes.credentials import FixedCredential
from tests.support.fakes.outbound import calm
from tests.support.harness.serving import eventually, served

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
APP_SECRET, WEBHOOK_SECRET = "app-secret-for-tests", "webhook-secret-for-tests"
CREDENTIALS = tuple(FixedCredential(text) for text in ("sbx:token", APP_SECRET, WEBHOOK_SECRET))
QUICK = RetryPolicy(
    first_pause_seconds=0.01, pause_seconds_max=0.05, rate_limited_pause_seconds=0.05, attempt_seconds_max=0.5
)
IMPATIENT = httpx.Timeout(0.15, connect=1.0)


class Inbox:
    """Receives webhooks as our edge would; answers ``statuses`` in turn, then 200."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.app = Starlette(routes=[Route("/hook", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        self.received.append((dict(request.headers), await request.body()))
        return Response(status_code=self.statuses.pop(0) if self.statuses else 200)


class Sandbox:
    """The mock, an inbox for its webhooks, and the production client between."""

    def __init__(self, url: str, modes: Modes, inbox: Inbox, http: httpx.AsyncClient) -> None:
        self.url = url
        self.modes = modes
        self.inbox = inbox
        self.http = http
        self.client = self.another_client()
        self.port: IdentityVerification = self.client

    def another_client(self, clock: FixedClock | None = None, **changed: Any) -> SumsubClient:
        chosen = {"app_token": "sbx:token", "app_secret": APP_SECRET, "base_url": self.url} | changed
        return SumsubClient(
            chosen["base_url"],
            FixedCredential(chosen["app_token"]),
            FixedCredential(chosen["app_secret"]),
            FixedCredential(WEBHOOK_SECRET),
            clock=clock or FixedClock(NOON),
            guard=calm(),
            http=self.http,
            timeouts=IMPATIENT,
            policy=QUICK,
        )

    def forget(self) -> None:
        self.modes.set("up")
        self.modes.log.clear()
        self.inbox.received.clear()
        self.inbox.statuses.clear()

    def effects(self, external_id: str) -> list[str | None]:
        return [each["effect"] for each in self.modes.log.effects if each["client_reference"] == external_id]

    def requests_for_a_check(self) -> int:
        return len([each for each in self.modes.log.deliveries if each.path.endswith("/status/pending")])

    def events(self, external_id: str) -> list[VerificationEvent]:
        """What arrived for this applicant, verified by the client, in order of arrival."""
        events = [read_webhook((WEBHOOK_SECRET,), headers, body) for headers, body in self.inbox.received]
        return [event for event in events if event.external_id == external_id]

    async def reviewed(self, applicant: Applicant, until: str) -> ProviderVerdict:
        """Take the applicant through a check; give the verdict once its detail begins with ``until``."""
        applicant_ref = await self.port.open_applicant(applicant)
        await self.port.request_check(applicant_ref)
        last: list[ProviderVerdict] = []

        async def arrived() -> bool:
            last.append(await self.port.verdict(applicant_ref))
            return last[-1].detail.startswith(until)

        await eventually(arrived)
        return last[-1]


@asynccontextmanager
async def running_sandbox(state_path: Path | None = None, rate: Rate | None = None) -> AsyncIterator[Sandbox]:
    inbox = Inbox()
    async with served(inbox.app) as inbox_url, httpx.AsyncClient() as http:
        app = sumsub.create_app(
            FixedClock(NOON),
            app_token=FixedCredential("sbx:token"),
            app_secret=FixedCredential(APP_SECRET),
            webhook_secret=FixedCredential(WEBHOOK_SECRET),
            webhook_url=f"{inbox_url}/hook",
            decide_after_seconds=0.01,
            state_path=state_path,
            rate=rate or Rate(10_000, 10_000),
        )
        async with served(app) as url:
            yield Sandbox(url, app.state.modes, inbox, http)


def person(external_id: str, name: str = "Ada Byron") -> Applicant:
    return Applicant(external_id, "individual", name, born_on=date(1990, 1, 31))
