"""Properties that hold for whatever happens."""
