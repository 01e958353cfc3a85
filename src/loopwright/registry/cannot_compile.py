"""The signal that a model has no compiled form, with the reason that its card shows."""

from __future__ import annotations


class CannotCompileError(Exception):
    """This model cannot be written as a graph, or the graph does not answer as the model does."""
