"""Faster Payments through a ClearBank-shaped bank; implements settlement's ``FasterPayments``."""

from fintokenx.adapters.fps.client import ClearBankClient

__all__ = ["ClearBankClient"]
