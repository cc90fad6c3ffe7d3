"""I/O: how many requests came of whom."""
