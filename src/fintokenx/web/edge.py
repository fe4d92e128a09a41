"""The edge: problems (RFC 9457), idempotency, and answers that leave only after the commit (P-10 … P-14, P-24).

A route translates, makes one call, translates. It gets a :class:`Mutation` or :class:`Query` by dependency::

    @router.post("/v1/invoices", status_code=201, responses=problems(AlreadyThere))
    async def submit(body: SubmitInvoice, command: Annotated[Mutation, Depends(mutation)]) -> Response:
        return await command.run(lambda tx: service.submit(tx, command.caller, ...), shown=InvoiceView.of, status=201)

There is no way to answer before the commit: the response is built inside the transaction, stored with the
idempotency key, and handed out after it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import asyncpg
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from fintokenx.kernel.caller import Caller
from fintokenx.kernel.db import Database, Row, Tx
from fintokenx.kernel.errors import Refused, Unavailable
from fintokenx.kernel.ids import Ids
from fintokenx.web.routes import refuse_others
from fintokenx.web.services import provided

Result = TypeVar("Result")
View = TypeVar("View", bound=BaseModel)

IDEMPOTENCY_HEADER: Final = "FX-Idempotency-Key"
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
IDEMPOTENCY_KEY_PATTERN: Final = f"^[ -~]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}}$"
REPLAY_HEADER: Final = "FX-Idempotent-Replay"
PROBLEM_BASE: Final = "https://docs.fintokenx.example/problems/"


class IdempotencyKeyRequired(Refused):
    """Every mutation needs the header FX-Idempotency-Key (1 to 255 printable ASCII characters)."""

    code = "IDEMPOTENCY_KEY_REQUIRED"
    status = 400


class IdempotencyKeyTooLong(Refused):
    """The header FX-Idempotency-Key has more than 255 characters."""

    code = "IDEMPOTENCY_KEY_TOO_LONG"
    status = 400


class IdempotencyKeyUnreadable(Refused):
    """The header FX-Idempotency-Key holds something else than printable ASCII characters."""

    code = "IDEMPOTENCY_KEY_UNREADABLE"
    status = 400


class IdempotencyKeyTwice(Refused):
    """The request has two idempotency keys; send one."""

    code = "IDEMPOTENCY_KEY_TWICE"
    status = 400


class IdempotencyKeyReused(Refused):
    """This key has been used for another request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422


class IdempotencyInFlight(Refused):
    """The first request with this key is still running; ask again in a moment."""

    code = "IDEMPOTENCY_IN_FLIGHT"
    status = 409


@dataclass(frozen=True, slots=True)
class _Secret:
    """Marks a field of a view."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-secret": True}


Secret = Annotated[str | None, _Secret()]
"""A field that is a secret: in the first answer alone, and in no store. Only in a view that is :class:`ShownOnce`."""


class ShownOnce(BaseModel):
    """An answer with a secret in it."""

    secret_shown_once: bool = Field(
        default=False,
        description="True in a repeated answer: the secret was in the first one, is kept nowhere, and is null here.",
    )


def secrets_of(view: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a view that are secrets."""
    return tuple(
        name for name, known in view.model_fields.items() if any(isinstance(mark, _Secret) for mark in known.metadata)
    )


def without_secrets(answer: View) -> View:
    """The answer as it is kept. :raises TypeError: a secret in a view that could not say that it was shown"""
    secrets = secrets_of(type(answer))
    if not secrets:
        return answer
    if not isinstance(answer, ShownOnce):
        raise TypeError(f"{type(answer).__name__} has secrets and is not ShownOnce")
    return answer.model_copy(update={**dict.fromkeys(secrets), "secret_shown_once": True})


@dataclass(frozen=True, slots=True)
class Completion(Generic[View]):
    """What ``add`` does to an answer after the commit: the secret that the vault makes of it. While that has not
    succeeded a repeated request has it done, for its caller has been shown nothing."""

    view: type[View]
    add: Callable[[View], Awaitable[View]]


@dataclass(frozen=True, slots=True)
class Edge:
    """What every route needs."""

    database: Database
    ids: Ids
    authenticate: Callable[[Request], Awaitable[Caller]]
    """:raises Unauthenticated, Forbidden: never returns a half-known caller"""
    fingerprint_key: bytes
    """Keys the digest of request bodies, which hold personal data: a bare hash of an e-mail address is readable."""


class Problem(BaseModel):
    """RFC 9457 problem details. ``code`` is stable and for machines; ``title`` and ``detail`` are for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    request_id: str = ""


def problem(refusal: Refused, request_id: str) -> JSONResponse:
    """A refusal as application/problem+json."""
    return _problem(refusal.status, refusal.code, refusal.title(), refusal.detail, request_id, dict(refusal.members))


def _problem(status: int, code: str, title: str, detail: str, request_id: str, members: dict[str, Any]) -> JSONResponse:
    body = Problem(
        type=PROBLEM_BASE + code.lower().replace("_", "-"),
        title=title,
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
    )
    headers = {"Retry-After": "2"} if status == 503 or code == "IDEMPOTENCY_IN_FLIGHT" else {}
    return JSONResponse({**members, **body.model_dump()}, status, headers, media_type="application/problem+json")


def unavailable_problem(fault: Unavailable, request_id: str) -> JSONResponse:
    """An outside system (or our database) does not answer: 503, and the same request may be retried as it is."""
    return _problem(
        503,
        f"{fault.system.upper()}_UNAVAILABLE",
        "Something that this needs does not answer just now; retry with the same key.",
        "",
        request_id,
        {"component": fault.system},
    )


def unreadable_problem(errors: Sequence[Any], request_id: str) -> JSONResponse:
    """A body or parameter that does not fit the schema: where and why, never the value."""
    found = [{"field": _field(error["loc"]), "message": str(error["msg"])} for error in errors]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in found[:5])
    title = "The request does not fit the schema."
    return _problem(422, "INVALID_REQUEST", title, detail, request_id, {"errors": found[:50]})


def _field(place: Sequence[Any]) -> str:
    """A name of the caller's own making may be anything: unpaired surrogates, or a megabyte."""
    return ".".join(str(part).encode("ascii", "backslashreplace").decode()[:80] for part in place)


def fault_problem(request_id: str) -> JSONResponse:
    """A fault of ours. Says nothing about it: the log has it under the request id."""
    return _problem(500, "INTERNAL_FAULT", "A fault on our side; ask again with the same key.", "", request_id, {})


def plain_problem(status: int, request_id: str) -> JSONResponse:
    """What the framework refuses by itself: unknown path, wrong method, too large a body."""
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_LARGE", 415: "MEDIA_TYPE_UNSUPPORTED"}
    titles = {404: "There is nothing here that you may see.", 405: "This path does not take that method."}
    title = titles.get(status, "The request cannot be served as it stands.")
    return _problem(status, codes.get(status, "BAD_REQUEST"), title, "", request_id, {})


def problems(*refusals: type[Refused]) -> dict[int | str, dict[str, Any]]:
    """The ``responses=`` of a route: which refusals it can answer, for OpenAPI."""
    documented: dict[int | str, dict[str, Any]] = {}
    for refusal in refusals:
        line = f"`{refusal.code}`: {refusal.title()}"
        entry = documented.setdefault(
            refusal.status, {"description": "", "content": {"application/problem+json": {"schema": _SCHEMA}}}
        )
        entry["description"] = f"{entry['description']}\n\n{line}".strip()
    return documented


_SCHEMA: Final = {"$ref": "#/components/schemas/Problem"}


@dataclass(frozen=True, slots=True)
class Query:
    """A read: a pinned transaction that writes nothing."""

    edge: Edge
    caller: Caller
    request_id: str

    async def run(self, read: Callable[[Tx], Awaitable[Result]]) -> Result:
        """Run ``read`` in a transaction of the caller's tenant."""
        async with self.edge.database.transaction(self.caller.tenant_id, request_id=self.request_id) as tx:
            return await read(tx)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A command from outside, under an idempotency key."""

    edge: Edge
    caller: Caller
    request_id: str
    key: str
    route: str
    request_digest: bytes

    async def run(
        self,
        command: Callable[[Tx], Awaitable[Result]],
        *,
        shown: Callable[[Result], View],
        status: int = 200,
        completed: Completion[View] | None = None,
    ) -> Response:
        """Run ``command`` once for this key and answer after the commit; a replay gets the stored bytes.

        Only effects are remembered: when ``command`` refuses, nothing is stored and the key stays free. Secrets of the
        answer (:data:`Secret`) are not stored: a replay has null in their place and says so. ``completed`` adds those
        that need the vault, after the commit; where that fails, the next request with this key does it.

        :raises IdempotencyKeyReused: the key belongs to another body, route or principal (P-12)
        :raises IdempotencyInFlight: the first request still runs after five seconds of waiting
        """
        async with self._transaction() as tx:
            stored = await self._claim(tx)
            if stored is None:
                answer = shown(await command(tx))
                kept = without_secrets(answer) if completed is None else answer
                await self._keep(tx, kept, status)
            elif completed is None or _was_shown(stored["body"]):
                return _answer(stored["status"], stored["body"], replay=True)
            else:
                answer = completed.view.model_validate_json(stored["body"])
        if completed is not None:
            answer = await completed.add(answer)
            async with self._transaction() as tx:
                await self._keep(tx, without_secrets(answer), status)
        body = answer.model_dump_json().encode()
        return _answer(status, body, replay=stored is not None, secret=bool(secrets_of(type(answer))))

    def _transaction(self) -> AbstractAsyncContextManager[Tx]:
        return self.edge.database.transaction(self.caller.tenant_id, request_id=self.request_id)

    async def _keep(self, tx: Tx, answer: BaseModel, status: int) -> None:
        if any(getattr(answer, name) is not None for name in secrets_of(type(answer))):
            raise TypeError(f"a secret of {type(answer).__name__} would be kept")
        await tx.write(
            "update ops.idempotency_keys set status = $3, headers = '{}', body = $4 where tenant_id = $1 and key = $2",
            self.caller.tenant_id,
            self.key,
            status,
            answer.model_dump_json().encode(),
        )

    @property
    def _principal(self) -> str:
        """Who asks, and for whom: the same administrator acting for somebody else is another request."""
        return f"{self.caller.actor} for {self.caller.on_behalf_of or 'itself'}"

    async def _claim(self, tx: Tx) -> Row | None:
        """Insert the key, waiting for a concurrent twin to end; the stored answer, ``status`` and ``body``, if there is
        one."""
        try:
            await tx.write("SET LOCAL lock_timeout = '5s'")
            inserted = await tx.write(
                "insert into ops.idempotency_keys (tenant_id, key, principal, route, request_digest, created_at)"
                " values ($1, $2, $3, $4, $5, $6) on conflict (tenant_id, key) do nothing",
                self.caller.tenant_id,
                self.key,
                self._principal,
                self.route,
                self.request_digest,
                tx.at,
            )
            await tx.write("SET LOCAL lock_timeout = 0")
        except asyncpg.LockNotAvailableError as fault:
            raise IdempotencyInFlight from fault
        if inserted == "INSERT 0 1":
            return None
        # tx.wrote stays true: what is replayed was committed by another transaction, and its flush may be on the way
        # still. Nobody is told before this transaction's own barrier.
        stored = await tx.row(
            "select principal, route, request_digest, status, body from ops.idempotency_keys"
            " where tenant_id = $1 and key = $2",
            self.caller.tenant_id,
            self.key,
        )
        if stored is None:
            raise IdempotencyInFlight
        same = (stored["principal"], stored["route"], stored["request_digest"])
        if same != (self._principal, self.route, self.request_digest):
            raise IdempotencyKeyReused
        return stored


def _was_shown(body: bytes) -> bool:
    return json.loads(body).get("secret_shown_once") is not False


def _answer(status: int, body: bytes, *, replay: bool, secret: bool = False) -> Response:
    headers = {REPLAY_HEADER: "true"} if replay else {}
    if secret:
        headers["Cache-Control"] = "no-store"
    return Response(body, status, headers, media_type="application/json")


async def query(request: Request) -> Query:
    """Dependency of every read."""
    edge = provided(request, Edge)
    caller = await edge.authenticate(request)
    refuse_others(request, caller)
    return Query(edge, caller, request.state.request_id)


def _idempotency_key(request: Request) -> str:
    given = request.headers.getlist(IDEMPOTENCY_HEADER)
    if len(given) > 1:
        raise IdempotencyKeyTwice
    if not given or not given[0]:
        raise IdempotencyKeyRequired
    [key] = given
    if len(key) > IDEMPOTENCY_KEY_LENGTH_MAX:
        raise IdempotencyKeyTooLong(f"{len(key)} characters")
    if not key.isascii() or not key.isprintable():
        raise IdempotencyKeyUnreadable
    return key


async def mutation(request: Request) -> Mutation:
    """Dependency of every mutation with a JSON body.

    :raises IdempotencyKeyRequired, IdempotencyKeyTooLong, IdempotencyKeyUnreadable, IdempotencyKeyTwice: the header
    """
    return await mutation_of(request, fingerprint=await request.body())


async def mutation_of(request: Request, *, fingerprint: bytes) -> Mutation:
    """For routes whose body bytes differ between equal requests (multipart boundaries): the caller names what
    makes two requests equal."""
    edge = provided(request, Edge)
    caller = await edge.authenticate(request)
    key = _idempotency_key(request)
    refuse_others(request, caller)
    route = f"{request.method} {request.url.path}"
    content = json.dumps([route, request.url.query]).encode() + b"\n" + fingerprint
    digest = hmac.new(edge.fingerprint_key, content, hashlib.sha256).digest()
    return Mutation(edge, caller, request.state.request_id, key, route, digest)
