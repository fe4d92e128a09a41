"""The whole platform and a network that stands still, whose answers get lost, or that says no."""
