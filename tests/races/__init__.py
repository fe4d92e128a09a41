"""Many callers at once, over HTTP, for one thing."""
