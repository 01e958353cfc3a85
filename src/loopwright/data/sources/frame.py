"""The source ``frame``: a table in memory, or a function that returns one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from loopwright.core.errors import DeclarationError


@runtime_checkable
class ArrowStream(Protocol):
    """Anything that exports the Arrow C stream: PyArrow, Polars, pandas, DuckDB relations, Ibis tables."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the table."""


Frame = ArrowStream | Mapping[str, Sequence[object]] | Sequence[Mapping[str, object]]


@dataclass(frozen=True, eq=False)
class FrameSource:
    """A table in memory. The same content twice adds nothing; other content is the next batch."""

    table: Frame | Callable[[], Frame]

    @property
    def kind(self) -> str:
        """``frame``."""
        return "frame"

    def describe(self) -> dict[str, object]:
        """Return the declaration as a JSON value: the content cannot be listed without the project."""
        return {"kind": "frame"}

    def load(self) -> Frame:
        """Return the table, calling the function where one was given."""
        return self.table() if callable(self.table) else self.table


def frame(table: Frame | Callable[[], Frame]) -> FrameSource:
    """Declare a table in memory as a source: an Arrow, pandas or Polars table, a dict of columns or a list of rows.

    A function is called at each ingest. Content that was ingested before adds nothing. Other content is taken as the
    next batch; where the function returns the whole table each time, give the dataset a ``key``, so that rows that
    are stored already are recognised.
    """
    if not callable(table) and not isinstance(table, (ArrowStream, Mapping, Sequence)):
        raise DeclarationError(
            f"frame() takes a table or a function that returns one, got {type(table).__name__}.",
            hint="Give it a pandas or Arrow table, a dict of columns or a list of dicts.",
        )
    return FrameSource(table)
