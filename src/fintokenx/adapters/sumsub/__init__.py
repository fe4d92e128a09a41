"""Sumsub behind ``IdentityVerification``: gate 1, persons and companies (KY-07 to KY-09, IX-01)."""

from fintokenx.adapters.sumsub.client import SumsubClient

__all__ = ["SumsubClient"]
