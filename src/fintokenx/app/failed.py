"""What can be said in one sentence when a local system does not start; light, so that the command line starts fast."""

from __future__ import annotations


class LocalSystemFailed(Exception):
    """A part of a local system did not start; the message says which and what to do."""
