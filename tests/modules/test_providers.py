"""The list of providers: what is in it is checked, reached, watched and mocked; what is not does not boot."""

from __future__ import annotations

import ast
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

from fintokenx.adapters.outbound import CircuitOpen, Circuits, ProviderNotListed
from fintokenx.adapters.sumsub import SumsubClient
from fintokenx.adapters.vault import LocalVault
from fintokenx.app import mock_servers, providers, wiring
from fintokenx.app.local import LocalSystem
from fintokenx.app.providers import PROVIDERS, Clients, Provider
from fintokenx.desks import operations
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import SystemClock
from fintokenx.kernel.errors import Unavailable
from fintokenx.kernel.jobs import Lane
from fintokenx.kernel.settings import BadSettings, Environment, Settings
from fintokenx.sandbox.providers.mock import MockParts
from fintokenx.web.edge import Edge
from fintokenx.web.services import Services
from tests.adapters.bank_house import serving
from tests.architecture.house import PACKAGE, nodes, sources
from tests.kernel.good_settings import GOOD
from tests.modules import post_office
from tests.redteam.house import House, house
from tests.support.fakes.credentials import FixedCredential

pytestmark = pytest.mark.anyio

TOY = Provider(
    "post_office", "post_office_url", ("post-office/token",), post_office.PostOfficeClient.open, post_office.MOCK,
    Lane.OUTBOUND,
)  # fmt: skip
TOKEN = FixedCredential("the-token-of-the-post-office")
HTTP = [provider for provider in PROVIDERS if provider.setting.endswith("_url")]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setattr(providers, "PROVIDERS", (*PROVIDERS, TOY))


@asynccontextmanager
async def booted(cluster: str, template: str, folder: Path, **addresses: str) -> AsyncIterator[tuple[House, Any]]:
    """A platform that runs in this process, and what answers as it."""
    vault = LocalVault(folder / "vault", os.urandom)
    await vault.put_secret("post-office/token", TOKEN.text)
    async with house(cluster, template, folder, addresses=addresses) as made:

        async def authenticate(request: Request) -> Caller:
            return Caller("tnt_fintokenx", Role(request.headers["test-role"]), "sub_test", subject_id="sub_test")

        services: Services = made.state.services
        made.state.services = services.instead(replace(services.of(Edge), authenticate=authenticate))
        async with httpx.AsyncClient(transport=made.transport, base_url="http://test") as client:
            yield made, client


async def row(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await client.get("/v1/ops/providers", headers={"test-role": "compliance"})
    assert answer.status_code == 200, answer.text
    return next(item for item in answer.json()["items"] if item["name"] == name)


# ── One line outside its folders


@pytest.mark.usefixtures("listed")
async def test_a_provider_is_one_line_outside_its_own_folders(cluster: str, template: str, tmp_path: Path) -> None:
    """IX-15. Boot, credential, client, circuit, readiness, health row: all of it from the entry."""
    parts = MockParts(SystemClock(), tmp_path, {}, lambda _name: TOKEN, {})
    mock: Any = TOY.mock.app(parts)
    async with serving(mock) as url, booted(cluster, template, tmp_path, post_office_url=url) as (made, client):
        ready = (await client.get("/readyz")).json()["components"]
        assert ready["post_office"] == {"state": "up", "needed": False, "reason": None}
        ours = {"database", "vault", "chain", "worker", *(f"lane.{lane}" for lane in Lane)}
        assert ready.keys() == {*ours, *(each.name for each in HTTP), "post_office"}
        untried = await row(client, "post_office")
        assert (untried["state"], untried["circuit"], untried["last_success_at"]) == ("untried", "closed", None)
        assert untried["lane"] == "outbound"
        post = made.state.services.of(Clients).the(post_office.PostOfficeClient)
        assert await post.where_is("a-parcel") == "Oban"
        working = await row(client, "post_office")
        assert (working["state"], working["consecutive_failures"]) == ("working", 0)
        assert working["last_success_at"] is not None
        mock.state.modes.set("5xx")
        for _ in range(5):
            with pytest.raises(Unavailable):
                await post.where_is("a-parcel")
        with pytest.raises(CircuitOpen):
            await post.where_is("a-parcel")
        failing = await row(client, "post_office")
        assert (failing["state"], failing["circuit"], failing["consecutive_failures"]) == ("failing", "open", 5)
        assert failing["last_failure_at"] is not None
        shown = (await client.get("/v1/ops/providers", headers={"test-role": "mlro"})).text
        assert not [word for word in (url, TOKEN.text, "post-office/token") if word in shown]


@pytest.mark.usefixtures("listed")
async def test_a_local_system_has_its_mock_server_its_address_and_its_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_HOME", str(tmp_path))
    system = LocalSystem("toy")
    (system.folder / "vault").mkdir(parents=True)
    ports = system.ports()
    assert {"post_office", "bank", "smtp", "platform", "anvil"} <= ports.keys()
    assert providers.mock_addresses(ports)["post_office_url"] == f"http://127.0.0.1:{ports['post_office']}"
    applications = await mock_servers.applications(system)
    assert list(applications) == ["sumsub", "complyadvantage", "bank", "mailbox", "post_office"]
    operations.must_be_rotatable("post-office/token", providers.credential_names())


async def test_a_provider_that_came_later_gets_a_port_and_the_others_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FX_HOME", str(tmp_path))
    system = LocalSystem("toy")
    system.folder.mkdir(parents=True)
    before = system.ports()
    monkeypatch.setattr(providers, "PROVIDERS", (*PROVIDERS, TOY))
    assert system.ports() == before, "as it was set up"
    after = system._choose_ports(before)
    assert after.keys() - before.keys() == {"post_office"}
    assert {name: after[name] for name in before} == before


# ── What is not right does not boot


@pytest.mark.parametrize("provider", HTTP, ids=lambda provider: provider.name)
def test_a_provider_whose_address_is_forgotten_does_not_boot(provider: Provider) -> None:
    forgotten = Settings(**{name: value for name, value in GOOD.items() if name != provider.setting})
    with pytest.raises(BadSettings, match=f"missing settings: {provider.setting}"):
        wiring.create_app(forgotten)


@pytest.mark.usefixtures("listed")
def test_a_provider_that_comes_into_the_list_is_missed_at_once() -> None:
    with pytest.raises(BadSettings, match="missing settings: post_office_url"):
        wiring.create_app(Settings(**GOOD))


@pytest.mark.parametrize("setting", [*(provider.setting for provider in HTTP), "post_office_url"])
@pytest.mark.usefixtures("listed")
def test_a_provider_that_is_a_mock_in_production_does_not_boot(setting: str) -> None:
    """EN-05. The list is all that there is to check: nobody has to name the newest one."""
    good = {**GOOD, "post_office_url": "https://post.example", "environment": Environment.PRODUCTION}
    wiring.create_app(Settings(**good))
    with pytest.raises(BadSettings, match=f"{setting} points at a mock in production"):
        wiring.create_app(Settings(**{**good, setting: "http://mock.example"}))


def test_a_mail_relay_on_this_machine_does_not_boot_in_production() -> None:
    with pytest.raises(BadSettings, match="smtp_host points at a mock in production"):
        Settings(**{**GOOD, "smtp_host": "localhost"})


def test_an_address_that_belongs_to_no_provider_does_not_boot() -> None:
    """A mistyped setting is not taken for one that nobody needs."""
    with pytest.raises(BadSettings, match="unknown settings: sumsubb_url"):
        wiring.create_app(Settings(**GOOD, sumsubb_url="https://api.sumsub.com"))


async def test_a_client_that_is_built_but_not_listed_does_not_boot(
    cluster: str, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wiring wants Sumsub's; the list has forgotten it."""
    monkeypatch.setattr(providers, "PROVIDERS", tuple(each for each in PROVIDERS if each.name != "sumsub"))
    with pytest.raises(ProviderNotListed, match="SumsubClient"):
        async with booted(cluster, template, tmp_path):
            pytest.fail("it has booted")


def test_a_client_built_by_hand_gets_no_circuit_for_a_name_that_is_not_listed() -> None:
    circuits = Circuits((each.name for each in PROVIDERS), clock=SystemClock(), machine_seconds=lambda: 0.0)
    with pytest.raises(ProviderNotListed, match="post_office"):
        circuits.of("post_office")


MAKERS = {
    "Circuits": "app/providers.py",
    "CircuitBreaker": "adapters/outbound/circuit.py",
    "CallGuard": "app/providers.py",
}


def own_circuits(place: str, tree: ast.Module) -> list[str]:
    """Where code makes a circuit or a guard of its own, past the list."""
    return [
        f"{place}:{node.lineno}: {node.func.id}"
        for node in nodes(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and MAKERS.get(node.func.id, place) != place
    ]


def test_circuits_are_made_for_the_list_and_nowhere_else() -> None:
    found = [fault for path, tree in sources() for fault in own_circuits(path.relative_to(PACKAGE).as_posix(), tree)]
    assert found == []


def test_a_circuit_made_elsewhere_is_found() -> None:
    """The twin."""
    planted = 'guard = CallGuard(Circuits(["mine"]).of("mine"), jitter)'
    assert own_circuits("lifecycle/invoice/jobs.py", ast.parse(planted)) == [
        "lifecycle/invoice/jobs.py:1: CallGuard", "lifecycle/invoice/jobs.py:1: Circuits",
    ]  # fmt: skip


# ── The list itself


def test_no_two_providers_share_a_name_a_setting_or_a_credential() -> None:
    for values in (
        [each.name for each in PROVIDERS], [each.setting for each in PROVIDERS], list(providers.credential_names()),
    ):  # fmt: skip
        assert len(values) == len(set(values))
    assert set(providers.chosen_by_us()) <= set(providers.credential_names())


def test_the_list_says_what_provisioning_and_readiness_have_always_said() -> None:
    """Names that vaults, monitors and people know."""
    assert [each.name for each in PROVIDERS] == ["sumsub", "complyadvantage", "bank", "open_banking", "mail"]
    assert providers.credential_names() == (
        "sumsub/app-token", "sumsub/app-secret", "sumsub/webhook-secret", "complyadvantage/api-key",
        "bank/clearbank-token", "bank/open-banking-token",
    )  # fmt: skip
    assert (providers.chosen_by_us(), providers.signing_keys()) == (
        ("sumsub/webhook-secret",), ("bank/clearbank-signing",)
    )  # fmt: skip


async def test_each_client_is_found_by_its_class(tmp_path: Path) -> None:
    vault = LocalVault(tmp_path, os.urandom)
    for name in providers.credential_names():
        await vault.put_secret(name, "a-credential")
    async with providers.connected(Settings(**GOOD), vault, SystemClock()) as clients:
        assert clients.the(SumsubClient) is clients.by_name["sumsub"]
        assert [health.name for health in clients.circuits.health()] == [each.name for each in PROVIDERS]


async def test_only_staff_sees_how_the_providers_do(cluster: str, template: str, tmp_path: Path) -> None:
    staff = (Role.MLRO, Role.COMPLIANCE, Role.PLATFORM_ADMIN)
    async with booted(cluster, template, tmp_path) as (_, client):
        for role in Role:
            answer = await client.get("/v1/ops/providers", headers={"test-role": role})
            assert answer.status_code == (200 if role in staff else 403), role
