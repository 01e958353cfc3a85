"""The loss of one answer, once its label is known: the one definition for the reference and for live traffic.

Classifiers: 0 for the right class, 1 for a wrong one. Regression: the absolute error, in the label's unit. The detector
needs losses in [0, 1]: absolute errors are divided by a scale frozen on the holdout and cut at 1.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import special

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.binomial import clopper_pearson_upper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from loopwright.evaluation.outputs import OutputKind

LossKind: TypeAlias = Literal["zero_one", "absolute_error"]

_SCALE_QUANTILE = 0.99
_CONFIDENCE = 0.975  # one-sided: the upper end of a 95 % interval
_LARGEST_RATE = 0.94  # the e-detector takes reference rates below 0.95


def loss_kind(kind: OutputKind) -> LossKind:
    """Name the loss that belongs to a kind of model."""
    return "absolute_error" if kind == "regression" else "zero_one"


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


def label_json(value: object) -> str | None:
    """Write a label as JSON text for the outcomes table; None and NaN are no label."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or (isinstance(plain, float) and not math.isfinite(plain)):
        return None
    return json.dumps(plain, default=str)


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


def _numbers(values: Iterable[object]) -> NDArray[np.float64]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: object) -> float:
    try:
        return math.nan if value is None else float(str(value))
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class LossReference:
    """The loss on the sealed holdout that live losses are held against.

    Attributes:
        kind: Which loss.
        scale: What absolute errors are divided by before they are cut at 1; 1 for classes.
        mean: Mean loss on the holdout, in its own unit.
        scaled_mean: Mean of the scaled and cut losses, in [0, 1].
        scaled_upper: Upper end of the 95 % interval of `scaled_mean`: the highest mean that counts as no change.
        rows: Rows of the holdout.
    """

    kind: LossKind
    scale: float
    mean: float
    scaled_mean: float
    scaled_upper: float
    rows: int

    def scaled(self, losses: ArrayLike) -> NDArray[np.float64]:
        """Bring losses into [0, 1]."""
        return np.minimum(np.asarray(losses, dtype=np.float64) / self.scale, 1.0)

    def null_mean(self, tolerance: float) -> float:
        """Give the highest mean of the scaled loss that counts as no change, a tolerated share on top included."""
        return min(self.scaled_upper * (1.0 + tolerance), _LARGEST_RATE)

    def to_json(self) -> dict[str, object]:
        """Write it as plain JSON values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> LossReference:
        """Read what `to_json` wrote."""
        return cls(**data)  # type: ignore[arg-type]


def freeze_losses(kind: LossKind, losses: ArrayLike) -> LossReference:
    """Freeze the losses of a holdout.

    The upper end is Clopper and Pearson's exact one for 0/1 losses (1934), and Student's for scaled absolute errors.

    Args:
        kind: Which loss it is.
        losses: Shape (n,), as `row_losses` made them; NaN is left out.

    Raises:
        DeclarationError: If fewer than two losses are left.

    >>> reference = freeze_losses("zero_one", [0.0] * 95 + [1.0] * 5)
    >>> reference.mean, round(reference.scaled_upper, 4)
    (0.05, 0.1128)
    """
    values = np.asarray(losses, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    rows = len(values)
    if rows < 2:
        raise DeclarationError(f"A reference loss needs two labelled holdout rows or more, got {rows}.")
    mean = float(values.mean())
    if kind == "zero_one":
        upper = clopper_pearson_upper(int(values.sum()), rows, confidence=_CONFIDENCE)
        return LossReference(kind, 1.0, mean, mean, upper, rows)
    scale = float(np.quantile(values, _SCALE_QUANTILE)) or float(values.max()) or 1.0
    scaled = np.minimum(values / scale, 1.0)
    half = float(special.stdtrit(rows - 1, _CONFIDENCE)) * float(scaled.std(ddof=1)) / math.sqrt(rows)
    upper = min(max(float(scaled.mean()) + half, 1.0 / (rows + 2)), 1.0)
    return LossReference(kind, scale, mean, float(scaled.mean()), upper, rows)
