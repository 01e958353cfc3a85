"""An estimated number with what is known about its error, in a form that any gate can ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from loopwright.core.statistics import special
from loopwright.core.statistics.anytime import Interval
from loopwright.core.statistics.binomial import wilson
from loopwright.core.statistics.bootstrap import interval_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_TAILS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35)
LEVELS: tuple[float, ...] = (*_TAILS, 0.5, *(1.0 - tail for tail in reversed(_TAILS)))


@dataclass(frozen=True)
class Estimate:
    """Hold a number and its sampling distribution, as quantiles at fixed levels.

    Attributes:
        value: The number on the rows themselves.
        standard_error: Of the number.
        rows: Rows behind it.
        method: How its error was found: "bootstrap", "wilson", "delong", "agresti-min".
        quantiles: Confidence bounds at LEVELS, rising.

    >>> estimate = normal_estimate(0.5, 0.1, rows=100, method="delong")
    >>> round(estimate.low(0.95), 3), round(estimate.high(0.975), 3)
    (0.336, 0.696)
    """

    value: float
    standard_error: float
    rows: int
    method: str
    quantiles: tuple[float, ...]

    def low(self, confidence: float) -> float:
        """Give the one-sided lower confidence bound."""
        return self._bound(1.0 - confidence)

    def high(self, confidence: float) -> float:
        """Give the one-sided upper confidence bound."""
        return self._bound(confidence)

    def interval(self, confidence: float = 0.95) -> Interval:
        """Give the two-sided confidence interval."""
        tail = (1.0 - confidence) / 2.0
        return Interval(self._bound(tail), self._bound(1.0 - tail))

    def _bound(self, level: float) -> float:
        return float(np.interp(float(special.ndtri(level)), special.ndtri(LEVELS), self.quantiles))

    def to_json(self) -> dict[str, object]:
        """Write the estimate as plain JSON values; an undefined number is null."""
        return {
            "value": _finite(self.value),
            "standard_error": _finite(self.standard_error),
            "rows": self.rows,
            "method": self.method,
            "quantiles": [_finite(q) for q in self.quantiles],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Estimate:
        """Read what `to_json` wrote."""
        return cls(
            value=_number(data["value"]),
            standard_error=_number(data["standard_error"]),
            rows=cast("int", data["rows"]),
            method=str(data["method"]),
            quantiles=tuple(_number(q) for q in cast("list[object]", data["quantiles"])),
        )


def normal_estimate(value: float, standard_error: float, *, rows: int, method: str) -> Estimate:
    """Make an estimate whose error is normal."""
    return Estimate(
        value, standard_error, rows, method, tuple(value + z * standard_error for z in special.ndtri(LEVELS).tolist())
    )


def drawn_estimate(value: float, draws: NDArray[np.float64], *, rows: int, acceleration: float = 0.0) -> Estimate:
    """Make an estimate from bootstrap draws, by BCa."""
    defined = draws[np.isfinite(draws)]
    if len(defined) == 0 or not np.isfinite(value):
        return Estimate(value, float("nan"), rows, "bootstrap", (float("nan"),) * len(LEVELS))
    pairs = [
        interval_from(defined, estimate=value, confidence=1.0 - 2.0 * tail, method="bca", acceleration=acceleration)
        for tail in _TAILS
    ]
    middle = float(np.clip(value, pairs[-1].low, pairs[-1].high))
    quantiles = np.array([*(pair.low for pair in pairs), middle, *(pair.high for pair in reversed(pairs))])
    rising = np.maximum.accumulate(quantiles)
    return Estimate(value, float(defined.std()), rows, "bootstrap", tuple(float(q) for q in rising))


def rate_estimate(successes: int, rows: int) -> Estimate:
    """Make an estimate of a share of rows, by Wilson's score: honest at 0 and 1, where resampling sees no error.

    >>> rate_estimate(20, 20).low(0.95) < 0.9
    True
    """
    rate = successes / rows
    pairs = [wilson(successes, rows, confidence=1.0 - 2.0 * tail) for tail in _TAILS]
    quantiles = (*(pair.low for pair in pairs), rate, *(pair.high for pair in reversed(pairs)))
    return Estimate(rate, float(np.sqrt(rate * (1 - rate) / rows)), rows, "wilson", quantiles)


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _number(value: object) -> float:
    return float("nan") if value is None else float(cast("float", value))
