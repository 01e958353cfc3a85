"""The examples that a training function gets: features, target, keys and times.

Reads an Arrow table with one column per ``Field`` and the columns ``__label__``, ``__key__`` and ``__event_time__``.
Numbers are handed on without a copy where Arrow's layout allows it; a memory-mapped file stays mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loopwright.core.errors import FeatureError
from loopwright.features.columns import Array, ModelInput, from_arrow, model_input
from loopwright.features.split import EVENT_TIME, KEY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopwright.features.field import Field

LABEL = "__label__"
ARRIVED_AT = "__arrived_at__"


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Features and target, row by row.

    Attributes:
        table: The stored columns.
        fields: The features, in the order in which the model gets them.
        label: The target.

    >>> from loopwright.features.field import Field
    >>> table = pa.table(
    ...     {
    ...         "x": [1.0, 2.0],
    ...         "__label__": [0, 1],
    ...         "__key__": ["a", "b"],
    ...         "__event_time__": pa.array([0, 1], pa.timestamp("us")),
    ...     }
    ... )
    >>> train = from_table(table, (Field("x", "float64"),), Field("y", "int64"))
    >>> train.X.shape, train.y.tolist(), train.keys.tolist()
    ((2, 1), [0, 1], ['a', 'b'])
    """

    table: pa.Table
    fields: tuple[Field, ...]
    label: Field

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def columns(self) -> dict[str, Array]:
        """The features as arrays, by field name (categories as codes)."""
        return {field.name: from_arrow(self.table.column(field.name), field) for field in self.fields}

    @cached_property
    def X(self) -> ModelInput:  # noqa: N802 - scikit-learn's name
        """The features: a DataFrame, or an array of shape ``(n, …)`` if the only feature is an array."""
        return model_input(self.columns, self.fields)

    @cached_property
    def y(self) -> Array:
        """The target: numbers, booleans, or text for a category."""
        return label_array(self.table.column(LABEL), self.label)

    @cached_property
    def keys(self) -> Array:
        """The key of each example, as text."""
        return cast("Array", self.table.column(KEY).to_numpy())

    @cached_property
    def event_times(self) -> Array:
        """The moment of each example, ``datetime64[us]`` in UTC."""
        return cast("Array", self.table.column(EVENT_TIME).cast(pa.timestamp("us")).to_numpy())

    @property
    def feature_names(self) -> list[str]:
        """The names of the features."""
        return [field.name for field in self.fields]

    def take(self, indices: npt.NDArray[np.integer]) -> TrainingSet:
        """Return the examples at these positions."""
        return TrainingSet(self.table.take(pa.array(indices)), self.fields, self.label)

    def split(self, fraction: float = 0.2, seed: int = 0) -> tuple[TrainingSet, TrainingSet]:
        """Divide at random into the larger part and a share, for validation inside a training function.

        Args:
            fraction: The share of the second part, between 0 and 1; each part gets at least one example.
            seed: Makes the division repeatable.

        Raises:
            FeatureError: If the share is not between 0 and 1, or there are fewer than two examples.
        """
        if not 0 < fraction < 1 or len(self) < 2:
            raise FeatureError(
                f"Cannot split {len(self)} examples by {fraction}.",
                hint="Give a fraction between 0 and 1 of at least 2.",
            )
        count = min(max(round(len(self) * fraction), 1), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(np.sort(order[count:])), self.take(np.sort(order[:count]))


def from_table(table: pa.Table, fields: Sequence[Field], label: Field) -> TrainingSet:
    """Return the examples of a table.

    Raises:
        FeatureError: If a column is missing.
    """
    missing = [
        name for name in (*(field.name for field in fields), LABEL, KEY, EVENT_TIME) if name not in table.column_names
    ]
    if missing:
        raise FeatureError(
            f"The table lacks the columns {', '.join(missing)}.", hint=f"It has {', '.join(table.column_names)}."
        )
    return TrainingSet(table, tuple(fields), label)


def read_training_set(path: Path, fields: Sequence[Field], label: Field) -> TrainingSet:
    """Return the examples of an Arrow IPC file, memory-mapped: nothing is read until it is used."""
    with pa.memory_map(str(path)) as source:
        return from_table(pa.ipc.open_file(source).read_all(), fields, label)


def label_array(column: pa.ChunkedArray, label: Field) -> Array:
    """Return a stored label column as the target array: numbers, booleans or fixed-width text."""
    if label.dtype in {"string", "category"}:
        return np.array(column.to_pylist(), dtype=np.str_)
    if label.dtype == "timestamp":
        return cast("Array", column.cast(pa.timestamp("us")).to_numpy())
    return cast("Array", column.to_numpy())
