"""The outputs of a model as tensors: what its signature says of them, which are asked for, and an answer's arrays.

A model answers ``predict``, and ``predict_proba`` where it gives probabilities; one with several outputs answers them
under their own names. ``prediction_id`` stands beside them: the id that an outcome is later reported with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.core.errors import InvalidRequestError
from loopwright.registry.signature import PREDICTION_ID
from loopwright.serving.tensors.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from loopwright.registry.signature import OutputSpec
    from loopwright.serving.calls.endpoint import Served

PREDICT = "predict"
PREDICT_PROBA = "predict_proba"
_KINDS = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}


@dataclass(frozen=True)
class ModelOutput:
    """One output of a model in the protocol's terms; -1 in the shape stands for the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def model_outputs(output: OutputSpec) -> tuple[ModelOutput, ...]:
    """Return a model's outputs, in the order in which they are answered.

    >>> from loopwright.registry.signature import OutputSpec
    >>> [one.name for one in model_outputs(OutputSpec("binary", ("no", "yes"), "str", probabilities=True))]
    ['predict', 'predict_proba', 'prediction_id']
    """
    beside = ModelOutput(PREDICTION_ID, "BYTES", (-1,))
    if output.named:
        own = (ModelOutput(one.name, _datatype(one.dtype), (-1, *one.shape)) for one in output.named)
        return (*own, beside)
    predicted = ModelOutput(PREDICT, _KINDS.get(np.dtype(output.dtype).kind, "BYTES"), (-1,))
    if not output.probabilities:
        return (predicted, beside)
    return (predicted, ModelOutput(PREDICT_PROBA, "FP64", (-1, len(output.classes or ()))), beside)


def _datatype(dtype: str) -> str:
    return Tensor.of("", np.empty(0, dtype=dtype)).datatype.name


def check_outputs(asked: Sequence[str], output: OutputSpec) -> None:
    """Refuse outputs that the model does not have.

    Raises:
        InvalidRequestError: Names the first.
    """
    known = {one.name for one in model_outputs(output)}
    for name in asked:
        if name == PREDICT_PROBA and PREDICT in known and name not in known:
            raise InvalidRequestError("The model gives no probabilities.", field=name)
        if name not in known:
            outputs = ", ".join(one.name for one in model_outputs(output))
            raise InvalidRequestError(f"There is no output '{name[:200]}'. Known: {outputs}.", field=name)


def served_tensors(served: Served, asked: Sequence[str] = ()) -> list[Tensor]:
    """Return an answer's outputs.

    Args:
        served: The answer.
        asked: The outputs asked for, in their order; all where none is.

    Raises:
        InvalidRequestError: When the version that answered does not have an output.
    """
    answers = served.answers
    output = answers.output
    if output is not None:
        if asked:
            check_outputs(asked, output)
        else:
            asked = [one.name for one in model_outputs(output)]
    else:
        asked = asked or ([PREDICT] if answers.probabilities is None else [PREDICT, PREDICT_PROBA])
    return [_tensor(served, name) for name in asked]


def _tensor(served: Served, name: str) -> Tensor:
    answers = served.answers
    if name == PREDICTION_ID:
        return Tensor.of(name, _texts(served.prediction_ids))
    if answers.output is not None and answers.output.named:
        dtype = next(one.dtype for one in answers.output.named if one.name == name)
        values: list[Any] = [row[name] for row in answers.values]  # type: ignore[index]
        return Tensor.of(name, np.array(values, dtype=dtype))
    if name == PREDICT:
        first = answers.values[0]
        plain = isinstance(first, bool | int | float)
        return Tensor.of(name, np.array(answers.values) if plain else _texts(answers.values))
    if answers.probabilities is None:
        raise InvalidRequestError("The model gives no probabilities.", field=name)
    return Tensor.of(name, np.array(answers.probabilities, dtype=np.float64))


def _texts(values: Sequence[object]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
