"""From the tensors of a message to rows: by column where they are many, as mappings where they are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.serving.tensors.tensor_rows import row_batch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from loopwright.features.request import RequestField
    from loopwright.serving.tensors.tensor import Tensor

FEW = 32  # rows that are worth computing together with those of other callers


def rows_for(
    tensors: Sequence[Tensor],
    inputs: Sequence[RequestField],
    known: Collection[str],
    *,
    further: Sequence[RequestField] = (),
) -> Sequence[Mapping[str, object]]:
    """Return the rows of a request.

    Args:
        tensors: The request's tensors.
        inputs: The fields of a request row.
        known: Names of other tensors that are left aside.
        further: Fields that only the other version in force takes.

    Raises:
        InvalidRequestError: When a tensor does not fit; names it.
        TooLargeError: When there are more than 100,000 rows.
    """
    if len(tensors) == 1:
        few = _few_by_position(tensors[0], inputs)
        if few is not None:
            return few
    elif further:
        names = {field.name for field in inputs}
        inputs = (*inputs, *(field for field in further if field.name not in names))
    batch = row_batch(tensors, inputs, known)
    if len(batch) > FEW:
        return batch
    if any(isinstance(values, np.ndarray) and values.ndim > 1 for values in batch.columns.values()):
        return batch
    return list(batch)


def _few_by_position(tensor: Tensor, inputs: Sequence[RequestField]) -> list[dict[str, object]] | None:
    """Return the rows of a small matrix of numbers, or None where it is not that, or numbers are missing.

    It spares a column for each field: the rest finds the right words for what is wrong.
    """
    shape = tensor.shape
    if len(shape) != 2 or not 0 < shape[0] <= FEW or shape[1] != len(inputs) or tensor.datatype.kind != "float":
        return None
    names = [field.name for field in inputs]
    if tensor.name in names or any(field.type != "float" or field.shape for field in inputs):
        return None
    rows = tensor.array.tolist()
    if any((total := sum(row)) != total for row in rows):  # NaN, which stands for a missing number
        return None
    return [dict(zip(names, row, strict=True)) for row in rows]
