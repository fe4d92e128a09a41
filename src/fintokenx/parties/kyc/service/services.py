"""What kyc needs of the outside and of the kernel beside a transaction."""

from __future__ import annotations

from dataclasses import dataclass

from fintokenx.kernel.blobs import Blobs
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties.kyc.ports import IdentityVerification, NameScreening


@dataclass(frozen=True, slots=True)
class KycServices:
    """For the routes and the jobs."""

    identity: IdentityVerification
    screening: NameScreening
    sealer: Sealer
    blobs: Blobs
