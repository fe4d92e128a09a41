"""Builds the contracts and writes what clients need of each to artifacts/, byte for byte reproducible.

`python build.py` rebuilds contracts/artifacts; `python build.py --check` rebuilds in a temporary place and fails if
the committed artifacts differ. Needs only the standard library, node and the npm packages of the repository root
(`npm ci`). Who only deploys needs neither: the artifacts are committed.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FORGE = HERE.parent / "node_modules" / ".bin" / "forge"
ARTIFACTS = HERE / "artifacts"
CONTRACTS = (
    "FXAuditAnchor",
    "FXClaimsTopicRegistry",
    "FXComplianceModularised",
    "FXIdentityRegistry",
    "FXReceivableToken",
    "FXTrustedIssuersRegistry",
    "LockupRule",
    "SanctionsRule",
)


def compile_to(folder: Path) -> None:
    """Compiles src/ from nothing, with forge's output in `folder`; raises CalledProcessError when it fails."""
    places = ["--out", str(folder / "out"), "--cache-path", str(folder / "cache")]
    command = [str(FORGE), "build", "src", "--force", *places]
    subprocess.run(command, cwd=HERE, check=True, stdout=sys.stderr, env=os.environ | {"FOUNDRY_PROFILE": "artifacts"})


def artifact(output: Path, name: str) -> dict[str, Any]:
    """What a client needs of one contract: `abi`, `bytecode` (0x…, to be followed by the constructor arguments),
    `solc` (full version), `settings` (of the compiler), `source_sha256` (of each source file it is made of)."""
    compiled = json.loads((output / f"{name}.sol" / f"{name}.json").read_text())
    metadata = compiled["metadata"]
    return {
        "abi": compiled["abi"],
        "bytecode": compiled["bytecode"]["object"],
        "settings": metadata["settings"],
        "solc": metadata["compiler"]["version"],
        "source_sha256": {path: hashlib.sha256((HERE / path).read_bytes()).hexdigest() for path in metadata["sources"]},
    }


def build() -> dict[str, bytes]:
    """The artifacts by file name, in their committed form: sorted keys, two spaces, one final newline."""
    with tempfile.TemporaryDirectory() as folder:
        compile_to(Path(folder))
        output = Path(folder) / "out"
        return {
            f"{name}.json": (json.dumps(artifact(output, name), indent=2, sort_keys=True) + "\n").encode()
            for name in CONTRACTS
        }


def write(artifacts: dict[str, bytes]) -> None:
    """Makes contracts/artifacts contain exactly these files."""
    ARTIFACTS.mkdir(exist_ok=True)
    for stale in ARTIFACTS.glob("*.json"):
        if stale.name not in artifacts:
            stale.unlink()
    for name, content in artifacts.items():
        (ARTIFACTS / name).write_bytes(content)


def differences(artifacts: dict[str, bytes]) -> list[str]:
    """Names of the files that are missing, superfluous or different in contracts/artifacts, sorted."""
    committed = {path.name: path.read_bytes() for path in ARTIFACTS.glob("*.json")}
    return sorted(name for name in committed.keys() | artifacts.keys() if committed.get(name) != artifacts.get(name))


def main() -> int:
    """Exit status 0, or 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts, write nothing")
    check = parser.parse_args().check
    artifacts = build()
    if not check:
        write(artifacts)
        return 0
    different = differences(artifacts)
    for name in different:
        sys.stderr.write(f"artifacts/{name} differs from its sources; run contracts/build.py\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
