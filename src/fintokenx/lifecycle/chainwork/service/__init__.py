"""Commands and reads of chain transactions."""
