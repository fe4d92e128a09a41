"""A command that a person types loads what it needs and no more: everything else is seconds of waiting (issue 9, A10).

What is loaded is looked at, never the time.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from fintokenx.app.first_keys import _Nobody
from fintokenx.parties.partner.events import ApiKeyRevoked

HEAVY = (
    "fastapi",
    "jinja2",
    "eth_abi",
    "lxml",
    "pypdfium2",
    "pikepdf",
    "obstore",
    "aiosmtplib",
)
EVERYTHING = "fintokenx.app.wiring"


def loaded_by(*modules: str) -> set[str]:
    """Which modules a fresh interpreter holds once it has imported these."""
    program = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("command", "modules", "not_needed"),
    [
        ("--help", (), ("fintokenx.app.local", "asyncpg", "httpx")),
        ("status", ("fintokenx.app.local",), ("asyncpg", "httpx", "fintokenx.app.provision")),
        ("audit show", ("fintokenx.app.local", "fintokenx.app.trails"), ("httpx",)),
        ("keys create", ("fintokenx.app.local", "fintokenx.app.tenancy", "fintokenx.app.first_keys"), ("httpx",)),
    ],
)
def test_a_command_loads_no_more_than_it_needs(
    command: str, modules: tuple[str, ...], not_needed: tuple[str, ...]
) -> None:
    loaded = loaded_by("fintokenx.app.cli", *modules)
    assert not loaded & {*HEAVY, *not_needed, EVERYTHING}, command


def test_what_is_heavy_is_what_the_platform_loads() -> None:
    """Otherwise the list could name what nobody loads any more, and the test above would see nothing."""
    assert set(HEAVY) <= loaded_by(EVERYTHING)


def test_a_fact_told_where_nobody_who_answers_is_loaded_is_refused_and_not_lost() -> None:
    for ask in (_Nobody().in_step_with, _Nobody().after):
        with pytest.raises(NotImplementedError, match="ApiKeyRevoked"):
            ask(ApiKeyRevoked("key_x"))
