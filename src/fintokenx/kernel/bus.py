"""Facts go up: what happened, told in the writer's transaction or by durable job after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fintokenx.kernel.canonical import plain


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened: past tense, ids and commitments only, never a secret or personal data.

    ``Fact.name()`` and the field names are a published format: jobs carry them as payload.
    """

    @classmethod
    def name(cls) -> str:
        """The fact's published name."""
        return cls.__name__

    def payload(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class InStep:
    """A reaction inside the writer's transaction; it may refuse. Only where a half-seen state would be wrong.

    ``react`` gets the writer's ``Tx`` and the fact.
    """

    fact: type[Fact]
    react: Callable[[Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Afterwards:
    """A reaction by durable job, inserted in the writer's transaction. ``job`` is a name in the job table;
    its payload is the fact's."""

    fact: type[Fact]
    job: str


class Reactions:
    """Who answers whom, collected once by ``app/wiring.py``."""

    def __init__(self, in_step: Sequence[InStep] = (), afterwards: Sequence[Afterwards] = ()) -> None:
        self.in_step = tuple(in_step)
        self.afterwards = tuple(afterwards)

    def in_step_with(self, fact: Fact) -> list[InStep]:
        """Reactions to run now, in the order of the wiring page."""
        return [reaction for reaction in self.in_step if isinstance(fact, reaction.fact)]

    def after(self, fact: Fact) -> list[Afterwards]:
        """Jobs to insert now."""
        return [reaction for reaction in self.afterwards if isinstance(fact, reaction.fact)]
