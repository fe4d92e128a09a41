"""Runs what shows that the contracts are right, and says one line for each part; exit status 1 if any part fails.

`python proof.py` runs all parts, `python proof.py fast` those that take seconds once compiled. What slither finds must
be in accepted.json, each finding with the reason why it may stand, and nothing may be there that slither no longer
finds. Needs the npm packages of the repository root; lemmas and slither also .venv-contracts (`make setup-contracts`).
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FORGE = ROOT / "node_modules/.bin/forge"
TOOLS = ROOT / ".venv-contracts/bin"
COVERED_PERCENT_MIN = 98
GAS_TOLERANCE_PERCENT = 1


class NotShown(Exception):
    """A part failed; the text says how."""


def run(*command: str | Path, may_fail: bool = False, **environment: str) -> str:
    """What a command prints. :raises NotShown: it fails"""
    around = os.environ | {"PATH": f"{FORGE.parent}{os.pathsep}{os.environ['PATH']}"} | environment
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=HERE, env=around, capture_output=True, text=True, check=False)
    if done.returncode and not may_fail:
        raise NotShown(done.stdout + done.stderr)
    return done.stdout + done.stderr if may_fail else done.stdout


def artifacts() -> str:
    """The committed artifacts are what the sources compile to, byte for byte."""
    run(sys.executable, "build.py", "--check")
    return f"{len(list((HERE / 'artifacts').glob('*.json')))} artifacts equal their sources byte for byte"


def tests() -> str:
    """Unit, fuzz and invariant tests and gas bounds, on the committed artifacts."""
    said = run(FORGE, "test", FX_ARTIFACTS="true")
    counted = re.search(r"(\d+) tests passed, 0 failed, 0 skipped", said)
    if counted is None:
        raise NotShown(said)
    return f"{counted[1]} tests passed on the committed artifacts"


def layout() -> str:
    """forge fmt."""
    run(FORGE, "fmt", "--check")
    return "the sources are formatted"


def gas() -> str:
    """No measured operation moved away from .gas-snapshot."""
    run(FORGE, "snapshot", "--match-contract", "GasTest", "--check", "--tolerance", str(GAS_TOLERANCE_PERCENT))
    return f"{len((HERE / '.gas-snapshot').read_text().splitlines())} operations within {GAS_TOLERANCE_PERCENT} %"


def coverage() -> str:
    """Lines and branches of src/, from an unoptimised build: gas bounds say nothing there."""
    report = HERE / "cache/lcov.info"
    places = {"FOUNDRY_OUT": "out/coverage", "FOUNDRY_CACHE_PATH": "cache/coverage"}
    run(FORGE, "coverage", "--no-match-contract", "GasTest", "--report", "lcov", "--report-file", report, **places)
    lines, branches = covered(report.read_text(), "DA"), covered(report.read_text(), "BRDA")
    said = f"{lines:.2f} % of lines and {branches:.2f} % of branches covered"
    if min(lines, branches) < COVERED_PERCENT_MIN:
        missed = unreached(report.read_text())
        raise NotShown("\n".join([f"{said}, less than {COVERED_PERCENT_MIN} %", *missed]))
    return said


def points(lcov: str) -> list[tuple[str, str, str, bool]]:
    """File under src/, kind, place and whether it was reached, of each line (DA) and branch (BRDA)."""
    found, place = [], ""
    for line in lcov.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            place = rest
        elif kind in ("DA", "BRDA") and place.startswith("src/"):
            fields = rest.split(",")
            found.append((place, kind, fields[0], fields[-1] not in ("0", "-")))
    return found


def covered(lcov: str, wanted: str) -> float:
    """Percent."""
    reached = [hit for _, kind, _, hit in points(lcov) if kind == wanted]
    return 100 * sum(reached) / len(reached)


def unreached(lcov: str) -> list[str]:
    """Where."""
    return [f"{place}:{line} {kind} is not reached" for place, kind, line, hit in points(lcov) if not hit]


def lemmas() -> str:
    """halmos: every lemma holds for every input and, but for what constructors wrote, in every state; every witness,
    which shows that what the lemmas speak of can happen, is found."""
    said = run(
        TOOLS / "halmos", "--forge-build-out", "out/lemmas", "--match-contract", "(Lemmas|Witnesses)$", "--no-status",
        "--default-array-lengths", "1", "--default-bytes-lengths", "0", "--loop", "16",
        "--solver-timeout-assertion", "300000",
        may_fail=True, FOUNDRY_PROFILE="lemmas",
    )  # fmt: skip
    verdicts = {name: verdict for verdict, name in re.findall(r"\[(\w+)\]\S* (check_\w+)", said)}
    sources = "".join(path.read_text() for path in (HERE / "test/symbolic").glob("*.sol"))
    written = set(re.findall(r"function (check_\w+)", sources))
    witnesses = {name for name in written if name.startswith("check_witness_")}
    expected = {name: "FAIL" if name in witnesses else "PASS" for name in written}
    if verdicts != expected:
        raise NotShown(said)
    return f"{len(written - witnesses)} lemmas hold, {len(witnesses)} witnesses are found"


def slither() -> str:
    """Every finding is accepted for a written reason, and every reason still has its finding."""
    report = HERE / "cache/slither.json"
    report.unlink(missing_ok=True)
    run(
        TOOLS / "slither", ".", "--json", report, "--filter-paths", "test/", "--fail-none",
        "--foundry-out-directory", "out/slither",
        FOUNDRY_OUT="out/slither", FOUNDRY_CACHE_PATH="cache/slither",
    )  # fmt: skip
    found = findings(json.loads(report.read_text()))
    accepted = {
        key: each["reason"] for each in json.loads((HERE / "accepted.json").read_text()) for key in each["findings"]
    }
    faults = [f"new: {key}" for key in sorted(found - accepted.keys())]
    faults += [f"no longer found, take it out of accepted.json: {key}" for key in sorted(accepted.keys() - found)]
    faults += [f"without a reason: {key}" for key, reason in accepted.items() if not reason.strip()]
    if faults:
        raise NotShown("\n".join(faults))
    return f"{len(found)} findings, each accepted for a reason"


def findings(report: dict[str, Any]) -> set[str]:
    """Detector and description, without the line numbers, which move."""
    if not report["success"]:
        raise NotShown(str(report["error"]))
    return {
        " ".join(f"{each['check']}: {re.sub(r' ?[(]src/[^)]*[)]', '', each['description'])}".split())
        for each in report["results"].get("detectors", [])
    }


PARTS: dict[str, tuple[Callable[[], str], ...]] = {
    "fast": (tests, layout, gas),
    "all": (artifacts, tests, layout, gas, coverage, slither, lemmas),
}


def main() -> int:
    """Run the parts one after the other; a part that fails does not keep the others from being run."""
    failed = 0
    for part in PARTS[sys.argv[1] if len(sys.argv) > 1 else "all"]:
        start = time.monotonic()
        try:
            said, verdict = part(), "ok  "
        except (NotShown, OSError) as fault:
            said, verdict = str(fault).strip(), "FAIL"
            failed += 1
        sys.stdout.write(f"{verdict} {part.__name__:10} {time.monotonic() - start:4.0f} s  {said}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
