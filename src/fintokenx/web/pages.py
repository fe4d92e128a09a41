"""Pages for people: rendered here in one design, nothing fetched from elsewhere, never stored, one strict policy.

A page links to the one stylesheet under its content's hash. A page that is evidence carries the stylesheet in itself:
its bytes are kept and hashed, and must show for ever what was seen (:class:`Pages`, ``self_contained``).
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined, Template
from markupsafe import Markup

from fintokenx.web import assets
from fintokenx.web.assets import Asset

_POLICY: Final = "default-src 'none'; {sources} form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address may hold a link that is as good as a key
}


class Pages:
    """The pages of one desk: its folder ``templates``, whose files extend ``web/base.html`` and use
    ``web/components.html``.

    With ``self_contained`` the stylesheet stands in every page and nothing is fetched, nor may anything run: for pages
    whose bytes are kept as evidence. ``script`` is htmx, where npm's packages are installed; a page asks for it by
    the macro ``script`` of the components, is answered as ``enhanced``, and works without.
    """

    def __init__(self, package: str, *, self_contained: bool = False, script: Asset | None = assets.HTMX) -> None:
        ours = FileSystemLoader(str(files("fintokenx.web") / "templates"))
        own = FileSystemLoader(str(files(package) / "templates"))
        self.environment = Environment(
            loader=ChoiceLoader([own, PrefixLoader({"web": ours})]),
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
            auto_reload=False,  # a page does not change while the process runs
        )  # fmt: skip
        style = assets.STYLE.content.decode()
        self.environment.globals.update(
            stylesheet=assets.STYLE,
            style_inside=Markup(style) if self_contained else None,  # noqa: S704 — our own stylesheet
            htmx=None if self_contained else script,
        )
        self._style_sources = f"style-src '{assets.STYLE.integrity}';" if self_contained else "style-src 'self';"
        self._script_sources = "" if self_contained or script is None else " script-src 'self'; connect-src 'self';"

    def template(self, name: str) -> Template:
        """One of the desk's own."""
        return self.environment.get_template(name)

    def answer(
        self, content: str | bytes, status: int = 200, headers: dict[str, str] | None = None, *, enhanced: bool = False
    ) -> HTMLResponse:
        """A rendered page under the policy. Only one that is ``enhanced`` by htmx may run a script, which is ours."""
        sources = self._style_sources + (self._script_sources if enhanced else "")
        policy = {"Content-Security-Policy": _POLICY.format(sources=sources)}
        return HTMLResponse(content, status, {**_HEADERS, **policy, **(headers or {})})

    def message(self, heading: str, text: str, status: int, *, button: str = "") -> HTMLResponse:
        """A few words, and perhaps one button that posts to the page's own address."""
        template = self.environment.get_template("web/message.html")
        content = template.render(heading=heading, text=text, button=button, is_refusal=status >= 400)
        return self.answer(content, status, enhanced=bool(button))
