"""What the explorer's routes need beside a transaction; the wiring puts it on ``app.state.explorer``."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from fintokenx.lifecycle.tokenisation.ports import ChainHistory
from fintokenx.parties.auth.ports import BlindIndex


@dataclass(frozen=True, slots=True)
class ExplorerServices:
    """The chain as it tells of single wallets, the key of page links, and where the platform is reached."""

    chain: ChainHistory
    index: BlindIndex
    public_url: str


def services(request: Request) -> ExplorerServices:
    """Dependency."""
    found: ExplorerServices = request.app.state.explorer
    return found
