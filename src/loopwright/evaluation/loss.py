"""The loss of one answer once its label is known, and the loss on the sealed holdout that live losses are held against.

One definition for the holdout and for live traffic, from an answer and a label alone. Classifiers: 0 for the right
class, 1 for a wrong one. Regression: the absolute error, in the label's unit (squares of a few large errors would make
every window a false alarm or none). Detectors need losses in [0, 1]: absolute errors are divided by their 99.5 %
quantile on the holdout and cut at 1.

What counts as no change is not the mean loss on the holdout but the upper end of its 95 % interval: with less, a
detector's guaranteed time between false alarms would not hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.binomial import clopper_pearson_upper
from loopwright.core.statistics.bootstrap import mean_interval
from loopwright.core.statistics.edetector import EDetector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from loopwright.evaluation.outputs import OutputKind

LossKind: TypeAlias = Literal["zero_one", "absolute_error"]

_SCALE_QUANTILE = 0.995
_INTERVAL = 0.95  # two-sided
_LARGEST_RATE = 0.94  # a detector takes reference rates below 0.95


def class_text(value: object) -> str:
    """Write a class the same way whatever type it came as: 3, 3.0, ``"3"`` and ``numpy.int64(3)`` are one.

    >>> class_text(3.0), class_text("3"), class_text("cat"), class_text(True)
    ('3', '3', 'cat', 'true')
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        number = float(value)
        return str(int(number)) if math.isfinite(number) and number == int(number) else repr(number)
    text = str(value)
    if text in {"True", "False"}:
        return text.lower()
    if text.endswith(".0") and text[:-2].lstrip("-").isdigit():
        return text[:-2]
    return text


def row_losses(kind: OutputKind, answers: Iterable[object], labels: Iterable[object]) -> NDArray[np.float64]:
    """Compute the loss of each row, shape (n,); NaN where an answer or a label is missing or is no number.

    >>> row_losses("multiclass", [3, "cat"], [3.0, "dog"]).tolist(), row_losses("regression", [4.0], [6.5]).tolist()
    ([0.0, 1.0], [2.5])
    """
    if kind == "regression":
        return np.abs(_numbers(answers) - _numbers(labels))
    pairs = zip(answers, labels, strict=True)
    return np.array(
        [math.nan if a is None or b is None else float(class_text(a) != class_text(b)) for a, b in pairs],
        dtype=np.float64,
    )


@dataclass(frozen=True)
class ReferenceLoss:
    """Hold a model's loss on the sealed holdout.

    Attributes:
        kind: Which loss.
        scale: What absolute errors are divided by before they are cut at 1; 1 for classes.
        mean: Mean loss on the holdout, in its own unit.
        rate: Mean of the scaled and cut losses, in [0, 1].
        upper: Upper end of the 95 % interval of `rate`: the highest mean that counts as no change.
        rows: Rows of the holdout.
    """

    kind: LossKind
    scale: float
    mean: float
    rate: float
    upper: float
    rows: int

    @property
    def unscaled_upper(self) -> float:
        """`upper` in the loss's own unit."""
        return self.upper * self.scale

    def scaled(self, losses: ArrayLike) -> NDArray[np.float64]:
        """Bring losses into [0, 1]."""
        return np.minimum(np.asarray(losses, dtype=np.float64) / self.scale, 1.0)

    def null_rate(self, tolerance: float) -> float:
        """Give the highest mean of the scaled loss that counts as no change, a tolerated share on top included."""
        return min(self.upper * (1.0 + tolerance), _LARGEST_RATE)

    def detector(self, *, average_run_length: float, tolerance: float = 0.0) -> EDetector:
        """Make the detector of a loss above the reference.

        Args:
            average_run_length: Mean rows between false alarms, at least.
            tolerance: Rise of the mean loss that is let pass, as a share of `upper`.
        """
        form: Literal["bernoulli", "betting"] = "bernoulli" if self.kind == "zero_one" else "betting"
        return EDetector(self.null_rate(tolerance), average_run_length=average_run_length, form=form)

    def to_json(self) -> dict[str, object]:
        """Write it as plain JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> ReferenceLoss:
        """Read what `to_json` wrote."""
        return cls(**data)  # type: ignore[arg-type]


def reference_loss(kind: OutputKind, losses: ArrayLike, *, seed: int = 0) -> ReferenceLoss:
    """Measure the loss on the holdout: its scale, its mean and the upper end of the mean's interval.

    Exact (Clopper and Pearson, 1934) for classes, bootstrap (BCa) for scaled absolute errors.

    Args:
        kind: What the model predicts.
        losses: Shape (n,), as `row_losses` made them; NaN is left out.
        seed: Same seed, same interval.

    Raises:
        DeclarationError: If no loss is left.

    >>> reference = reference_loss("binary", [0.0] * 95 + [1.0] * 5)
    >>> reference.rate, round(reference.upper, 4)
    (0.05, 0.1128)
    """
    values = np.asarray(losses, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    rows = len(values)
    if rows == 0:
        raise DeclarationError("A reference loss needs at least one labelled row of the holdout.")
    mean = float(values.mean())
    if kind != "regression":
        upper = clopper_pearson_upper(int(values.sum()), rows, confidence=(1.0 + _INTERVAL) / 2.0)
        return ReferenceLoss("zero_one", 1.0, mean, mean, upper, rows)
    scale = float(np.quantile(values, _SCALE_QUANTILE)) or float(values.max()) or 1.0
    scaled = np.minimum(values / scale, 1.0)
    rate = float(scaled.mean())
    high = mean_interval(scaled, seed=seed, confidence=_INTERVAL).high
    upper = min(max(high, rate, 1.0 / (rows + 2)), 1.0)  # a holdout without an error is no proof of none
    return ReferenceLoss("absolute_error", scale, mean, rate, upper, rows)


def _numbers(values: Iterable[object]) -> NDArray[np.float64]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return math.nan if value is None else float(str(value))
    except ValueError:
        return math.nan
