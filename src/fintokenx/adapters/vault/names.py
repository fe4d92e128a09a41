"""Which names keys and credentials may have, in every vault."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9._/-]{1,200}")


def must_be_a_name(name: str) -> None:
    """:raises ValueError: no HSM would take it as a label"""
    if not _NAME.fullmatch(name):
        raise ValueError("not a key name")
