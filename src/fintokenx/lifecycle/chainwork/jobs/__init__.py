"""Driving chain transactions: rounds, nonces, blocks and outages."""
