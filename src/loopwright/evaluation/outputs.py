"""What a model answers, in one shape for all kinds of model.

Training, the registry, serving and evaluation hand this noun around: point predictions, for classifiers the class
probabilities beside them, and for a model with several outputs one array under each of their names. It computes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OutputKind: TypeAlias = Literal["regression", "binary", "multiclass", "named"]
_KINDS = get_args(OutputKind)


@dataclass(frozen=True, eq=False)
class Outputs:
    """Hold the answers of one model for n rows, in row order.

    Attributes:
        kind: What the model predicts: a number, one of two classes, one of k classes, or several named outputs.
        values: Shape (n,). The predicted number, the predicted class label, or a mapping of the named outputs.
        probabilities: Shape (n, k), one column per entry of `classes`, in that order; None when the model gives none.
        classes: The class labels, in the order of the columns of `probabilities`; for a binary model the second is
            the positive class, as in scikit-learn.
        named: Arrays of shape (n, …) by name for named outputs, else None; `Outputs.of_named` makes them.

    Raises:
        DeclarationError: When the shapes contradict each other.

    >>> import numpy as np
    >>> outputs = Outputs("binary", np.array([0, 1]), np.array([[0.8, 0.2], [0.3, 0.7]]), (0, 1))
    >>> len(outputs), outputs.positive_scores.tolist()
    (2, [0.2, 0.7])
    """

    kind: OutputKind
    values: NDArray[np.generic]
    probabilities: NDArray[np.float64] | None = None
    classes: tuple[object, ...] | None = None
    named: Mapping[str, NDArray[np.generic]] | None = None

    @classmethod
    def of_named(cls, named: Mapping[str, NDArray[np.generic]]) -> Outputs:
        """Give the answers of a model with several outputs.

        Args:
            named: Arrays of shape (n, …) by the outputs' names.

        Raises:
            DeclarationError: When there are none, or they have different numbers of rows.

        >>> Outputs.of_named({"sum": np.array([[3, 4]]), "larger": np.array([2])}).values.tolist()
        [{'sum': [3, 4], 'larger': 2}]
        """
        counts = {name: array.shape[:1] for name, array in named.items()}
        if not counts or len(set(counts.values())) != 1 or () in counts.values():
            raise DeclarationError(f"named outputs need one row per row of the input each, got {counts}")
        rows = [dict(zip(named, row, strict=True)) for row in zip(*(a.tolist() for a in named.values()), strict=True)]
        values = np.empty(len(rows), dtype=object)
        values[:] = rows
        return cls("named", values, named=named)

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise DeclarationError(f"outputs have kind {self.kind!r}; use one of {', '.join(_KINDS)}")
        if self.values.ndim != 1:
            raise DeclarationError(f"outputs need one value per row; the values have shape {self.values.shape}")
        if self.probabilities is None:
            return
        if self.classes is None:
            raise DeclarationError("outputs with probabilities must name their classes, one per column")
        expected = (len(self.values), len(self.classes))
        if self.probabilities.shape != expected:
            raise DeclarationError(
                f"probabilities have shape {self.probabilities.shape}; {expected[0]} rows and {expected[1]} classes "
                f"need {expected}"
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positive_scores(self) -> NDArray[np.float64] | None:
        """Give the probability of the positive class, shape (n,), or None when there is no single such column."""
        if self.kind != "binary" or self.probabilities is None or self.probabilities.shape[1] != 2:
            return None
        scores: NDArray[np.float64] = self.probabilities[:, 1]
        return scores

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Outputs:
        """Keep the given rows (indices, a mask or a slice), in their order."""
        kept = None if self.probabilities is None else self.probabilities[rows]
        named = None if self.named is None else {name: array[rows] for name, array in self.named.items()}
        return Outputs(self.kind, self.values[rows], kept, self.classes, named)
