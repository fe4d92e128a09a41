"""The red team: a catalogue of attacks that is played against a running system, and a signed report of what became of
each one (TI-01 … TI-09, P-04, P-24).

An attack is refused, or it leaves its fingerprint in the record; anything else is broken. The catalogue is
``fintokenx.app.redteam.attacks``, one file per family; what has been reviewed stands in ``reviewed``.
"""

from fintokenx.app.redteam.catalogue import ATTACKS, FAMILIES, chosen
from fintokenx.app.redteam.report import Report, ReportRefused, archive, opened, signed
from fintokenx.app.redteam.run import ATTACKS_MIN, Result, play
from fintokenx.app.redteam.scene import CouldNotRun
from fintokenx.app.redteam.types import Attack, Broken, Finding, Outcome

__all__ = [
    "ATTACKS",
    "ATTACKS_MIN",
    "FAMILIES",
    "Attack",
    "Broken",
    "CouldNotRun",
    "Finding",
    "Outcome",
    "Report",
    "ReportRefused",
    "Result",
    "archive",
    "chosen",
    "opened",
    "play",
    "signed",
]
