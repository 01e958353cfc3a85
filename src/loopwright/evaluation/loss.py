"""The loss that monitoring watches: one number in [0, 1] per row, and the rate that counts as no change.

The rule, by metric:

- accuracy, balanced_accuracy, f1, precision, recall, roc_auc: 1 for a wrong class, 0 for the right one;
- mae, rmse, r2, median_absolute_error: the absolute error, clipped at its 99.5 % quantile on the reference and divided
  by it (squares of a few large errors would make every window a false alarm or none);
- mape: the relative error, likewise;
- log_loss, brier: the row's loss, likewise.

The reference rate is the mean of these losses on the sealed holdout, and what the detector is given is the upper end
of its confidence interval: with less, its guaranteed time between false alarms would not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.binomial import clopper_pearson_upper
from loopwright.core.statistics.bootstrap import mean_interval
from loopwright.core.statistics.edetector import EDetector
from loopwright.evaluation.metrics import metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from loopwright.evaluation.outputs import Outputs

LossForm: TypeAlias = Literal["bernoulli", "betting"]

CLIP_QUANTILE = 0.995
_STAND_INS = {
    "rmse": "mae",
    "r2": "mae",
    "median_absolute_error": "mae",
    "balanced_accuracy": "accuracy",
    "f1": "accuracy",
    "precision": "accuracy",
    "recall": "accuracy",
    "roc_auc": "accuracy",
}


@dataclass(frozen=True)
class BoundedLoss:
    """Turn answers and true values into losses in [0, 1].

    Attributes:
        metric: The metric whose row loss it is ("mae", "accuracy", …), after the rule of this module.
        scale: The row loss that counts as 1; larger ones are clipped.
        form: "bernoulli" where losses are 0 or 1, else "betting": how the detector must be told.
    """

    metric: str
    scale: float
    form: LossForm

    def losses(self, y: ArrayLike, outputs: Outputs) -> NDArray[np.float64]:
        """Compute the bounded loss of each row, shape (n,)."""
        raw = metric(self.metric).losses(y, outputs)
        if raw is None:
            raise DeclarationError(f"{self.metric} has no loss per row")
        return np.asarray(np.clip(raw / self.scale, 0.0, 1.0))

    def to_json(self) -> dict[str, object]:
        """Write the loss as plain JSON values."""
        return {"metric": self.metric, "scale": self.scale, "form": self.form}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> BoundedLoss:
        """Read what `to_json` wrote."""
        return cls(str(data["metric"]), cast("float", data["scale"]), cast("LossForm", data["form"]))


@dataclass(frozen=True)
class ReferenceLoss:
    """Hold a model's loss on the sealed holdout.

    Attributes:
        loss: How losses are computed.
        rate: Mean loss on the reference.
        upper: Upper confidence bound of the mean: what a detector may take as "no change".
        rows: Rows of the reference.
    """

    loss: BoundedLoss
    rate: float
    upper: float
    rows: int

    def detector(self, *, average_run_length: float, margin: float = 0.0) -> EDetector:
        """Make the detector of a loss above the reference.

        Args:
            average_run_length: Mean rows between false alarms, at least.
            margin: Rise of the mean loss that is tolerated, in the loss's own scale from 0 to 1.
        """
        rate = min(max(self.upper + margin, 1e-6), 0.94)  # a detector needs a rate inside (0, 0.95)
        return EDetector(rate, average_run_length=average_run_length, form=self.loss.form)

    def to_json(self) -> dict[str, object]:
        """Write the reference as plain JSON values."""
        return {"loss": self.loss.to_json(), "rate": self.rate, "upper": self.upper, "rows": self.rows}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> ReferenceLoss:
        """Read what `to_json` wrote."""
        loss = BoundedLoss.from_json(cast("dict[str, object]", data["loss"]))
        return cls(loss, cast("float", data["rate"]), cast("float", data["upper"]), cast("int", data["rows"]))


def bounded_loss(metric_name: str, scale: float = 1.0) -> BoundedLoss:
    """Choose the bounded loss that stands for a metric.

    Args:
        metric_name: Any metric.
        scale: The row loss that counts as 1: the 99.5 % quantile on the reference; ignored for class errors.

    >>> bounded_loss("f1")
    BoundedLoss(metric='accuracy', scale=1.0, form='bernoulli')
    >>> bounded_loss("rmse", 12.5)
    BoundedLoss(metric='mae', scale=12.5, form='betting')
    """
    name = metric(metric_name).name
    name = _STAND_INS.get(name, name)
    if name == "accuracy":
        return BoundedLoss(name, 1.0, "bernoulli")
    if not (scale > 0 and np.isfinite(scale)):
        raise DeclarationError(f"the scale of a bounded loss must be positive and finite, got {scale}")
    return BoundedLoss(name, float(scale), "betting")


def reference_loss(
    metric_name: str, y: ArrayLike, outputs: Outputs, *, confidence: float = 0.95, seed: int = 0
) -> ReferenceLoss:
    """Measure the loss on the reference: its scale, its mean and the mean's upper confidence bound.

    Exact (Clopper-Pearson) for class errors, bootstrap (BCa, one-sided) for bounded losses.

    Args:
        metric_name: Any metric.
        y: Shape (n,), true values of the holdout.
        outputs: The model's answers to the same rows.
        confidence: One-sided, of the upper bound.
        seed: Same seed, same bound.

    Raises:
        DeclarationError: Without rows.
    """
    loss = bounded_loss(metric_name)
    raw = metric(loss.metric).losses(y, outputs)
    if raw is None or len(raw) == 0:
        raise DeclarationError("a reference loss needs at least one labelled row of the holdout")
    if loss.form == "bernoulli":
        wrong = int(raw.sum())
        return ReferenceLoss(
            loss, wrong / len(raw), clopper_pearson_upper(wrong, len(raw), confidence=confidence), len(raw)
        )
    scale = float(np.quantile(raw, CLIP_QUANTILE))
    loss = bounded_loss(metric_name, scale if scale > 0 else 1.0)
    values = loss.losses(y, outputs)
    interval = mean_interval(values, seed=seed, confidence=2.0 * confidence - 1.0)
    return ReferenceLoss(loss, float(values.mean()), max(interval.high, float(values.mean())), len(values))
