"""The verifier as an outsider has it, and as a module for the vectors of the standards."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

FILE = Path(__file__).parents[2] / "verifier" / "fxverify.py"


class Answer(NamedTuple):
    code: int
    sentence: str
    """The last line of what was printed."""
    output: str
    errors: str


Verify = Callable[..., Answer]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """Runs the file, copied alone into an empty folder, in isolated mode. A dict is written as ``bundle.json``."""
    folder = tmp_path / "outsider"
    folder.mkdir()
    shutil.copy(FILE, folder)

    def run(bundle: Any, *arguments: str) -> Answer:
        given = [] if bundle is None else ["bundle.json"]
        if bundle is not None:
            content = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
            (folder / "bundle.json").write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-I", "fxverify.py", *given, *arguments],
            cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return Answer(done.returncode, (done.stdout.splitlines() or [""])[-1], done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def fxverify() -> ModuleType:
    """The file as a module."""
    spec = importlib.util.spec_from_file_location("fxverify", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
