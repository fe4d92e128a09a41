"""The platform's command line without any check of its own on who may receive a token, as if somebody had got past all
of them: no look at the chain before money moves, no look at the wallet, no look at who is active."""

from __future__ import annotations

from typing import Any

from fintokenx.adapters.chain import ChainClient
from fintokenx.lifecycle.tokenisation import Wallet
from fintokenx.parties import auth, kyc
from tests.network import light


async def _yes(_chain: ChainClient, *_asked: Any) -> tuple[bool, str]:
    return True, "ok"


async def _active(tx: Any, subject_id: str) -> auth.Subject:
    return await auth.subject(tx, subject_id)


def check_nothing() -> None:
    """In this process, from now on."""
    ChainClient.can_transfer = _yes  # type: ignore[method-assign]
    Wallet.registered = property(lambda _wallet: True)  # type: ignore[method-assign, assignment]
    kyc.must_be_active = _active


if __name__ == "__main__":
    check_nothing()
    light.start()
