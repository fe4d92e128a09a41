"""A platform whose document hangs, to be killed by a test: prints the id of the server that forks for it."""

from __future__ import annotations

import threading

from fintokenx.adapters.documents.workers import ForkedWorkers, Job

if __name__ == "__main__":
    workers = ForkedWorkers("tests.adapters.hostile_worker")
    workers.prepare()
    print(workers.server_pid, flush=True)
    hanging = threading.Thread(target=lambda: workers.ask(Job(b"", b"hang", 1 << 30, 600), seconds=600))
    hanging.start()
    hanging.join()
