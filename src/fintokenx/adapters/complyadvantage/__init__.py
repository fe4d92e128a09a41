"""ComplyAdvantage's classic REST API behind ``NameScreening``: gate 2 and re-screening (KY-10, IX-02)."""

from fintokenx.adapters.complyadvantage.client import ComplyAdvantageClient

__all__ = ["ComplyAdvantageClient"]
