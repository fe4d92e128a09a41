"""May they act? Gates 1 to 3 per subject."""
