"""The outsider's verifier, run as an outsider runs it: the one file alone in an empty folder."""
