"""Tests of the local stand-ins and of what starts them."""
