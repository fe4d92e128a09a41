"""The attacks, one file per family."""
