"""Golden rows: a sample of training rows, and what the native form answered to them when it was registered.

They are what the compiled form is compared on, what a server warms up with, and what tells a person years later
whether a version still answers as it did. Stored as one Arrow IPC stream: the features as the training set held them,
the answers beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.outputs import Outputs
from loopwright.features.columns import from_arrow, model_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loopwright.features.columns import ModelInput
    from loopwright.features.field import Field
    from loopwright.registry.signature import OutputSpec, Signature

VALUE = "__value__"
PROBABILITIES = "__probabilities__"
NAMED = "__named__"
LARGEST = 256
"""Rows kept at most: enough for parity, little enough to travel with each version."""


@dataclass(frozen=True, eq=False)
class Golden:
    """Hold golden rows and the answers to them.

    Attributes:
        table: The features, one column per input of the signature.
        outputs: What the native form answered, row by row.
    """

    table: pa.Table
    outputs: Outputs

    def __len__(self) -> int:
        return len(self.outputs)

    def rows(self, signature: Signature) -> ModelInput:
        """Give the rows in the form in which the estimator got them in training."""
        return rows_of(self.table, signature.inputs)

    def to_bytes(self) -> bytes:
        """Write rows and answers as one Arrow IPC stream."""
        named = self.outputs.named
        if named is None:
            table = self.table.append_column(VALUE, pa.array(self.outputs.values.tolist()))
        else:
            table = self.table
            for name, values in named.items():
                table = table.append_column(f"{NAMED}{name}", pa.array(values.tolist()))
        if self.outputs.probabilities is not None:
            table = table.append_column(PROBABILITIES, pa.array(self.outputs.probabilities.tolist()))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes, output: OutputSpec) -> Golden:
        """Read what `to_bytes` wrote."""
        table = pa.ipc.open_stream(data).read_all()
        if output.named:
            found = {one.name: table[f"{NAMED}{one.name}"].to_pylist() for one in output.named}
            named = {one.name: np.array(found[one.name], dtype=np.dtype(one.dtype)) for one in output.named}
            return cls(table.drop_columns([f"{NAMED}{name}" for name in named]), Outputs.of_named(named))
        classes = output.class_array()
        dtype = np.dtype(np.float64) if classes is None else classes.dtype
        values: NDArray[np.generic] = np.array(table[VALUE].to_pylist(), dtype=dtype)
        probabilities = None
        kept = table.drop_columns([VALUE])
        if PROBABILITIES in table.column_names:
            probabilities = np.array(table[PROBABILITIES].to_pylist(), dtype=np.float64)
            kept = kept.drop_columns([PROBABILITIES])
        return cls(kept, Outputs(output.kind, values, probabilities, output.classes))


def choose_rows(table: pa.Table, *, count: int = LARGEST) -> pa.Table:
    """Take at most `count` rows of a training table, evenly spread from the first to the last.

    Raises:
        DeclarationError: When the table has no rows.
    """
    if table.num_rows == 0:
        raise DeclarationError("golden rows are taken from the training rows, and there are none")
    if table.num_rows <= count:
        return table.combine_chunks()
    rows = np.linspace(0, table.num_rows - 1, count).astype(np.int64)
    return table.take(pa.array(rows))


def rows_of(table: pa.Table, fields: tuple[Field, ...]) -> ModelInput:
    """Give stored rows in the form in which the estimator got them in training.

    Args:
        table: One column per field, by name; others are left aside.
        fields: The features, in the order of training.
    """
    return model_input({field.name: from_arrow(table[field.name], field) for field in fields}, fields)
