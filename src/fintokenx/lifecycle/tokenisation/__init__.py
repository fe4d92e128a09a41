"""Minted, held, moved, burned: wraps the FinToken X Network."""
