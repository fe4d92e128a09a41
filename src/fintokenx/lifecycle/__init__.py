"""An invoice's life, in order."""
