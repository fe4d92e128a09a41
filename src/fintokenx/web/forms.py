"""What a request says, it says once: query parameters, members of JSON objects, fields of forms.

Of two values for one name the framework takes the last and says nothing; whoever signs a decision sees the first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.datastructures import FormData

from fintokenx.kernel.errors import Invalid

FORM_BYTES_MAX: Final = 16 * 1024
"""The forms of our pages have a word and a hash."""
READ_BYTES_MAX: Final = 8 * 1024 * 1024
"""So much of too large a form is read and dropped, so that its sender gets to see the answer."""
_FORM: Final = "application/x-www-form-urlencoded"


class GivenTwice(Invalid):
    """Something is said twice in this request; say it once."""

    code = "GIVEN_TWICE"


class FormRefused(Invalid):
    """The form is not the one on the page: a field is missing, unknown or there twice, or it is too large."""

    code = "FORM_REFUSED"


async def said_once(request: Request) -> None:
    """Dependency of the whole application. :raises GivenTwice: a query parameter, or a member of a JSON object"""
    _no_name_twice((name for name, _ in request.query_params.multi_items()), "query")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        json_once(await request.body())


def json_once(text: bytes | str) -> None:
    """:raises GivenTwice: an object with a member twice. What is no JSON at all is refused by its own reader."""

    def members(pairs: list[tuple[str, Any]]) -> None:
        _no_name_twice((name for name, _ in pairs), "body")

    try:
        json.loads(text, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return


def fields_once(form: FormData, *names: str) -> None:
    """A form with files. :raises FormRefused: a field is missing, unknown or there twice"""
    _exactly([name for name, _ in form.multi_items()], names)


async def page_form(request: Request, *names: str) -> dict[str, str]:
    """The fields of a page's form by name, each there once.

    :raises FormRefused: another form than the page's, or one of more than ``FORM_BYTES_MAX`` bytes
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in ("", _FORM):
        raise FormRefused("the content type")
    content = await _body(request)
    try:
        pairs = parse_qsl(
            content.decode("ascii"), keep_blank_values=True, strict_parsing=bool(content), errors="strict",
            max_num_fields=len(names) + 8,
        )  # fmt: skip
    except ValueError as fault:
        raise FormRefused("it cannot be read") from fault
    _exactly([name for name, _ in pairs], names)
    return dict(pairs)


async def _body(request: Request) -> bytes:
    kept, length = bytearray(), 0
    async for part in request.stream():
        length += len(part)
        if length > READ_BYTES_MAX:
            break
        if length <= FORM_BYTES_MAX:
            kept += part
    if length > FORM_BYTES_MAX:
        raise FormRefused("it is too large")
    return bytes(kept)


def _exactly(given: list[str], names: tuple[str, ...]) -> None:
    for name in names:
        if given.count(name) != 1:
            raise FormRefused(f"{name} is there {'twice' if name in given else 'not at all'}")
    if len(given) != len(names):
        raise FormRefused("it has an unknown field")


def _no_name_twice(names: Iterable[str], where: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise GivenTwice(f"{where}.{name}" if name.isidentifier() and name.isascii() else where)
