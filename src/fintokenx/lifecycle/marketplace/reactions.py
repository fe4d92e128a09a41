"""What marketplace does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.lifecycle.tokenisation.events import TokenMinted

IN_STEP: tuple[InStep, ...] = ()

AFTERWARDS = (Afterwards(TokenMinted, "marketplace.open_listing"),)
