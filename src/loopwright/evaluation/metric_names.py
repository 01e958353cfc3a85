"""The metrics by name: scikit-learn's names, what they apply to, and which way is better.

Light on purpose: declarations are checked against this table without importing NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError

if TYPE_CHECKING:
    from loopwright.evaluation.outputs import OutputKind

_CLASSES: tuple[OutputKind, ...] = ("binary", "multiclass")
_NUMBERS: tuple[OutputKind, ...] = ("regression",)


@dataclass(frozen=True)
class MetricName:
    """Say what a metric is called and what it can be asked of.

    Attributes:
        name: The name used everywhere: in facts, reports and gates.
        kinds: Kinds of outputs it is defined for.
        greater_is_better: Direction of improvement.
        needs_probabilities: Whether class labels alone do not suffice.
        aliases: Other names understood, such as scikit-learn's function and scorer names.
    """

    name: str
    kinds: tuple[OutputKind, ...]
    greater_is_better: bool
    needs_probabilities: bool = False
    aliases: tuple[str, ...] = ()


def _loss(name: str, kinds: tuple[OutputKind, ...], *aliases: str, needs_probabilities: bool = False) -> MetricName:
    return MetricName(name, kinds, greater_is_better=False, needs_probabilities=needs_probabilities, aliases=aliases)


def _score(name: str, kinds: tuple[OutputKind, ...], *aliases: str, needs_probabilities: bool = False) -> MetricName:
    return MetricName(name, kinds, greater_is_better=True, needs_probabilities=needs_probabilities, aliases=aliases)


METRIC_NAMES: dict[str, MetricName] = {
    entry.name: entry
    for entry in (
        MetricName(
            "mae", _NUMBERS, greater_is_better=False, aliases=("mean_absolute_error", "neg_mean_absolute_error")
        ),
        MetricName(
            "rmse",
            _NUMBERS,
            greater_is_better=False,
            aliases=("root_mean_squared_error", "neg_root_mean_squared_error"),
        ),
        _loss("mape", _NUMBERS, "mean_absolute_percentage_error"),
        MetricName(
            "median_absolute_error", _NUMBERS, greater_is_better=False, aliases=("medae", "neg_median_absolute_error")
        ),
        _score("r2", _NUMBERS, "r2_score"),
        _score("accuracy", _CLASSES, "accuracy_score"),
        _score("balanced_accuracy", _CLASSES, "balanced_accuracy_score"),
        _score("f1", _CLASSES, "f1_score", "f1_macro"),
        _score("precision", _CLASSES, "precision_score", "precision_macro"),
        _score("recall", _CLASSES, "recall_score", "recall_macro"),
        MetricName(
            "roc_auc",
            _CLASSES,
            greater_is_better=True,
            needs_probabilities=True,
            aliases=("auc", "roc_auc_score", "roc_auc_ovr"),
        ),
        MetricName(
            "log_loss",
            _CLASSES,
            greater_is_better=False,
            needs_probabilities=True,
            aliases=("neg_log_loss", "cross_entropy"),
        ),
        MetricName(
            "brier",
            _CLASSES,
            greater_is_better=False,
            needs_probabilities=True,
            aliases=("brier_score", "brier_score_loss", "neg_brier_score"),
        ),
    )
}
_BY_ANY_NAME = {alias: entry for entry in METRIC_NAMES.values() for alias in (entry.name, *entry.aliases)}


def metric_name(name: str) -> MetricName:
    """Find a metric by its name or an alias.

    Raises:
        UnknownNameError: When there is none; the message names the closest.

    >>> metric_name("mean_absolute_error").name
    'mae'
    """
    found = _BY_ANY_NAME.get(name)
    if found is None:
        raise UnknownNameError("metric", name, _BY_ANY_NAME)
    return found
