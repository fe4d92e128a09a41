"""What was recorded once is recorded again, byte for byte: the house may change its shape, not what it says.

A wanted change is kept by ``make golden``, and its diff is read by whoever reviews it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.golden import kept
from tests.golden.life import START, Life
from tests.golden.platform import platform

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
KEEP = bool(os.environ.get("FX_KEEP_GOLDEN"))


async def run(cluster: str, template: str, folder: Path) -> dict[str, str]:
    """One life; what it left."""
    async with platform(cluster, template, folder, START) as here:
        life = Life(here)
        await life.live()
        left = await kept.record(here.world)
        return {**left, kept.ANSWERS: kept.answers(life.answers), kept.OPENAPI: kept.openapi(here.app.openapi())}


def differences(found: dict[str, str], folder: Path) -> list[str]:
    """The first line of each file in which a run differs from what is kept."""
    told = []
    for name, text in found.items():
        before, now = (folder / name).read_text().splitlines(), text.splitlines()
        for number, (old, new) in enumerate(zip([*before, "(end)"], [*now, "(end)"], strict=False), start=1):
            if old != new:
                told.append(f"{name}:{number}\n- {old[:2000]}\n+ {new[:2000]}")
                break
    return told


async def test_the_record_and_the_answers_are_those_of_the_golden_run(
    cluster: str, template: str, tmp_path: Path
) -> None:
    found = await run(cluster, template, tmp_path)
    if KEEP:
        kept.FOLDER.mkdir(exist_ok=True)
        for name, text in found.items():
            (kept.FOLDER / name).write_text(text)
    for name, text in found.items():
        (tmp_path / name).write_text(text)  # for whoever looks for what differs
    assert not differences(found, kept.FOLDER)


async def test_another_byte_anywhere_is_seen(tmp_path: Path) -> None:
    found = {path.name: path.read_text() for path in kept.FOLDER.iterdir()}
    for name, text in found.items():
        assert differences(found | {name: text.replace("e", "E", 1)}, kept.FOLDER), name
        assert differences(found | {name: text + "more\n"}, kept.FOLDER), name
    assert not differences(found, kept.FOLDER)
