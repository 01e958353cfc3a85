"""Evaluation: what a model is worth, on rows it never saw, and whether that is enough.

Opens the sealed holdout (nobody else does), computes metrics with intervals, compares challenger and champion on the
same rows, and records verdicts. The files that hold declarations (`gate`, `metric_names`, `verdict`) import nothing
heavy.
"""
