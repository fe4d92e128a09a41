"""Other modules come in by the front door: the package root, its events, its ports. Prints who does not.

A program of its own as well as a library, so that it can be run on a copy of the house with a fault planted in it.
"""

from __future__ import annotations

import grimp

CHAPTERS = {"audit": 2, "parties": 3, "lifecycle": 3, "observers": 3, "desks": 3}  # depth of a module's name
MODULE_DOORS = {"", "events", "ports"}
ADAPTER_DOORS = {"ports"}
# Which modules there are is said in app/modules.py.
APP_DOORS = MODULE_DOORS | {"manifest", "http", "jobs"}
MOCK_SERVERS = "fintokenx.sandbox.providers"
MOCK_SERVER_DOORS = {"fintokenx.kernel.clock", "fintokenx.kernel.credentials"}  # what the platform rotates, they take


def split(name: str) -> tuple[str, str] | None:
    """`fintokenx.lifecycle.invoice.store` → (`fintokenx.lifecycle.invoice`, `store`); None outside the modules."""
    parts = name.split(".")
    depth = CHAPTERS.get(parts[1]) if len(parts) > 1 else None
    if depth is None or len(parts) < depth:
        return None
    return ".".join(parts[:depth]), parts[depth] if len(parts) > depth else ""


def inside(name: str, owner: str) -> bool:
    """Whether a Python module lies in ``owner``."""
    return name == owner or name.startswith(f"{owner}.")


def doors_for(importer: str) -> set[str]:
    """Which rooms of a module this importer may enter."""
    if inside(importer, "fintokenx.app"):
        return APP_DOORS
    return ADAPTER_DOORS if inside(importer, "fintokenx.adapters") else MODULE_DOORS


def trespasses() -> list[str]:
    """Every import past a door, as `importer -> imported`."""
    graph = grimp.build_graph("fintokenx", cache_dir=None)
    found = []
    for imported in sorted(graph.modules):
        target = split(imported)
        for importer in sorted(graph.find_modules_that_directly_import(imported)):
            wrong_room = target is not None and not inside(importer, target[0]) and target[1] not in doors_for(importer)
            mock_peeks = inside(importer, MOCK_SERVERS) and not inside(imported, MOCK_SERVERS)
            if wrong_room or (mock_peeks and imported not in MOCK_SERVER_DOORS):
                found.append(f"{importer} -> {imported}")
    return found


if __name__ == "__main__":
    print("\n".join(trespasses()))
