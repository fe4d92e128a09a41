"""A module is one line outside its folder, and what is missing or doubled there does not boot (issue 10 D3)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx.app import wiring
from fintokenx.app.modules import MODULES
from fintokenx.kernel.bus import Afterwards, Fact
from fintokenx.kernel.jobs import Job, Lane
from fintokenx.parties import auth
from fintokenx.web.edge import Edge
from fintokenx.web.services import NoSuchService, ProvidedTwice, Services
from tests.modules.noticeboard import manifest
from tests.redteam.house import house

pytestmark = pytest.mark.anyio
WITH_THE_BOARD = (*MODULES, manifest.MODULE)
"""The one line."""


@dataclass(frozen=True, slots=True)
class NobodyActs(Fact):
    """A fact whose job has no keeper."""


class Nothing:
    """Stands for every part of a process; building a module does nothing with them."""

    def __getattr__(self, _name: str) -> Any:
        return Nothing()

    def __call__(self, *_arguments: object) -> Any:
        return Nothing()


NOTHING: Any = Nothing()


async def test_a_module_is_one_line_outside_its_own_folder(cluster: str, template: str, tmp_path: Path) -> None:
    """Route, service, job and period: all of it from its manifest, on a booted platform."""
    async with (
        house(cluster, template, tmp_path, modules=WITH_THE_BOARD) as made,
        httpx.AsyncClient(transport=made.transport, base_url="http://test") as client,
    ):
        async with asyncio.timeout(30):
            while not (notices := (await client.get("/v1/noticeboard")).json()):
                await asyncio.sleep(0.05)
        assert notices[0].startswith("tnt_fintokenx at ")
        assert "/v1/noticeboard" in (await client.get("/openapi.json")).json()["paths"]


async def test_without_its_line_nothing_of_it_is_there(cluster: str, template: str, tmp_path: Path) -> None:
    async with (
        house(cluster, template, tmp_path) as made,
        httpx.AsyncClient(transport=made.transport, base_url="http://test") as client,
    ):
        assert (await client.get("/v1/noticeboard")).status_code == 404


def test_a_job_of_two_modules_does_not_boot() -> None:
    twin = replace(manifest.MODULE, jobs=lambda _needs, _services: (Job(manifest.JOB, NOTHING, Lane.AI, 1.0),))
    with pytest.raises(ValueError, match=r"two owners: \['noticeboard.pin_up'\]"):
        wiring.jobs(NOTHING, NOTHING, (manifest.MODULE, twin))


def test_a_reaction_whose_job_nobody_keeps_does_not_boot() -> None:
    module = replace(manifest.MODULE, afterwards=(Afterwards(NobodyActs, "noticeboard.act"),))
    with pytest.raises(ValueError, match=r"nobody's job: \['noticeboard.act'\]"):
        wiring.jobs(NOTHING, NOTHING, (module,))


def test_a_service_of_two_modules_does_not_boot() -> None:
    with pytest.raises(ProvidedTwice, match="Board"):
        wiring.services(NOTHING, (manifest.MODULE, manifest.MODULE))


def test_a_service_of_a_module_that_is_not_listed_is_missed_by_name() -> None:
    with pytest.raises(NoSuchService, match="AuthServices"):
        wiring.services(NOTHING, (manifest.MODULE,)).of(auth.AuthServices)


def test_services_are_known_by_their_types_and_never_change() -> None:
    services = Services("text", 7)
    assert (services.of(str), services.of(int)) == ("text", 7)
    assert services.and_also(b"bytes").of(bytes) == b"bytes"
    assert services.instead("other").of(str) == "other"
    assert services.of(str) == "text"
    with pytest.raises(NoSuchService):
        services.of(Edge)


def test_every_manifest_is_listed_once_and_has_the_name_of_its_folder() -> None:
    written = [path.parent.name for path in (Path(wiring.__file__).parents[1]).rglob("manifest.py")]
    assert sorted(module.name for module in MODULES) == sorted(written)
