"""From the tensors of a message to rows: by column where they are many, as mappings where they are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.serving.tensor_rows import row_batch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from loopwright.features.request import RequestField
    from loopwright.serving.tensor import Tensor

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
    if further and len(tensors) > 1:
        names = {field.name for field in inputs}
        inputs = (*inputs, *(field for field in further if field.name not in names))
    batch = row_batch(tensors, inputs, known)
    if len(batch) > FEW or any(isinstance(values, np.ndarray) and values.ndim > 1 for values in batch.columns.values()):
        return batch
    return list(batch)
