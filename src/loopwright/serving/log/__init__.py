"""The prediction log: on disk before the answer leaves, then in the lake exactly once."""
