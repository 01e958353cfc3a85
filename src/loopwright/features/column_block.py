"""Columns that lie side by side in one matrix: what a row of plain numbers becomes at request time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.features.columns import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from loopwright.features.field import Field
    from loopwright.features.request import RequestField, Row


class ColumnBlock(Mapping[str, Array]):
    """Columns of floats by name, views on ``matrix``.

    Attributes:
        names: The names of the columns, in the order of the matrix.
        matrix: The values, shape (rows, columns).

    >>> block = ColumnBlock(("a", "b"), np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> block["b"].tolist(), block.plain_rows()
    ([2.0, 4.0], [{'a': 1.0, 'b': 2.0}, {'a': 3.0, 'b': 4.0}])
    """

    __slots__ = ("matrix", "names")

    def __init__(self, names: tuple[str, ...], matrix: NDArray[np.float64]) -> None:
        self.names = names
        self.matrix = matrix

    def __getitem__(self, name: str) -> Array:
        try:
            return cast("Array", self.matrix[:, self.names.index(name)])
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def plain_rows(self) -> list[dict[str, object]]:
        """Return each row as plain values by name; NaN becomes None."""
        rows: list[list[float | None]] = self.matrix.tolist()
        for number, row in enumerate(rows):
            total = sum(cast("list[float]", row))
            if total != total:  # a NaN, or infinities of both signs
                rows[number] = [None if value != value else value for value in row]
        return [dict(zip(self.names, row, strict=True)) for row in rows]


class BlockReader:
    """Read rows of plain numbers into a `ColumnBlock`, or give up.

    It may assume nothing: whatever it does not expect (a missing field, an unknown one, another type) makes it return
    None, and the caller reads the rows field by field, which finds the right words for what is wrong.

    Args:
        names: At least one name of a field that must be there, and takes JSON numbers.
        known: Names that a row may also carry.
    """

    def __init__(self, names: tuple[str, ...], known: frozenset[str] = frozenset()) -> None:
        self._names = names
        self._expected = known.union(names)
        self._width = len(names)
        pick = itemgetter(*names)
        self._pick: Callable[[Row], tuple[object, ...]] = pick if len(names) > 1 else lambda row: (pick(row),)

    @classmethod
    def for_fields(
        cls, inputs: Sequence[RequestField], fields: Sequence[Field], known: frozenset[str] = frozenset()
    ) -> BlockReader | None:
        """Return a reader where the model's input is exactly the request's required floats, in order; else None."""
        plain = (
            len(inputs) == len(fields) > 0
            and all(given.type == "float" and given.required for given in inputs)
            and all(field.origin == "column" and field.dtype == "float64" and not field.shape for field in fields)
            and {given.name for given in inputs} == {field.name for field in fields}
        )
        return cls(tuple(field.name for field in fields), known) if plain else None

    def read(self, rows: Sequence[Row]) -> ColumnBlock | None:
        """Return the rows as columns, or None where they are not all plain numbers under the expected names."""
        try:
            values = [self._pick(row) for row in rows]
        except (KeyError, TypeError):
            return None
        for row, picked in zip(rows, values, strict=True):
            if len(row) != self._width and not row.keys() <= self._expected:
                return None
            if not _NUMBERS.issuperset(map(type, picked)):
                return None
        try:
            matrix = np.array(values, dtype=np.float64)
        except OverflowError:
            return None
        # One product is cheaper than a comparison of each: it tells whether any number may have been rounded.
        if not np.vdot(matrix, matrix) < _EXACT * _EXACT and (np.abs(matrix) >= _EXACT).any():
            return None
        return ColumnBlock(self._names, matrix)


_NUMBERS = frozenset({int, float})
_EXACT = 2.0**53  # below it a float holds every whole number
