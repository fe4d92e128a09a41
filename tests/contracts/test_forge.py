"""The contracts' own tests that take seconds: unit, fuzz, invariants, gas (`make test-contracts` does all)."""

from __future__ import annotations

import subprocess
import sys

from tests.contracts.receivers import ROOT


def test_the_contracts_pass_their_own_tests_on_the_committed_artifacts() -> None:
    """proof.py says what failed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "contracts/proof.py"), "fast"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
