"""A mock bank: ClearBank's payments and accounts API and Open Banking account information over one book.

The surfaces: :mod:`bank_clearbank`, :mod:`bank_open_banking`; the control routes: :mod:`bank_control`.

Fates of a payment, first match wins: the next ones ordered by ``POST /control/fates``, then the creditor's account
number, then the amount, else it settles (AC03 when the account is unknown here):

==================  ================  ==============================================
account number      amount            what becomes of it
==================  ================  ==============================================
``00000007``        £1,313.07         rejected, AC07: account closed, terminal
``00000003``        £1,313.03         rejected, MS03: unspecified, retriable
``00000009``        £1,313.09         held, pending for ever
``00000005``        £1,313.05         settles, then comes back with AC04
==================  ================  ==============================================

Control surface beside that of ``modes``: ``POST /control/accounts``, ``GET /control/accounts/{sort}/{number}``,
``POST /control/habits`` (how an account shows from now on), ``POST /control/payments`` (somebody pays at their own
bank), ``POST /control/returns``, ``POST /control/fates``, ``POST /control/oddities`` (an Open Banking transaction shown
as given, first), ``POST /control/adjustments`` (a balance without a line), ``GET /control/instructions``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.applications import Starlette
from starlette.routing import Mount

from fintokenx.kernel.clock import Clock, SystemClock
from fintokenx.sandbox.providers import bank_clearbank, bank_open_banking
from fintokenx.sandbox.providers.bank_answers import Refusal, refuse
from fintokenx.sandbox.providers.bank_book import Book
from fintokenx.sandbox.providers.bank_clearbank import ClearBank, end_to_end_id_of
from fintokenx.sandbox.providers.bank_control import Control
from fintokenx.sandbox.providers.bank_open_banking import OpenBanking
from fintokenx.sandbox.providers.credentials import Credential
from fintokenx.sandbox.providers.mock import Mock, MockParts
from fintokenx.sandbox.providers.modes import Modes


def create_app(
    *,
    state_path: Path,
    clock: Clock,
    clearbank_token: Credential,
    clearbank_public_key_pem: bytes,
    open_banking_token: Credential,
    wall: Clock | None = None,
    settle_after_seconds: float = 0.3,
    page_size: int = 50,
) -> Starlette:
    """The bank as an ASGI application. The public key is that of the vault's ``DigitalSignature`` key (RSA, PEM).

    ``page_size`` is Open Banking's; ClearBank lets the caller choose. Payments settle ``settle_after_seconds`` of
    ``wall`` time after they were accepted.
    """
    key = load_pem_public_key(clearbank_public_key_pem)
    if not isinstance(key, RSAPublicKey):
        raise TypeError("ClearBank signs with RSA")
    modes = Modes(
        "bank",
        clock,
        own=bank_clearbank.OWN_MODES | bank_open_banking.OWN_MODES,
        client_reference=end_to_end_id_of,
        error_body=_error_body,
    )
    book = Book(state_path, clock, wall or SystemClock(), settle_after_seconds)
    fates: deque[str] = deque()
    clearbank = ClearBank(book, modes, clearbank_token, key, fates)
    open_banking = OpenBanking(book, modes, open_banking_token, page_size, clock)
    control = Control(book, fates)
    handlers: dict[Any, Any] = {Refusal: refuse}
    vendor = Starlette(routes=[*clearbank.routes(), *open_banking.routes()], exception_handlers=handlers)
    modes.install(vendor)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        book.close()

    # The modes' middleware answers every /control path it is given, so the book's controls stand in front of it.
    return Starlette(routes=[*control.routes(), Mount("/", app=vendor)], lifespan=lifespan, exception_handlers=handlers)


def _error_body(status: int) -> dict[str, Any]:
    return {"type": "about:blank", "title": "Service error", "status": status}


def _of_a_local_system(parts: MockParts) -> Starlette:
    return create_app(
        state_path=parts.folder / "bank.jsonl",
        clock=parts.clock,
        clearbank_token=parts.credential("bank/clearbank-token"),
        clearbank_public_key_pem=parts.public_keys["bank/clearbank-signing"],
        open_banking_token=parts.credential("bank/open-banking-token"),
    )


MOCK: Final = Mock("bank", _of_a_local_system)
