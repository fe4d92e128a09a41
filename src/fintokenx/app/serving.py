"""How the platform listens: by itself, believing no header about who is calling."""

from __future__ import annotations

from typing import Any, Final

import uvicorn

OPTIONS: Final[dict[str, Any]] = {
    "log_level": "warning",
    "access_log": False,
    "timeout_graceful_shutdown": 10,
    "proxy_headers": False,
    "forwarded_allow_ips": [],
}
"""uvicorn takes X-Forwarded-For from loopback by default, and from wherever FORWARDED_ALLOW_IPS says: a caller beside
us would name its own address for the record. The address is the peer's."""


def run(application: Any, *, host: str, port: int) -> None:
    """Serve until the process is told to end."""
    uvicorn.run(application, host=host, port=port, **OPTIONS)
