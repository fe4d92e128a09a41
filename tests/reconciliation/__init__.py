"""Database and chain, side by side: what differs is named, what is in flight is not called a difference (TK-14)."""
