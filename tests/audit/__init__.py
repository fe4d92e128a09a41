"""Tests of the record: its bytes, its chain, its proofs, and what happens when somebody tampers."""
