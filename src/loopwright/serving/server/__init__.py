"""One serving process, from its socket to its drain."""
