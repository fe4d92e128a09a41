"""What a client is given to reach its provider, and what the platform asks of every client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from fintokenx.adapters.outbound.exchange import CallGuard
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import Credential


@dataclass(frozen=True, slots=True)
class Access:
    """One provider's address, credentials and circuit. A client's ``open`` takes what it needs of it."""

    url: str
    credentials: tuple[Credential, ...]
    """In the order in which the list of providers names them."""
    sign: Callable[[bytes], Awaitable[bytes]]
    """RSA PKCS#1 v1.5 SHA-256 by the provider's signing key, which stays in the vault; where it has none, a fault."""
    guard: CallGuard
    clock: Clock
    is_local: bool
    """The environment is ``local``: what is reached is a mock server on this machine, in the clear."""


class Client(Protocol):
    """A client of one provider."""

    async def aclose(self) -> None:
        """Close its connections."""
        ...
