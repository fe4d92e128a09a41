"""The journal."""

from __future__ import annotations

from typing import Final

from fintokenx.lifecycle.ledger import http
from fintokenx.lifecycle.ledger.carries import CARRIES
from fintokenx.lifecycle.ledger.transitions import ACTIONS, MACHINES
from fintokenx.web.module import Module

MODULE: Final = Module[object](
    name="ledger", routers=(http.router,), machines=MACHINES, actions=ACTIONS, carries=CARRIES
)
