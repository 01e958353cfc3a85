"""Score many rows at once: datasets, files and queries, in parts, exactly once."""
