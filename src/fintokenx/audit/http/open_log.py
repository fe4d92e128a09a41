"""The open log: without credentials, cacheable, hashes only (docs/evidence.md, C2SP tlog-tiles)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from fintokenx.audit.http.services import AuditServices
from fintokenx.audit.http.views import AnchorPage, AnchorView
from fintokenx.audit.service import open_log
from fintokenx.audit.types import LogIdentity
from fintokenx.audit.types.refusals import BadTile, NotPublished
from fintokenx.kernel.db import Pool, database_answers
from fintokenx.web.edge import problems
from fintokenx.web.inputs import BIGINT_MAX, PageSize, Position
from fintokenx.web.paging import Page, asked_for
from fintokenx.web.routes import open_to
from fintokenx.web.services import provided

router = APIRouter(prefix="/v1/log", tags=["open log"])

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_FOR_A_MOMENT: Final = "public, max-age=5"
_FOR_AN_HOUR: Final = "public, max-age=3600"
_OPEN: Final[dict[str, Any]] = open_to()
_TEXT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The text."}
}
_HASHES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "description": "32 bytes a hash.",
    }
}


def _hashes(request: Request) -> Pool:
    """The pool that logs in as fx_sealer: it sees hashes, and no tenant's rows."""
    return provided(request, AuditServices).hashes


def _identity(request: Request) -> LogIdentity:
    return provided(request, AuditServices).log


Hashes = Annotated[Pool, Depends(_hashes)]
Log = Annotated[LogIdentity, Depends(_identity)]
Batch = Annotated[int, Path(ge=1, le=BIGINT_MAX, description="The number of a batch: 1, 2, 3 …")]
Level = Annotated[str, Path(pattern=r"^[a-z0-9]{1,8}$", description="0 to 63, or `entries`, of which there are none.")]
Place = Annotated[str, Path(pattern=r"^[x0-9/.p]{1,64}$", description="`<index>` or `<index>.p/<width>`.")]


@router.get("/checkpoint", responses=_TEXT | problems(NotPublished), response_class=PlainTextResponse,
            openapi_extra=_OPEN)  # fmt: skip
async def newest_checkpoint(request: Request, hashes: Hashes) -> Response:
    """The newest signed checkpoint (C2SP tlog-checkpoint)."""
    with database_answers():
        batch = await open_log.newest_checkpoint(hashes)
    return _cached(request, PlainTextResponse(batch.checkpoint), _FOR_A_MOMENT)


@router.get("/checkpoints/{batch}", responses=_TEXT | problems(NotPublished), response_class=PlainTextResponse,
            openapi_extra=_OPEN)  # fmt: skip
async def checkpoint(batch: Batch, request: Request, hashes: Hashes) -> Response:
    """The checkpoint of one batch: for ever the same bytes."""
    with database_answers():
        found = await open_log.checkpoint(hashes, batch)
    return _cached(request, PlainTextResponse(found.checkpoint), _FOR_EVER)


@router.get("/tile/{level}/{place:path}", responses=_HASHES | problems(NotPublished, BadTile), response_class=Response,
            openapi_extra=_OPEN)  # fmt: skip
async def tile(level: Level, place: Place, request: Request, hashes: Hashes) -> Response:
    """A Merkle tile, `<level>/<index>`, or its first hashes, `<level>/<index>.p/<width>` (C2SP tlog-tiles).

    There are no entry bundles: entries belong to tenants."""
    if level == "entries":
        raise NotPublished
    with database_answers():
        content = await open_log.tile(hashes, level, place)
    return _cached(request, Response(content, media_type="application/octet-stream"), _FOR_EVER)


@router.get("/key", responses=_TEXT, response_class=PlainTextResponse, openapi_extra=_OPEN)
async def key(request: Request, log: Log) -> Response:
    """The verifier key (C2SP signed-note). Get it from somebody whom you trust, too."""
    return _cached(request, PlainTextResponse(f"{log.key}\n"), _FOR_AN_HOUR)


@router.get("/anchors", openapi_extra=_OPEN)
async def anchors(
    request: Request,
    hashes: Hashes,
    log: Log,
    after: Position = 0,
    limit: PageSize = 100,
) -> AnchorPage:
    """The anchors of the batches after one, oldest first; `next` is the cursor of the following page."""
    with database_answers():
        found = await open_log.anchors_after(hashes, after, limit=asked_for(limit))
    page = Page.of(found, limit)
    shown = {
        "items": [_without_receipt(anchor.wire(log)) for anchor in page.items],
        "next": page.next(lambda anchor: anchor.batch_id),
    }
    return _cached(request, JSONResponse(shown), _FOR_A_MOMENT)  # type: ignore[return-value]


@router.get("/anchors/{batch}", responses=problems(NotPublished), openapi_extra=_OPEN)
async def anchor(batch: Batch, request: Request, hashes: Hashes, log: Log) -> AnchorView:
    """One anchor with its receipt, whose members are null until a node has given the proof."""
    with database_answers():
        found = await open_log.anchor(hashes, batch)
    answer = JSONResponse(found.wire(log))
    return _cached(request, answer, _FOR_EVER if found.receipt else _FOR_A_MOMENT)  # type: ignore[return-value]


def _without_receipt(anchor: dict[str, Any]) -> dict[str, Any]:
    return {name: anchor[name] for name in AnchorPage.MEMBERS}


def _cached(request: Request, answer: Response, how_long: str) -> Response:
    """With the headers of a cache, and without the bytes where the asker has them already."""
    tag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    headers = {"cache-control": how_long, "etag": tag}
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer
