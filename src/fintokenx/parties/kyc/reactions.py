"""What kyc does about facts of the modules below it."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.parties.compliance.events import CaseDecided

IN_STEP: tuple[InStep, ...] = ()
AFTERWARDS: tuple[Afterwards, ...] = (Afterwards(CaseDecided, "kyc.case_decided"),)
