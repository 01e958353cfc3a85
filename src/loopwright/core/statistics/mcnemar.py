"""Two classifiers on the same rows: McNemar's test on the rows where just one of them is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special


@dataclass(frozen=True)
class McNemar:
    """Hold the p-values of one comparison.

    Attributes:
        exact: Two-sided exact binomial p-value.
        mid_p: The same with half the probability of the observed split: less conservative.
        chi_square: `(b - c)^2 / (b + c)`.
        corrected: `(|b - c| - 1)^2 / (b + c)`, with continuity correction.
        chi_square_p: p-value of `chi_square`.
    """

    exact: float
    mid_p: float
    chi_square: float
    corrected: float
    chi_square_p: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test whether two classifiers are wrong equally often, from the discordant counts b and c.

    Source: Q. McNemar (1947), Psychometrika 12, 153-157; mid-p: M. Fagerland, S. Lydersen, P. Laake (2013).

    Args:
        only_first: Rows on which only the first is right.
        only_second: Rows on which only the second is right.

    >>> round(mcnemar(10, 2).exact, 7), round(mcnemar(10, 2).mid_p, 7)
    (0.0385742, 0.0224609)
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts must not be negative, got {only_first} and {only_second}")
    rows, fewer = only_first + only_second, min(only_first, only_second)
    if rows == 0:
        return McNemar(1.0, 1.0, 0.0, 0.0, 1.0)
    tail = float(special.bdtr(fewer, rows, 0.5))
    exact = min(1.0, 2.0 * tail)
    log_point = math.lgamma(rows + 1) - math.lgamma(fewer + 1) - math.lgamma(rows - fewer + 1) - rows * math.log(2.0)
    mid_p = min(1.0, 2.0 * tail - math.exp(log_point))
    difference = abs(only_first - only_second)
    statistic = difference**2 / rows
    corrected = max(difference - 1, 0) ** 2 / rows
    return McNemar(exact, mid_p, statistic, corrected, float(special.chdtrc(1, statistic)))
