"""Pages for people: rendered here, nothing fetched from elsewhere, no script, never stored, one strict policy."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

_MESSAGE: Final = (files("fintokenx.kernel") / "templates" / "message.html").read_text(encoding="utf-8")


class Pages:
    """The pages of one module: its folder ``templates``, whose ``style.css`` stands in every page as ``style``."""

    def __init__(self, package: str) -> None:
        self._files = files(package) / "templates"
        style = self._read("style.css")
        self.environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        self.environment.globals["style"] = Markup(style)  # noqa: S704 — our own stylesheet
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._headers = {
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self';"
            " base-uri 'none'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",  # the address holds a link that is as good as a key
        }
        self._message = self.environment.from_string(_MESSAGE)

    def template(self, name: str) -> Template:
        """One of the module's own."""
        return self.environment.from_string(self._read(name))

    def answer(self, content: str | bytes, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
        """A rendered page under the policy."""
        return HTMLResponse(content, status, {**self._headers, **(headers or {})})

    def message(self, heading: str, text: str, status: int, *, button: str = "") -> HTMLResponse:
        """A few words, and perhaps one button that posts to the page's own address."""
        return self.answer(self._message.render(heading=heading, text=text, button=button), status)

    def _read(self, name: str) -> str:
        return (self._files / name).read_text(encoding="utf-8")
