"""The money's own record: journals that balance, under every movement."""
