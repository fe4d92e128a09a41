"""What a provider's mock server is: a name, a port or more, and an application made of a local system's parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from fintokenx.kernel.clock import Clock
from fintokenx.sandbox.providers.credentials import Credential


@dataclass(frozen=True, slots=True)
class MockParts:
    """What a mock server is made of."""

    clock: Clock
    folder: Path
    """Of the local system; what a mock keeps lies in it."""
    ports: Mapping[str, int]
    """Of the whole system, by name; ``platform`` is where webhooks go."""
    credential: Callable[[str], Credential]
    """What the vendor was told of a credential, by its name in the vault."""
    public_keys: Mapping[str, bytes]
    """PEM, by the name of the signing key in the vault."""


@dataclass(frozen=True, slots=True)
class Mock:
    """A mock server. Two providers that are one company's may share one."""

    name: str
    """Also that of its port, and under ``/v1/sandbox/providers``."""
    app: Callable[[MockParts], ASGIApp]
    further_ports: tuple[str, ...] = ()
    """Beside its HTTP port."""
