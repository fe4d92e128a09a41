"""The failure matrix: what the platform does while an outside system fails, and what becomes of it afterwards.

The tests walk this table on a running system; docs/failures.md is printed from it (``python -m tests.failures.matrix``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "failures.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to fail at one moment.

    ``states``: where the thing concerned may rest while it lasts. ``alert``: the cause of the alert that is raised.
    ``how``: what the mode's switch takes beside its name. The texts are for people.
    """

    provider: str
    mode: str
    moment: str
    states: tuple[str, ...]
    meanwhile: str
    afterwards: str
    alert: str = ""
    how: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def id(self) -> str:
        """As pytest shows it."""
        return f"{self.provider}-{self.mode}-{self.moment}".replace(" ", "_")


_HELD: Final = "the gate is HELD, no review is opened"
_RUNNING: Final = "the gate stays RUNNING, no review is opened"
_ONE_APPLICANT: Final = "the gate clears; one applicant per party at the vendor"
_ONE_SEARCH: Final = "the gate clears; one search per name at the vendor"
_BEYOND_PATIENCE: Final = {"seconds": 14}
"""Our clients wait ten seconds."""

SUMSUB: Final = (
    *(
        Row("sumsub", mode, "gate 1", ("HELD",), _HELD, _ONE_APPLICANT, "GATE1_HELD", how)
        for mode, how in (
            ("down", {}),
            ("timeout", _BEYOND_PATIENCE),
            ("slow", _BEYOND_PATIENCE),
            ("5xx", {}),
            ("malformed", {}),
            ("lost_response", {}),
        )
    ),
    Row("sumsub", "unknown_verdict", "gate 1", ("RUNNING",), _RUNNING, _ONE_APPLICANT, "KYC_DELAY"),
    Row("sumsub", "late_verdict", "gate 1", ("RUNNING",), _RUNNING, _ONE_APPLICANT, "KYC_DELAY"),
    Row(
        "sumsub", "late_webhook", "gate 1", ("CLEAR",), "the verdict is read from the vendor without it",
        "the late webhook changes nothing",
    ),
    Row(
        "sumsub", "duplicate_webhook", "gate 1", ("CLEAR",), "the second delivery changes nothing",
        "one applicant per party, one verdict",
    ),
)  # fmt: skip

COMPLYADVANTAGE: Final = (
    *(
        Row("complyadvantage", mode, "gate 2", ("HELD",), _HELD, _ONE_SEARCH, "GATE2_HELD", how)
        for mode, how in (("down", {}), ("timeout", _BEYOND_PATIENCE), ("5xx", {}), ("malformed", {}))
    ),
    Row("complyadvantage", "unknown_verdict", "gate 2", ("RUNNING",), _RUNNING, _ONE_SEARCH, "KYC_DELAY"),
)

ONBOARDING: Final = SUMSUB + COMPLYADVANTAGE
