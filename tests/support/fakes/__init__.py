"""Fakes that behave like the real thing and are held to the same tests."""
