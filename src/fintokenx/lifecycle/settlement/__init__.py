"""Paid out, collected, shared."""
