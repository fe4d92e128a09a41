"""`make bench-audit`: what the chain costs, and how the record behaves when it is large. Last line: ``RESULT {json}``.

Exit 1 when a bar is missed, naming it. The load generator shares the machine with the server: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import audit_append, record_scale
from fintokenx.kernel import logs
from fintokenx.sandbox.postgres import EmbeddedPostgres


def missed(result: dict[str, Any]) -> list[str]:
    """The bars that were not reached, in words."""
    low = {name: (bar, "at least") for name, bar in audit_append.BARS.items()}
    return [
        f"{name} is {result[name]}, {kind} {bar} wanted"
        for name, (bar, kind) in {**low, **record_scale.BARS}.items()
        if (result[name] < bar if kind == "at least" else result[name] > bar)
    ]


def main() -> int:
    """Run both parts on a Postgres of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=24, help="of the append")
    parser.add_argument("--seconds", type=float, default=0.75, help="per variant, number of writers and repeat")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    chosen = parser.parse_args()
    logs.configure("WARNING")
    if chosen.quick:
        chosen.entries, chosen.repeats, chosen.seconds = 20_000, 1, 0.3
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {what}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="fx-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "pg", superuser_password=audit_append.PASSWORD)
        postgres.start()
        try:
            result: dict[str, Any] = dict(uvloop.run(audit_append.measure(postgres, chosen.repeats, chosen.seconds)))
            result |= uvloop.run(record_scale.measure(postgres, entries=chosen.entries, say=say))
        finally:
            postgres.destroy()
    faults = missed(result)
    for name in sorted(set(result) & (set(record_scale.BARS) | set(audit_append.BARS))):
        print(f"{name:40} {result[name]:>12}")
    for fault in faults:
        print(f"missed: {fault}")
    print(f"RESULT {json.dumps({**result, 'ok': not faults, 'cpus': os.cpu_count()})}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
