"""What the explorer's routes need beside a transaction."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from fintokenx.lifecycle.explorer.ports import ChainHistory
from fintokenx.parties.auth.ports import BlindIndex
from fintokenx.web.services import provided


@dataclass(frozen=True, slots=True)
class ExplorerServices:
    """The chain as it tells of single wallets, the key of page links, and where the platform is reached."""

    chain: ChainHistory
    index: BlindIndex
    public_url: str


def services(request: Request) -> ExplorerServices:
    """Dependency."""
    return provided(request, ExplorerServices)
