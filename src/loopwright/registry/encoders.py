"""Find the encoders that refuse values they never saw.

scikit-learn's encoders raise on an unknown value by default; the graph that skl2onnx makes of them answers as if all
indicators were 0. So the values that such encoders know are kept with the compiled form, and a row with another
value goes to the native form, which raises as it always did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.registry.cannot_compile import CannotCompileError

if TYPE_CHECKING:
    from collections.abc import Iterator


def refused_categories(estimator: object, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Give, per column, the text values that its encoder knows, where the encoder refuses all others.

    Args:
        estimator: A fitted estimator, with or without a pipeline and a column transformer.
        names: The columns of the frame it was trained on, in order.

    Raises:
        CannotCompileError: When an encoder refuses unknown numbers: a graph cannot be kept from answering those.
    """
    known: dict[str, tuple[str, ...]] = {}
    for encoder, columns in _encoders(estimator, names):
        for column, categories in zip(columns, encoder.categories_, strict=False):
            values = np.asarray(categories, dtype=object)
            if any(isinstance(value, int | float) and value == value for value in values):
                raise CannotCompileError(f"the encoder of '{column}' refuses unknown numbers, a graph would not")
            if all(isinstance(value, str) or value is None or value != value for value in values):
                known[column] = tuple(value for value in values if isinstance(value, str))
    return known


def _encoders(
    step: Any,  # noqa: ANN401  (a pipeline, a column transformer or any of their parts)
    columns: tuple[str, ...],
) -> Iterator[tuple[Any, tuple[str, ...]]]:
    if hasattr(step, "steps"):
        for _, inner in step.steps:
            yield from _encoders(inner, columns)
    elif hasattr(step, "transformers_"):
        for _, inner, chosen in step.transformers_:
            yield from _encoders(inner, _chosen(chosen, columns))
    elif getattr(step, "handle_unknown", None) == "error" and hasattr(step, "categories_"):
        yield step, columns


def _chosen(chosen: object, columns: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(chosen, str):
        return (chosen,)
    if isinstance(chosen, slice):
        return columns[chosen]
    picked = np.asarray(chosen)
    if picked.dtype == bool:
        return tuple(name for name, kept in zip(columns, picked, strict=True) if kept)
    return tuple(columns[item] if isinstance(item, int | np.integer) else str(item) for item in picked.tolist())
