"""Mock servers that speak each vendor's wire format, with modes for every way a vendor fails."""
