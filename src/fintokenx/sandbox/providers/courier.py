"""How a mock server sends its webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import anyio
import httpx

from fintokenx.sandbox.providers.modes import Modes


class Courier:
    """Delivers a mock's webhooks to ``modes.webhook_url``, in order, at least once, obeying the webhook modes.

    Use it as the application's lifespan: ``async with courier:``. ``sign`` turns the exact bytes of the body
    into the vendor's headers; it is called afresh for each attempt. A refused or unanswered delivery is tried
    again after each of ``retry_after_seconds`` (wall time), then given up.
    """

    def __init__(
        self,
        modes: Modes,
        sign: Callable[[bytes], Awaitable[Mapping[str, str]]],
        *,
        retry_after_seconds: tuple[float, ...] = (0.2, 0.5, 1.0),
        timeout_seconds: float = 5.0,
    ) -> None:
        self._modes = modes
        self._sign = sign
        self._retry_after_seconds = retry_after_seconds
        self._timeout_seconds = timeout_seconds
        self._held_back: list[tuple[str, bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Courier:
        self._http = httpx.AsyncClient(timeout=self._timeout_seconds, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    def post(self, event: str, body: bytes) -> None:
        """Send ``body`` soon; ``event`` is a name for the log."""
        if self._modes.take("lost_webhook"):
            self._note(event, None, "lost")
        elif not self._held_back and self._modes.take("reordered_webhook"):
            self._held_back.append((event, body))
        else:
            wait = self._modes.setting.seconds
            late = self._modes.take("late_webhook")
            forged = self._modes.take("forged_webhook")
            copies = 2 if self._modes.take("duplicate_webhook") else 1
            batch = [(event, body)] * copies + self._held_back
            self._held_back = []
            self.soon(self._deliver(batch, late=late, wait=wait, forged=forged))

    def soon(self, work: Awaitable[None]) -> None:
        """Run ``work`` beside the requests; it is cancelled when the mock stops."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, batch: list[tuple[str, bytes]], *, late: bool, wait: float | None, forged: bool) -> None:
        if late and wait is not None:
            await anyio.sleep(wait)
        elif late:
            await self._modes.until_off("late_webhook")
        for event, body in batch:
            async with self._turn:
                delivered = await self._attempt(event, body, forged=forged)
            if not delivered:
                self.soon(self._try_again(event, body, forged=forged))

    async def _try_again(self, event: str, body: bytes, *, forged: bool) -> None:
        for pause_seconds in self._retry_after_seconds:
            await anyio.sleep(pause_seconds)
            if await self._attempt(event, body, forged=forged):
                return
        self._note(event, None, "given up")

    async def _attempt(self, event: str, body: bytes, *, forged: bool) -> bool:
        url = self._modes.webhook_url
        if url is None or self._http is None:
            self._note(event, None, "nobody subscribed")
            return True
        headers = {"content-type": "application/json", **await self._sign(body + b" " if forged else body)}
        try:
            response = await self._http.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            self._note(event, None, type(error).__name__)
            return False
        self._note(event, response.status_code, "answered")
        return response.is_success

    def _note(self, event: str, status: int | None, outcome: str) -> None:
        self._modes.log.webhooks.append({"event": event, "status": status, "outcome": outcome})
