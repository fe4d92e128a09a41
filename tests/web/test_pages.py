"""Pages and their files: each under its content's hash, one policy, and nothing that a missing package breaks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fintokenx.app import http as app_http
from fintokenx.kernel.clock import FixedClock
from fintokenx.kernel.ids import Ids
from fintokenx.web import assets
from fintokenx.web.pages import Pages
from tests.support import START
from tests.support.pages import Page

pytestmark = pytest.mark.anyio

DESK = "fintokenx.desks.explorer"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = app_http.create(ids=Ids(FixedClock(START), bytes), routers=[], title="t", version="1", environment="local")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as made:
        yield made


@pytest.mark.parametrize("asset", [assets.STYLE, assets.HTMX], ids=["the stylesheet", "htmx"])
async def test_a_file_is_served_under_the_hash_of_its_content_and_kept_for_ever(
    client: httpx.AsyncClient, asset: assets.Asset | None
) -> None:
    assert asset is not None, "make setup installs npm's packages"
    answer = await client.get(asset.path)
    assert answer.status_code == 200
    assert answer.content == asset.content
    assert hashlib.sha256(answer.content).hexdigest()[:16] in asset.path
    assert asset.integrity == assets.integrity_of(answer.content)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")


async def test_a_file_under_another_hash_is_not_there(client: httpx.AsyncClient) -> None:
    """A page of an older release gets no newer stylesheet for its own."""
    old = assets.Asset("fintokenx", "css", b"body{color:red}").path
    for path in (old, "/assets/fintokenx.css", "/assets/", "/assets/..%2f..%2fpages.py"):
        assert (await client.get(path)).status_code == 404, path


def test_other_content_has_another_address() -> None:
    assert assets.Asset("a", "css", b"1").path != assets.Asset("a", "css", b"2").path


def test_without_npm_s_packages_a_page_has_no_script_and_its_form_posts_as_it_is(tmp_path: Path) -> None:
    assert assets.vendored("htmx", "js", "htmx.org/dist/htmx.min.js", tmp_path) is None
    answer = Pages(DESK, script=None).message("Your holdings", "Once.", 200, button="Show")
    page = Page(bytes(answer.body).decode())
    assert page.all("script") == []
    assert "script-src" not in answer.headers["content-security-policy"]
    [form] = page.all("form")
    assert form["method"] == "post"


def test_a_page_that_is_evidence_fetches_nothing_and_its_bytes_hold_its_stylesheet() -> None:
    """IN-12: what is hashed is what was seen; no file beside it can change how it looks."""
    answer = Pages(DESK, self_contained=True).message("Confirmed", "Thank you.", 200, button="Again")
    page = Page(bytes(answer.body).decode())
    assert page.style.encode() == assets.STYLE.content
    assert page.tags.isdisjoint({"link", "script", "img"})
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src '{assets.STYLE.integrity}'"
        "; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize("script", [None, assets.HTMX], ids=["plain", "with htmx"])
@pytest.mark.parametrize("self_contained", [True, False])
def test_no_policy_allows_anything_unsafe(script: assets.Asset | None, self_contained: bool) -> None:
    pages = Pages(DESK, self_contained=self_contained, script=script)
    for answer in (pages.message("a", "b", 200, button="c"), pages.message("a", "b", 410), pages.answer("")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"unsafe|\*|https?:|data:|blob:|nonce", policy)


def test_the_stylesheet_asks_for_nothing_and_can_stand_inside_a_page() -> None:
    style = assets.STYLE.content.decode()
    assert not re.search(r"url\(|@import|</|<!--|expression\(", style)


def test_colours_and_spaces_are_tokens() -> None:
    """A colour outside the tokens would be the same in the dark. Print is on white paper."""
    style = assets.STYLE.content.decode()
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    tokens = re.findall(r":root\{(.*?)\}", rules, re.DOTALL)
    assert len(tokens) == 2, "light and dark"
    colours = [set(re.findall(r"(--[a-z-]+):#", each)) for each in tokens]
    assert colours[0] == colours[1]
    outside, paper = re.sub(r":root\{.*?\}", "", rules, flags=re.DOTALL).split("@media print")
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", outside)
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", paper)) == {"#fff"}
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", rules))
    assert used == set(re.findall(r"(--[a-z0-9-]+):", tokens[0])), "every token is used, and every one used is there"
