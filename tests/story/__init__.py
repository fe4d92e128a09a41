"""The whole platform at work: real parts, the public API, nothing else."""
