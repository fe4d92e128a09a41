"""The explorer in a browser: one look behind a link of one's own sign-in, at one's own holdings."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from fintokenx.kernel.caller import Caller, Role
from fintokenx.web.assets import HTMX, STYLE
from tests.explorer.house import URL, Window, holder, window_on
from tests.modules.tokens_house import TENANT
from tests.support import World
from tests.support.pages import Page

pytestmark = pytest.mark.anyio

LINKS = "/v1/explorer/links"


@pytest.fixture
async def window(world: World) -> AsyncIterator[Window]:
    async with window_on(world) as made:
        yield made


def _accessible(page: Page) -> None:
    """Language, one title and main heading, no heading level skipped; tables with captions and scoped headers, in
    regions that a keyboard can scroll; nothing that runs or is fetched."""
    [root], [_main] = page.all("html"), page.all("main")
    assert root["lang"] == "en-GB"
    assert len(page.all("title")) == len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.seen if tag in ("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption")) == len(page.all("h2"))
    assert all(each.get("scope") in ("row", "col") for each in page.all("th"))
    ids = {each["id"] for _, each in page.seen if "id" in each}
    regions = [each for each in page.all("div") if each.get("role") == "region"]
    assert len(regions) == len(page.all("table"))
    assert all(each["tabindex"] == "0" and each["aria-labelledby"] in ids for each in regions)
    assert {"width=device-width, initial-scale=1"} <= {each.get("content", "") for each in page.all("meta")}
    assert page.tags.isdisjoint({"img", "iframe", "object", "embed", "base", "style"})
    assert not {name for _, each in page.seen for name in each} & {"style", "onclick", "onload"}


def _sealed(answer: httpx.Response, *, enhanced: bool = False) -> Page:
    """The page, with headers that let a browser fetch our stylesheet, run nothing and keep nothing. One that is
    ``enhanced`` may run our script."""
    page = Page(answer.text)
    assert [(each["href"], each["integrity"]) for each in page.all("link")] == [(STYLE.path, STYLE.integrity)]
    assert HTMX is not None
    scripts = [(each["src"], each["integrity"]) for each in page.all("script")]
    assert scripts == ([(HTMX.path, HTMX.integrity)] if enhanced else [])
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; "
        + ("script-src 'self'; connect-src 'self'; " if enhanced else "")
        + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    return page


async def _link(window: Window, caller: Caller, *, key: str = "k") -> str:
    answer = await window.post(caller, LINKS, key=key)
    assert answer.status_code == 201, answer.text
    url = str(answer.json()["url"])
    assert url.startswith(f"{URL}/explorer/{TENANT}.pgl_")
    return url.removeprefix(URL)


async def _signed_in(window: Window, number: int) -> Caller:
    return await window.session_of(window.lender(number))


async def test_a_holder_opens_its_link_and_sees_its_own_holdings_once(window: Window) -> None:
    mine, theirs = await window.held(0), await window.held(1)
    await window.seal()
    path = await _link(window, await _signed_in(window, 0))
    for _ in range(3):  # a GET looks and uses nothing up
        asked = await window.client.get(path)
        assert asked.status_code == 200
        page = _sealed(asked, enhanced=True)
        _accessible(page)
        assert mine.reference not in asked.text
        assert [each["type"] for each in page.all("button")] == ["submit"]
    shown = await window.client.post(path)
    assert shown.status_code == 200
    page = _sealed(shown)
    _accessible(page)
    assert "differ" not in page.text
    [moved] = await window.transfers(window.lender(0))
    for word in (
        mine.reference, str(mine.face), "equal", "transfer, in", "our minting wallet", moved["tx_hash"],
        moved["entry"]["id"], f"block {moved['block_number']}", "anchored: block 100", "A lender Ltd", "Anchors",
    ):  # fmt: skip
        assert word in page.text, word
    for word in (theirs.reference, theirs.token_id_hex, theirs.holder_wallet, theirs.holder_subject_id):
        assert str(word) not in shown.text
    for again in (await window.client.post(path), await window.client.get(path)):
        assert again.status_code == 410
        assert mine.reference not in again.text
        assert "This link is no longer valid" in _sealed(again).text


async def test_of_two_who_press_at_once_one_sees(window: Window) -> None:
    await window.held(0)
    path = await _link(window, await _signed_in(window, 0))
    window.chain.one_at_a_time = False
    answers = await asyncio.gather(*(window.client.post(path) for _ in range(5)))
    assert sorted(each.status_code for each in answers) == [200, 410, 410, 410, 410]


async def test_a_tampered_row_is_a_difference_on_the_page(window: Window) -> None:
    token = await window.held(0)
    other = await window.town.house.wallet(window.town.lenders[1])
    await window.town.tamper(
        "tokens",
        f"update app.tokens set holder_subject_id = '{other.subject_id}', holder_wallet = '{other.address}'"
        f" where reference = '{token.reference}'",
    )
    for number in (0, 1):
        shown = await window.client.post(await _link(window, await _signed_in(window, number), key=f"{number}"))
        page = _sealed(shown)
        _accessible(page)
        assert f"Chain and books differ on {token.reference}." in page.text
        assert [each["role"] for each in page.all("p") if "role" in each] == ["alert"]


async def test_after_the_burn_the_page_shows_the_way_in_and_the_way_out(window: Window) -> None:
    token = await window.held(0)
    await window.burned(token)
    page = _sealed(await window.client.post(await _link(window, await _signed_in(window, 0))))
    assert "BURNED" in page.text
    assert page.text.index("burn, out") < page.text.index("transfer, in")


async def test_a_holder_of_nothing_sees_empty_tables(window: Window) -> None:
    page = _sealed(await window.client.post(await _link(window, await _signed_in(window, 2))))
    _accessible(page)
    assert page.text.count("None.") == 2


async def test_without_the_chain_the_page_says_so_and_the_link_is_good_afterwards(window: Window) -> None:
    token = await window.held(0)
    path = await _link(window, await _signed_in(window, 0))
    there = window.chain.real
    async with window.nobody_listens():
        away = await window.client.post(path)
        assert away.status_code == 503
        assert "Not just now" in _sealed(away).text
        assert token.reference not in away.text
    assert window.chain.real is there
    assert token.reference in (await window.client.post(path)).text


# ── Links


async def test_a_link_is_dead_when_it_is_old_replaced_or_its_session_has_ended(window: Window) -> None:
    await window.held(0)
    caller = await _signed_in(window, 0)
    replaced, kept = await _link(window, caller, key="first"), await _link(window, caller, key="second")
    assert (await window.client.post(replaced)).status_code == 410
    assert (await window.client.get(kept)).status_code == 200
    window.town.house.pass_time(minutes=5)
    for answer in (await window.client.get(kept), await window.client.post(kept)):
        assert answer.status_code == 410
    path = await _link(window, caller, key="third")
    ended = f"state = 'REVOKED', revoked_at = '{window.world.clock.now()}' where id = '{caller.session_id}'"
    await window.town.tamper("sessions", f"update app.sessions set {ended}")
    for answer in (await window.client.get(path), await window.client.post(path)):
        assert answer.status_code == 410


async def test_a_frozen_holders_link_opens_nothing(window: Window) -> None:
    await window.held(0)
    path = await _link(window, await _signed_in(window, 0))
    await window.town.freeze(window.town.lenders[0], frozen=True)
    assert (await window.client.post(path)).status_code == 410


async def test_a_link_that_we_never_made_is_unknown(window: Window) -> None:
    path = await _link(window, await _signed_in(window, 0))
    head, secret = path.rsplit(".", 1)
    other_tenant = path.replace(TENANT, "tnt_b")
    changed = f"{head}.{'0' if secret[0] != '0' else '1'}{secret[1:]}"
    for wrong in (changed, other_tenant, "/explorer/x", f"{path}0", path.replace(".pgl_", ".ml_")):
        for answer in (await window.client.get(wrong), await window.client.post(wrong)):
            assert answer.status_code == 404, wrong
            assert "We do not know this link" in _sealed(answer).text


async def test_only_a_signed_in_holder_gets_a_link(window: Window) -> None:
    for role in Role:
        caller = holder(window.town.lenders[0], role)
        answer = await window.post(caller, LINKS)
        if role in (Role.LENDER, Role.INVESTOR):
            assert (answer.status_code, answer.json()["code"]) == (403, "SESSION_REQUIRED")
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "ROLE_FORBIDDEN")
    admin = Caller(
        TENANT, Role.PLATFORM_ADMIN, "sub_admin", subject_id=window.town.lenders[0], acts_as=Role.LENDER,
        admin_session_id="adm_1", session_id="adm_1",
    )  # fmt: skip
    assert (await window.post(admin, LINKS)).json()["code"] == "SESSION_REQUIRED"


async def test_a_repeated_request_shows_no_link_and_the_database_holds_none(window: Window) -> None:
    caller = await _signed_in(window, 0)
    first, again = await window.post(caller, LINKS), await window.post(caller, LINKS)
    assert again.json() == {**first.json(), "url": None, "secret_shown_once": True}
    assert again.headers["fx-idempotent-replay"] == "true"
    assert first.headers["cache-control"] == "no-store"
    secret = first.json()["url"].rsplit(".", 1)[1]
    superuser = await window.world.connect("postgres")
    for table in ("ops.page_links", "ops.idempotency_keys", "app.audit_entries"):
        rows = [str(dict(row)) for row in await superuser.fetch(f"select * from {table}")]
        assert rows or table == "app.audit_entries"
        assert not [row for row in rows if secret in row]
    bodies = await superuser.fetchval("select convert_from(body, 'utf8') from ops.idempotency_keys")
    assert secret not in bodies
    await superuser.close()


async def test_the_link_of_one_tenant_is_no_row_of_another(window: Window) -> None:
    """By the database itself: another tenant's pin sees no link and moves none."""
    await _link(window, await _signed_in(window, 0))
    async with window.world.database.transaction("tnt_b") as tx:
        assert await tx.value("select count(*) from ops.page_links") == 0
        assert await tx.write("update ops.page_links set used_at = now()") == "UPDATE 0"
    async with window.world.database.transaction(TENANT) as tx:
        assert await tx.value("select count(*) from ops.page_links") == 1


async def test_expiry_is_five_minutes_from_now(window: Window) -> None:
    answer = (await window.post(await _signed_in(window, 0), LINKS)).json()
    until = (window.world.clock.now() + timedelta(minutes=5)).isoformat().replace("+00:00", "")
    assert answer["expires_at"].startswith(until[:19])


@pytest.mark.parametrize("form", ["x=1", "x=1&x=2", "x=" + "x" * 20_000, "%00"], ids=lambda form: form[:8])
async def test_another_form_than_the_button_is_422_with_a_page_and_uses_nothing_up(window: Window, form: str) -> None:
    """A15."""
    link = await _link(window, await _signed_in(window, 0))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await window.client.post(link, content=form, headers=headers)
    assert answer.status_code == 422
    assert "press the button" in _sealed(answer).text
    assert (await window.client.post(link)).status_code == 200
