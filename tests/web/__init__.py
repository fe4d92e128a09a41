"""Tests of the design system and of the files that pages ask for."""
