"""What a model answers, in one shape for all kinds of model.

Training, the registry, serving and evaluation hand this noun around: point predictions, and for classifiers the
class probabilities beside them. It computes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from loopwright.core.errors import DeclarationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OutputKind: TypeAlias = Literal["regression", "binary", "multiclass"]
_KINDS = get_args(OutputKind)


@dataclass(frozen=True, eq=False)
class Outputs:
    """Hold the answers of one model for n rows, in row order.

    Attributes:
        kind: What the model predicts: a number, one of two classes, or one of k classes.
        values: Shape (n,). The predicted number, or the predicted class label.
        probabilities: Shape (n, k), one column per entry of `classes`, in that order; None when the model gives none.
        classes: The class labels, in the order of the columns of `probabilities`; for a binary model the second is
            the positive class, as in scikit-learn.

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
        return Outputs(self.kind, self.values[rows], kept, self.classes)
