"""One folder per outside system; each implements the ports of the modules that need it."""
