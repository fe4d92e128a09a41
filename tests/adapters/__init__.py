"""One contract suite per outside system: the production client against the mock server over real HTTP."""
