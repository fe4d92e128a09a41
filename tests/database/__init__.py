"""Tests of what the database itself refuses, whoever asks and however."""
