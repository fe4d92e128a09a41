"""The explorer: its routes, its page, and what it must never show."""
