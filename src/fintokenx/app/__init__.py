"""Starts the process; the only place that knows everybody."""
