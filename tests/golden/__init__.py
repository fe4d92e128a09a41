"""The golden run: one life with fixed clock, ids and keys, whose record must stay as it is, byte for byte."""
