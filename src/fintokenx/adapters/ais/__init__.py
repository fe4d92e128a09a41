"""Account information from an Open Banking bank; implements settlement's ``AccountInformation``."""

from fintokenx.adapters.ais.client import OpenBankingClient

__all__ = ["OpenBankingClient"]
