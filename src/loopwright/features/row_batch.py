"""Request rows by column: a sequence of rows that nobody has to make while they are taken by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, overload

from loopwright.features.column_block import ColumnBlock
from loopwright.features.columns import Array, plain_values

if TYPE_CHECKING:
    from collections.abc import Iterator

Column: TypeAlias = "Array | list[object]"


class RowBatch(Sequence[Mapping[str, object]]):
    """Rows held by column.

    It is the sequence of mappings that it stands for: ``batch[0]`` is a row with plain values, and a slice is a batch.
    `FeatureAssembly.assemble` takes it by column.

    Attributes:
        columns: The values by name, one per row: arrays of shape (rows,) or (rows, …), or lists of plain values. NaN is
            a missing number, None a missing value in a list.

    Args:
        columns: The columns, all of the same length.
        rows: That length.

    >>> import numpy as np
    >>> batch = RowBatch({"x": np.array([1.5, np.nan]), "city": ["Oslo", None]}, 2)
    >>> batch[0], list(batch[1:])
    ({'x': 1.5, 'city': 'Oslo'}, [{'x': None, 'city': None}])
    """

    __slots__ = ("_rows", "columns")

    def __init__(self, columns: Mapping[str, Column], rows: int) -> None:
        self.columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, place: int) -> Mapping[str, object]: ...
    @overload
    def __getitem__(self, place: slice) -> RowBatch: ...
    def __getitem__(self, place: int | slice) -> Mapping[str, object] | RowBatch:
        if isinstance(place, slice):
            rows = len(range(*place.indices(self._rows)))
            if isinstance(self.columns, ColumnBlock):
                return RowBatch(ColumnBlock(self.columns.names, self.columns.matrix[place]), rows)
            return RowBatch({name: values[place] for name, values in self.columns.items()}, rows)
        if not -self._rows <= place < self._rows:
            raise IndexError(f"row {place} of {self._rows}")
        start = place % self._rows
        return {name: _plain(values[start : start + 1])[0] for name, values in self.columns.items()}

    def __iter__(self) -> Iterator[Mapping[str, object]]:
        if isinstance(self.columns, ColumnBlock):
            return iter(self.columns.plain_rows())
        names = list(self.columns)
        if not names:
            return iter([{} for _ in range(self._rows)])
        plain = [_plain(values) for values in self.columns.values()]
        return (dict(zip(names, row, strict=True)) for row in zip(*plain, strict=True))


def _plain(values: Column) -> list[object]:
    """Return values as they stand in a row; NaN becomes None, an array within a row a list."""
    if isinstance(values, list):
        return values
    return plain_values(values) if values.ndim == 1 else values.tolist()
