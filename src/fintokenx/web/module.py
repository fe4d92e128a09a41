"""How a module says what it is: one ``manifest.py`` each, and nothing outside lists what is inside (house §3 D3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import APIRouter

from fintokenx.kernel.actions import Action
from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.kernel.carries import Carries
from fintokenx.kernel.jobs import Job, Periodic
from fintokenx.kernel.machine import AnyMachine
from fintokenx.kernel.sealing import SealedColumn
from fintokenx.web.services import Services

Needs_contra = TypeVar("Needs_contra", contravariant=True)


def _no_services(_needs: Any) -> tuple[object, ...]:
    return ()


def _no_jobs(_needs: Any, _services: Services) -> tuple[Job, ...]:
    return ()


@dataclass(frozen=True)
class Module(Generic[Needs_contra]):
    """A module, an observer or a desk, as ``app`` sees it.

    ``Needs`` is a protocol of its own: what it takes from the process, by name and type. The process has one object
    with all parts (``app.parts.Parts``), and mypy compares the two where the module is listed.
    """

    name: str
    routers: tuple[APIRouter, ...] = ()
    machines: tuple[AnyMachine, ...] = ()
    actions: tuple[Action, ...] = ()
    carries: Carries = field(default_factory=dict)
    """Which rows the entries of an action may carry, as far as this module's commands record them."""
    sealed: Mapping[tuple[str, str], SealedColumn] = field(default_factory=dict)
    """Its columns with personal data, by table and name (AD-14)."""
    in_step: tuple[InStep, ...] = ()
    afterwards: tuple[Afterwards, ...] = ()
    services: Callable[[Needs_contra], tuple[object, ...]] = _no_services
    """What its routes ask for, each of a type of its own; once per process."""
    jobs: Callable[[Needs_contra, Services], tuple[Job, ...]] = _no_jobs
    """Its jobs, each with its lane and its limit."""
    periodic: tuple[Periodic, ...] = ()
    """Which of them fall due by the clock."""
