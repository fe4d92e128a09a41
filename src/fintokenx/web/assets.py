"""The files that our pages ask for: one stylesheet and one script, from our own origin, each under the hash of its
content, so that a browser may keep it for ever and a page can name its very bytes (Subresource Integrity)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

FOLDER: Final = "/assets/"
_NODE_MODULES: Final = Path(__file__).resolve().parents[3] / "node_modules"
"""Where `make setup` puts npm's packages; not there in a packaged product, whose pages then run no script."""
_MEDIA_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served. ``ending`` is ``css`` or ``js``."""

    name: str
    ending: str
    content: bytes

    @property
    def path(self) -> str:
        """Its address; other content has another."""
        return f"{FOLDER}{self.name}.{hashlib.sha256(self.content).hexdigest()[:16]}.{self.ending}"

    @property
    def integrity(self) -> str:
        """Its hash as HTML and the Content Security Policy write it."""
        return integrity_of(self.content)


def integrity_of(content: bytes) -> str:
    """SHA-256 in base64, as the attribute ``integrity`` and CSP's hash sources have it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def vendored(name: str, ending: str, path: str, folder: Path = _NODE_MODULES) -> Asset | None:
    """A file of an npm package; None where the packages are not installed."""
    found = folder / path
    return Asset(name, ending, found.read_bytes()) if found.is_file() else None


STYLE: Final = Asset("fintokenx", "css", (files("fintokenx.web") / "static" / "fintokenx.css").read_bytes())
HTMX: Final = vendored("htmx", "js", "htmx.org/dist/htmx.min.js")

_SERVED: Final = {asset.path: asset for asset in (STYLE, HTMX) if asset is not None}

router = APIRouter(include_in_schema=False)


@router.get(f"{FOLDER}{{name}}")
async def asset(name: str) -> Response:
    """A file by its address. What is asked for under another hash is another file, and is not there."""
    found = _SERVED.get(f"{FOLDER}{name}")
    if found is None:
        raise HTTPException(404)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Response(found.content, headers=headers, media_type=_MEDIA_TYPES[found.ending])
