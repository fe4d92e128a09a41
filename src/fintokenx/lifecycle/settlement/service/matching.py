"""Which invoice a narration names, if it names exactly one (statemachines §6)."""

from __future__ import annotations

import re
from typing import Final

from fintokenx.lifecycle.settlement.types import Match

_EXACT: Final = re.compile(r"(?<![0-9A-Z])FXI-[0-9A-HJKMNP-TV-Z]{7}(?![0-9A-Z])")
_NORMALISED: Final = re.compile(r"FXI([0-9A-Z]{7})")
_MISREAD: Final = str.maketrans("OIL", "011")
"""Crockford's base 32 has no O, I, L: people who type them mean 0 and 1."""


def candidates(narration: str) -> list[Match]:
    """References that the narration may name, the exact ones first; whether they exist is for the caller to ask.

    Exact: ``FXI-7KQ2M9A`` as a word of its own, in either case. Normalised: ``fxi 7kq2 m9a``, ``FXI/7KQ2M9A``, O for 0.
    """
    upper = narration.upper()
    exact = [Match(found, found, "EXACT") for found in dict.fromkeys(_EXACT.findall(upper))]
    if exact:
        return exact
    squeezed = re.sub(r"[^0-9A-Z]", "", upper)
    codes = dict.fromkeys(code.translate(_MISREAD) for code in _NORMALISED.findall(squeezed))
    return [Match(f"FXI-{code}", f"FXI{code}", "NORMALISED") for code in codes]


def references_in(narration: str) -> list[str]:
    """The narration as a payment reference of ours might stand in it: whole, and its first 18 characters."""
    text = " ".join(narration.upper().split())
    return list(dict.fromkeys([text, text[:18].rstrip()]))
