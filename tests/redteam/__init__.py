"""The red team against systems that hold, and against planted holes."""
