"""Reads of one holder: chain and database side by side."""
