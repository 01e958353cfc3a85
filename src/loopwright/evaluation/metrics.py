"""The metrics, equal to scikit-learn's to rounding, in a form that resampling makes cheap.

Binary classifiers are scored on the second of their classes, as scikit-learn's `average="binary"`; more classes are
averaged evenly (`macro`, and one against the rest for ROC areas).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.forms import AreaForm, Form, MeanForm, MedianForm, plain_value
from loopwright.evaluation.metric_names import METRIC_NAMES, MetricName, metric_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from loopwright.evaluation.outputs import Outputs

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Metric:
    """A metric that can be computed.

    Attributes:
        about: Its name, direction and what it applies to.
        bind: From true values, shape (n,), and outputs to the bound form.
        row_loss: Per-row loss, shape (n,), lower is better, where the metric is a function of its mean; else None.
        from_mean_loss: The metric's value from the mean of `row_loss`.
    """

    about: MetricName
    bind: Callable[[NDArray[np.generic], Outputs], Form]
    row_loss: Callable[[NDArray[np.generic], Outputs], NDArray[np.float64]] | None = None
    from_mean_loss: Callable[[float], float] = float

    @property
    def name(self) -> str:
        """Give the metric's name."""
        return self.about.name

    @property
    def greater_is_better(self) -> bool:
        """Say which way is better."""
        return self.about.greater_is_better

    def form(self, y: ArrayLike, outputs: Outputs) -> Form:
        """Bind the metric to rows.

        Raises:
            DeclarationError: When it does not apply to this kind of outputs, or the rows do not pair up.
        """
        return self.bind(self._checked(y, outputs), outputs)

    def value(self, y: ArrayLike, outputs: Outputs) -> float:
        """Compute the metric; NaN where it is undefined (no rows, one class only for a ROC area)."""
        return plain_value(self.form(y, outputs))

    def losses(self, y: ArrayLike, outputs: Outputs) -> NDArray[np.float64] | None:
        """Compute the loss of each row, shape (n,), or None where the metric is no function of a mean loss."""
        array = self._checked(y, outputs)
        return None if self.row_loss is None else self.row_loss(array, outputs)

    def _checked(self, y: ArrayLike, outputs: Outputs) -> NDArray[np.generic]:
        array = np.asarray(y)
        if array.shape != (len(outputs),):
            raise DeclarationError(
                f"{self.name} needs one true value per output; got shape {array.shape} for {len(outputs)} outputs"
            )
        if outputs.kind not in self.about.kinds:
            fitting = [name for name, entry in METRIC_NAMES.items() if outputs.kind in entry.kinds]
            raise DeclarationError(
                f"{self.name} does not apply to {outputs.kind} outputs.", hint=f"Use one of {', '.join(fitting)}."
            )
        if self.about.needs_probabilities and outputs.probabilities is None:
            raise DeclarationError(
                f"{self.name} needs class probabilities, and the model gives labels only.",
                hint="Use a model with predict_proba, or a metric of labels such as accuracy or f1.",
            )
        return array


def metric(name: str) -> Metric:
    """Find a metric by name or alias.

    Raises:
        UnknownNameError: When there is none; the message names the closest.

    >>> from loopwright.evaluation.outputs import Outputs
    >>> metric("mae").value([1.0, 2.0], Outputs("regression", np.array([1.5, 2.0])))
    0.25
    """
    return METRICS[metric_name(name).name]


def _errors(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    difference: NDArray[np.float64] = np.asarray(y, dtype=np.float64) - np.asarray(outputs.values, dtype=np.float64)
    return difference


def _absolute(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    return np.abs(_errors(y, outputs))


def _squared(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    return _errors(y, outputs) ** 2


def _relative(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    return _absolute(y, outputs) / np.maximum(np.abs(np.asarray(y, dtype=np.float64)), _EPSILON)


def _first(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(means[..., 0])


def _root(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(means[..., 0]))


def _explained(means: NDArray[np.float64]) -> NDArray[np.float64]:
    residual, spread = means[..., 0], means[..., 2] - means[..., 1] ** 2
    flat = spread <= _EPSILON * means[..., 2]
    # A constant target: perfect predictions score 1 and all others 0, as in scikit-learn.
    return np.where(flat, np.where(residual == 0, 1.0, 0.0), 1.0 - residual / np.where(flat, 1.0, spread))


def _r2(y: NDArray[np.generic], outputs: Outputs) -> Form:
    target = np.asarray(y, dtype=np.float64)
    centred = target - target.mean() if len(target) and np.ptp(target) > 0 else np.zeros(len(target))
    return MeanForm(np.stack([_squared(y, outputs), centred, centred**2], axis=1), _explained)


def _codes(y: NDArray[np.generic], outputs: Outputs) -> tuple[NDArray[np.intp], NDArray[np.intp], int, int]:
    """Number true and predicted classes alike; gives both, the count of classes, and the positive one."""
    true_names, true_index = np.unique(y, return_inverse=True)
    said_names, said_index = np.unique(outputs.values, return_inverse=True)
    known = outputs.classes
    if known is None:
        known = tuple(sorted({*true_names.tolist(), *said_names.tolist()}, key=lambda name: (str(type(name)), name)))
    number = {name: i for i, name in enumerate(np.asarray(known).tolist())}
    for name in (*true_names.tolist(), *said_names.tolist()):
        number.setdefault(name, len(number))
    true = np.array([number[name] for name in true_names.tolist()], dtype=np.intp)[true_index]
    said = np.array([number[name] for name in said_names.tolist()], dtype=np.intp)[said_index]
    return true, said, len(number), min(1, len(known) - 1)


def _wrong(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    true, said, _, _ = _codes(y, outputs)
    return np.asarray(true != said, dtype=np.float64)


def _right(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 - means[..., 0]


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, with 0 for nothing of nothing: scikit-learn's `zero_division=0`."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)


def _per_class(
    score: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    *,
    true_classes_only: bool = False,
) -> Callable[[NDArray[np.generic], Outputs], Form]:
    """Build a metric from hits, predicted and true shares of each class."""

    def bind(y: NDArray[np.generic], outputs: Outputs) -> Form:
        true, said, count, positive = _codes(y, outputs)
        binary = outputs.kind == "binary" and not true_classes_only
        classes = np.array([positive]) if binary else np.arange(count)
        is_true = true[:, None] == classes
        is_said = said[:, None] == classes
        parts = np.concatenate([is_true & is_said, is_said, is_true], axis=1).astype(np.float64)
        size = len(classes)

        def combine(means: NDArray[np.float64]) -> NDArray[np.float64]:
            hits, said_share, true_share = means[..., :size], means[..., size : 2 * size], means[..., 2 * size :]
            scores = score(hits, said_share, true_share)
            if binary:
                return scores[..., 0]
            counted = true_share > 0 if true_classes_only else (true_share + said_share) > 0
            return np.asarray((scores * counted).sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1))

        return MeanForm(parts, combine)

    return bind


def _log_losses(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    likelihood = np.clip(_likelihoods(y, outputs), _EPSILON, 1.0 - _EPSILON)
    return np.asarray(-np.log(likelihood))


def _likelihoods(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    """Probability given to the true class, shape (n,); zero for a class the model does not know."""
    table = _probabilities(outputs)
    true, _, _, _ = _codes(y, outputs)
    known = true < table.shape[1]
    return np.where(known, table[np.arange(len(true)), np.minimum(true, table.shape[1] - 1)], 0.0)


def _brier_losses(y: NDArray[np.generic], outputs: Outputs) -> NDArray[np.float64]:
    table = _probabilities(outputs)
    true, _, _, positive = _codes(y, outputs)
    if outputs.kind == "binary":
        return np.asarray((table[:, positive] - (true == positive)) ** 2)
    return np.asarray(((table - (true[:, None] == np.arange(table.shape[1]))) ** 2).sum(axis=1))


def _areas(y: NDArray[np.generic], outputs: Outputs) -> Form:
    table = _probabilities(outputs)
    true, _, _, positive = _codes(y, outputs)
    classes = np.array([positive]) if outputs.kind == "binary" else np.arange(table.shape[1])
    return AreaForm(true[None, :] == classes[:, None], table[:, classes].T)


def _probabilities(outputs: Outputs) -> NDArray[np.float64]:
    return np.zeros((len(outputs), 1)) if outputs.probabilities is None else outputs.probabilities.astype(np.float64)


def _mean_of(
    losses: Callable[[NDArray[np.generic], Outputs], NDArray[np.float64]],
    combine: Callable[[NDArray[np.float64]], NDArray[np.float64]] = _first,
) -> Callable[[NDArray[np.generic], Outputs], Form]:
    return lambda y, outputs: MeanForm(losses(y, outputs)[:, None], combine)


METRICS: dict[str, Metric] = {
    entry.name: entry
    for entry in (
        Metric(METRIC_NAMES["mae"], _mean_of(_absolute), _absolute),
        Metric(METRIC_NAMES["rmse"], _mean_of(_squared, _root), _squared, lambda mean: float(np.sqrt(mean))),
        Metric(METRIC_NAMES["mape"], _mean_of(_relative), _relative),
        Metric(METRIC_NAMES["median_absolute_error"], lambda y, outputs: MedianForm(_absolute(y, outputs))),
        Metric(METRIC_NAMES["r2"], _r2),
        Metric(METRIC_NAMES["accuracy"], _mean_of(_wrong, _right), _wrong, lambda mean: 1.0 - mean),
        Metric(
            METRIC_NAMES["balanced_accuracy"],
            _per_class(lambda hits, said, true: _ratio(hits, true), true_classes_only=True),  # noqa: ARG005
        ),
        Metric(METRIC_NAMES["f1"], _per_class(lambda hits, said, true: _ratio(2 * hits, said + true))),
        Metric(METRIC_NAMES["precision"], _per_class(lambda hits, said, true: _ratio(hits, said))),  # noqa: ARG005
        Metric(METRIC_NAMES["recall"], _per_class(lambda hits, said, true: _ratio(hits, true))),  # noqa: ARG005
        Metric(METRIC_NAMES["roc_auc"], _areas),
        Metric(METRIC_NAMES["log_loss"], _mean_of(_log_losses), _log_losses),
        Metric(METRIC_NAMES["brier"], _mean_of(_brier_losses), _brier_losses),
    )
}
