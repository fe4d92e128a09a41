"""Listed, seen, chosen."""
