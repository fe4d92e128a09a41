"""The parts of a running system that tests put together."""
