"""What settlement does about other modules' facts."""

from __future__ import annotations

from fintokenx.kernel.bus import Afterwards, InStep
from fintokenx.lifecycle.tokenisation.events import TransferConfirmed, TransferRefused
from fintokenx.parties.auth.events import SubjectUnfrozen

IN_STEP: tuple[InStep, ...] = ()

AFTERWARDS = (
    Afterwards(TransferConfirmed, "settlement.token_moved"),
    Afterwards(TransferRefused, "settlement.token_refused"),
    Afterwards(SubjectUnfrozen, "settlement.release_held"),
)
