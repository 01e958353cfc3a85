"""Challenger against champion on the same rows, so that what is hard for both cancels out.

Accuracy: McNemar's test with the Agresti-Min interval. ROC area of a binary model: DeLong. Anything else: the paired
bootstrap. Differences are signed so that positive means that the challenger is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.core.errors import DeclarationError
from loopwright.core.statistics.delong import compare_auc
from loopwright.core.statistics.mcnemar import mcnemar
from loopwright.evaluation.estimate import LEVELS, Estimate, normal_estimate
from loopwright.evaluation.resampling import DEFAULT_RESAMPLES, paired_draws

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from loopwright.evaluation.metrics import Metric
    from loopwright.evaluation.outputs import Outputs


@dataclass(frozen=True)
class Comparison:
    """Hold the paired comparison of one metric.

    Attributes:
        metric: Its name.
        challenger: The challenger's value.
        champion: The champion's value.
        difference: How much better the challenger is, in the metric's unit; positive is better.
        p_value: Two-sided, of no difference.
        method: "mcnemar", "delong" or "paired bootstrap".
        rows: Rows compared.
    """

    metric: str
    challenger: float
    champion: float
    difference: Estimate
    p_value: float
    method: str
    rows: int

    def to_json(self) -> dict[str, object]:
        """Write the comparison as plain JSON values."""
        return {
            "metric": self.metric,
            "challenger": self.challenger,
            "champion": self.champion,
            "difference": self.difference.to_json(),
            "p_value": self.p_value,
            "method": self.method,
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Comparison:
        """Read what `to_json` wrote."""
        return cls(
            metric=str(data["metric"]),
            challenger=cast("float", data["challenger"]),
            champion=cast("float", data["champion"]),
            difference=Estimate.from_json(cast("dict[str, object]", data["difference"])),
            p_value=cast("float", data["p_value"]),
            method=str(data["method"]),
            rows=cast("int", data["rows"]),
        )


def compare(
    metric: Metric,
    y: NDArray[np.generic],
    challenger: Outputs,
    champion: Outputs,
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
    clusters: NDArray[np.generic] | None = None,
) -> Comparison:
    """Compare two models' answers to the same rows.

    Args:
        metric: What to compare by.
        y: Shape (n,), true values.
        challenger: Answers of the new model.
        champion: Answers of the one in service.
        seed: Same seed, same result.
        resamples: Resamples of the paired bootstrap.
        clusters: Shape (n,): rows with equal values are drawn together; then every metric takes the bootstrap.

    Raises:
        DeclarationError: When the rows do not pair up or the metric does not apply.
    """
    if len(challenger) != len(champion):
        raise DeclarationError(
            f"a paired comparison needs the same rows: the challenger answered {len(challenger)} and the champion "
            f"{len(champion)}"
        )
    first, second = metric.form(y, challenger), metric.form(y, champion)
    if clusters is None and metric.name == "accuracy":
        return _by_mcnemar(metric, y, challenger, champion)
    if clusters is None and metric.name == "roc_auc" and challenger.kind == champion.kind == "binary":
        compared = _by_delong(y, challenger, champion)
        if compared is not None:
            return compared
    ours, theirs = paired_draws([(first, None), (second, None)], seed=seed, resamples=resamples, clusters=clusters)
    better = 1.0 if metric.greater_is_better else -1.0
    difference = theirs.compare(ours, lambda champion_value, value: better * (value - champion_value))
    draws = difference.resampled[np.isfinite(difference.resampled)]
    # The smaller tail beyond zero, doubled; one draw is added so that no finite bootstrap claims certainty.
    tail = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    p_value = min(1.0, 2.0 * (1 + tail) / (1 + len(draws)))
    estimate = difference.estimate(rows=len(y))
    return Comparison(metric.name, ours.value, theirs.value, estimate, p_value, "paired bootstrap", len(y))


def _by_mcnemar(metric: Metric, y: NDArray[np.generic], challenger: Outputs, champion: Outputs) -> Comparison:
    ours, theirs = metric.losses(y, challenger), metric.losses(y, champion)
    if ours is None or theirs is None or len(y) == 0:
        raise DeclarationError("accuracy needs at least one row to compare on")
    rows = len(y)
    gained, lost = int(((ours == 0) & (theirs == 1)).sum()), int(((ours == 1) & (theirs == 0)).sum())
    value = (gained - lost) / rows
    if gained + lost == 0:
        estimate = Estimate(0.0, 0.0, rows, "mcnemar", (0.0,) * len(LEVELS))
    else:
        # A. Agresti, Y. Min (2005), Statist. Med. 24: Wald after adding half a row to each cell of the table.
        b, c, n = gained + 0.5, lost + 0.5, rows + 2.0
        centre, error = (b - c) / n, np.sqrt((b + c) / n - ((b - c) / n) ** 2) / np.sqrt(n)
        quantiles = normal_estimate(centre, float(error), rows=rows, method="agresti-min").quantiles
        estimate = Estimate(value, float(error), rows, "agresti-min", quantiles)
    p_value = mcnemar(gained, lost).exact
    accuracy = 1.0 - float(ours.mean()), 1.0 - float(theirs.mean())
    return Comparison(metric.name, *accuracy, estimate, p_value, "mcnemar", rows)


def _by_delong(y: NDArray[np.generic], challenger: Outputs, champion: Outputs) -> Comparison | None:
    ours, theirs, classes = challenger.positive_scores, champion.positive_scores, challenger.classes
    if ours is None or theirs is None or classes is None or classes != champion.classes:
        return None
    positive = np.array([label == classes[1] for label in np.asarray(y).tolist()], dtype=bool)
    if positive.all() or not positive.any():
        return None
    result = compare_auc(positive, theirs, ours)
    estimate = normal_estimate(result.difference, result.standard_error, rows=len(y), method="delong")
    return Comparison("roc_auc", result.auc_second, result.auc_first, estimate, result.p_value, "delong", len(y))
