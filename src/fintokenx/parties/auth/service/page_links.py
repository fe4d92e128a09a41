"""Page links: whoever is signed in opens one page in a browser, once, within minutes, while the sign-in lives.

A link is ``<tenant id>.<link id>.<64 hex>``, and the last part is a keyed hash of the others: no copy of the database
holds one, and the answer that handed it out can be given again without being kept.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.clock import Instant
from fintokenx.kernel.db import Tx
from fintokenx.parties.auth import store
from fintokenx.parties.auth.ports import BlindIndex
from fintokenx.parties.auth.types.refusals import PageLinkOver, SessionRequired, UnknownPageLink

LIFE: Final = timedelta(minutes=5)
_RAW: Final = re.compile(r"(tnt_[a-z0-9_]{1,40})\.(pgl_[0-9a-z]{26})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link that was found to be ours; whether it still opens anything, the database knows."""

    tenant_id: str
    link_id: str


@dataclass(frozen=True, slots=True)
class IssuedPageLink:
    """A link that opens a page until ``expires_at``."""

    link: PageLink
    expires_at: Instant


def is_page_link(text: str) -> bool:
    """Whether it has the form of one."""
    return _RAW.fullmatch(text) is not None


async def issue_page_link(tx: Tx, caller: Caller) -> IssuedPageLink:
    """A fresh link for the session that asks; an earlier one of the session is dead from then on.

    :raises SessionRequired: an administrator in somebody's place, who has the API
    """
    caller.must_be(Role.LENDER, Role.INVESTOR, tenant_id=tx.tenant_id)
    if caller.session_id is None or caller.admin_session_id is not None:
        raise SessionRequired
    issued = IssuedPageLink(PageLink(tx.tenant_id, tx.ids.new("pgl")), tx.at + LIFE)
    await store.keep_page_link(tx, caller.session_id, issued.link.link_id, issued.expires_at)
    return issued


async def spell_page_link(index: BlindIndex, link: PageLink) -> str:
    """The link as it stands in an address. Touches the vault. :raises VaultUnavailable: it does not answer"""
    public = f"{link.tenant_id}.{link.link_id}"
    return f"{public}.{await index.blind_index('page-link', public)}"


async def read_page_link(index: BlindIndex, raw: str) -> PageLink:
    """The link behind what stands in an address. Touches the vault and no database.

    :raises UnknownPageLink: we never made it
    """
    parts = _RAW.fullmatch(raw)
    if parts is None:
        raise UnknownPageLink
    link = PageLink(parts[1], parts[2])
    if not hmac.compare_digest(raw, await spell_page_link(index, link)):
        raise UnknownPageLink
    return link


async def open_page_link(tx: Tx, link: PageLink) -> Caller:
    """Whoever asked for the link, while its session lives. Opening does not use it up.

    :raises PageLinkOver: used, replaced or too old, or the session has ended
    """
    session_id = await store.session_of_page_link(tx, link.link_id)
    session = await store.live_session(tx, session_id) if session_id else None
    if session is None:
        raise PageLinkOver
    return session.caller


async def use_page_link(tx: Tx, caller: Caller, *, link: PageLink) -> None:
    """Use the link up. :raises PageLinkOver: somebody was faster, or it is not live any more"""
    caller.must_be(Role.LENDER, Role.INVESTOR, tenant_id=tx.tenant_id)
    if not await store.use_page_link(tx, link.link_id):
        raise PageLinkOver
