"""Snapshots of a dataset: which there are, how two differ, and what may be removed."""
