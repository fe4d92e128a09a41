"""The commands and queries of tokenisation, by what they are about."""
