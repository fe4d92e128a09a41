"""Somebody who is signed in, with an authenticator app."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp

from fintokenx.parties import auth
from tests.modules.parties_house import House


@dataclass
class Person:
    """Somebody signed in, with the authenticator app on the telephone."""

    house: House
    subject: auth.Subject
    bearer: str
    factor: str = ""
    secret: str = ""

    async def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return await self.house.post(path, body, authorization=f"Bearer {self.bearer}", **headers)

    def code(self, *, steps: int = 0) -> str:
        at = self.house.world.clock.now() + timedelta(seconds=30 * steps)
        return pyotp.TOTP(self.secret).at(int(at.timestamp()))

    async def add(self) -> httpx.Response:
        answer = await self.post("/v1/mfa/factors")
        if answer.status_code == 201:
            self.factor = answer.json()["id"]
            [self.secret] = parse_qs(urlsplit(answer.json()["otpauth_uri"]).query)["secret"]
        return answer

    async def confirm(self, code: str) -> httpx.Response:
        return await self.post(f"/v1/mfa/factors/{self.factor}/confirm", {"code": code})

    async def step_up(self, code: str) -> httpx.Response:
        return await self.post("/v1/sessions/step-up", {"code": code})

    async def me(self) -> httpx.Response:
        return await self.house.client.get("/v1/me", headers={"authorization": f"Bearer {self.bearer}"})

    def time_passes(self, seconds: int) -> None:
        self.house.world.clock.set(self.house.world.clock.now() + timedelta(seconds=seconds))
