"""Under whose flag: tenants, their names and API keys' home."""
