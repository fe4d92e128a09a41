"""The providers: one entry each, and everything that must know them all reads this list.

That is: the settings that must be there and their check at boot, the credentials that provisioning makes and rotation
replaces, the clients and their circuits, ``/readyz`` and ``/v1/ops/providers``, the mock servers of a local system, and
the failure matrix (tests/failures/matrix.py). How to add one: docs/adr/0024.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

from fintokenx.adapters.ais import OpenBankingClient
from fintokenx.adapters.complyadvantage import ComplyAdvantageClient
from fintokenx.adapters.fps import ClearBankClient
from fintokenx.adapters.mail import SmtpMailer
from fintokenx.adapters.outbound import Access, CallGuard, Circuits, Client, ProviderNotListed
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.kernel.clock import Clock
from fintokenx.kernel.credentials import VaultCredential
from fintokenx.kernel.jobs import Lane
from fintokenx.kernel.settings import BadSettings, Environment, Settings
from fintokenx.kernel.vault import Vault
from fintokenx.sandbox.providers import bank, complyadvantage, mailbox, sumsub
from fintokenx.sandbox.providers.mock import Mock

DEBTOR_ADDRESS: Final = "GB, London, EC2A 4NE, 1 Ledger Row"


@dataclass(frozen=True, slots=True)
class Provider:
    """One outside system with a client of its own."""

    name: str
    """As ``/readyz`` and ``/v1/ops/providers`` call it."""
    setting: str
    """Which of :meth:`~fintokenx.kernel.settings.Settings.addresses` says where it is."""
    credentials: tuple[str, ...]
    """Names in the vault, in the order in which its client takes them."""
    client: Callable[[Access], Client]
    mock: Mock
    lane: Lane
    """Of the jobs that wait for it."""
    chosen_by_us: tuple[str, ...] = ()
    """Those of ``credentials`` that we choose and the provider is told; the others it issues."""
    signing_key: str = ""
    """Name in the vault of the RSA key that signs our requests; empty where it wants none."""
    needed: bool = False
    """Whether the platform serves nothing without it."""

    def is_asked_over_http(self, settings: Settings) -> bool:
        """Whether ``/readyz`` can ask it."""
        return urlsplit(settings.addresses()[self.setting]).scheme in ("http", "https")


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "sumsub", "sumsub_url", ("sumsub/app-token", "sumsub/app-secret", "sumsub/webhook-secret"), SumsubClient.open,
        sumsub.MOCK, Lane.OUTBOUND, chosen_by_us=("sumsub/webhook-secret",),
    ),
    Provider(
        "complyadvantage", "complyadvantage_url", ("complyadvantage/api-key",), ComplyAdvantageClient.open,
        complyadvantage.MOCK, Lane.OUTBOUND,
    ),
    Provider(
        "bank", "bank_url", ("bank/clearbank-token",), partial(ClearBankClient.open, debtor_address=DEBTOR_ADDRESS),
        bank.MOCK, Lane.MONEY, signing_key="bank/clearbank-signing",
    ),
    Provider(
        "open_banking", "open_banking_url", ("bank/open-banking-token",), OpenBankingClient.open, bank.MOCK, Lane.MONEY,
    ),
    Provider("mail", "smtp_host", (), SmtpMailer.open, mailbox.MOCK, Lane.OUTBOUND),
)  # fmt: skip


def credential_names() -> tuple[str, ...]:
    """Every provider credential, by its name in the vault."""
    return tuple(name for provider in PROVIDERS for name in provider.credentials)


def chosen_by_us() -> tuple[str, ...]:
    """Those whose value is ours to choose. In ``local`` all are: the mock servers take what the vault has."""
    return tuple(name for provider in PROVIDERS for name in provider.chosen_by_us)


def signing_keys() -> tuple[str, ...]:
    """Every key that signs requests, by its name in the vault."""
    return tuple(provider.signing_key for provider in PROVIDERS if provider.signing_key)


def mocks() -> tuple[Mock, ...]:
    """Every mock server once."""
    return tuple({provider.mock.name: provider.mock for provider in PROVIDERS}.values())


def mock_addresses(ports: dict[str, int]) -> dict[str, str]:
    """The settings that point at the mock servers, but for the mail relay's, which are settings of their own."""
    return {
        provider.setting: f"http://127.0.0.1:{ports[provider.mock.name]}"
        for provider in PROVIDERS
        if provider.setting.endswith("_url")
    }


def check(settings: Settings) -> None:
    """Every provider has an address, and every address a provider: what each may be, the settings have checked.

    :raises BadSettings: the platform must not start with these
    """
    named = settings.addresses()
    if missing := [provider.setting for provider in PROVIDERS if provider.setting not in named]:
        raise BadSettings(f"missing settings: {', '.join(missing)}")
    if unknown := sorted(named.keys() - {provider.setting for provider in PROVIDERS}):
        raise BadSettings(f"unknown settings: {', '.join(unknown)}")


Kind = TypeVar("Kind", bound=Client)


@dataclass(frozen=True, slots=True)
class Clients:
    """The client of every provider, and their circuits."""

    by_name: dict[str, Client]
    circuits: Circuits

    def the(self, kind: type[Kind]) -> Kind:
        """The client of this class. :raises ProviderNotListed: no provider in the list has one"""
        for client in self.by_name.values():
            if isinstance(client, kind):
                return client
        raise ProviderNotListed(f"no provider in the list has a {kind.__name__} (app/providers.py)")


@asynccontextmanager
async def connected(settings: Settings, vault: Vault, clock: Clock) -> AsyncIterator[Clients]:
    """A client for each provider. Credentials are fetched here, at boot (P-20); a vault that is down stops the start.

    :raises BadSettings: :func:`check`
    :raises VaultUnavailable, NotInVault: a credential cannot be had
    """
    check(settings)
    circuits = Circuits((provider.name for provider in PROVIDERS), clock=clock, machine_seconds=time.monotonic)
    clients: dict[str, Client] = {}
    async with AsyncExitStack() as stack:
        for provider in PROVIDERS:
            clients[provider.name] = provider.client(await _access(provider, settings, vault, clock, circuits))
            stack.push_async_callback(clients[provider.name].aclose)
        yield Clients(clients, circuits)


async def _access(provider: Provider, settings: Settings, vault: Vault, clock: Clock, circuits: Circuits) -> Access:
    credentials = tuple(VaultCredential(vault, name, clock) for name in provider.credentials)
    for credential in credentials:
        await credential.value()

    async def sign(message: bytes) -> bytes:
        return await vault.sign_rsa_sha256(provider.signing_key, message)

    return Access(
        url=settings.addresses()[provider.setting],
        credentials=credentials,
        sign=sign,
        guard=CallGuard(circuits.of(provider.name), random.SystemRandom().random),
        clock=clock,
        is_local=settings.environment is Environment.LOCAL,
    )
