"""Submitted, read, confirmed by the buyer."""
