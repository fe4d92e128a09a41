"""The decision table of canTransfer, and three that must answer it alike."""
