"""The contracts as others meet them, who have nothing of ours but an address."""
