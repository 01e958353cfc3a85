"""The sequential multinomial test: do counts fall on the arms in the shares they should?

Two whole numbers per metric suffice, so workers' counts add. Used for errors of a canary (valid while the traffic's
rate varies, since it only asks which arm an error fell on) and for sample-ratio mismatch.

Source: M. Lindon, A. Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS 35.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DEFAULT_CONCENTRATION = 100.0  # rows' worth of prior belief in the shares (section 4.2)


def multinomial_log_bayes_factor(
    counts: ArrayLike, shares: ArrayLike, *, concentration: float = DEFAULT_CONCENTRATION
) -> NDArray[np.float64]:
    """Compute the log Bayes factor of "other shares" over "these shares".

    With `a = concentration * shares`:
    `lnG(sum a) - lnG(sum a + n) + sum[lnG(a_i + x_i) - lnG(a_i)] - sum x_i ln share_i`.

    Args:
        counts: Shape (..., arms).
        shares: Shape (arms,), positive, with sum 1: the shares if nothing is wrong.
        concentration: How strongly the alternative is drawn to the shares.

    >>> round(float(multinomial_log_bayes_factor([100, 100], [0.5, 0.5])), 7)
    -0.5509728
    """
    x = np.asarray(counts, dtype=np.float64)
    theta = np.asarray(shares, dtype=np.float64)
    if np.any(theta <= 0) or not np.isclose(theta.sum(), 1.0) or np.any(x < 0):
        raise ValueError("shares must be positive with sum 1 and counts not negative")
    a = concentration * theta
    total = a.sum()
    log_factor = special.gammaln(total) - special.gammaln(total + x.sum(axis=-1))
    log_factor = log_factor + (special.gammaln(a + x) - special.gammaln(a) - x * np.log(theta)).sum(axis=-1)
    return np.asarray(log_factor)


def multinomial_p_value(
    counts: ArrayLike, shares: ArrayLike, *, concentration: float = DEFAULT_CONCENTRATION
) -> NDArray[np.float64]:
    """Compute the p-value of these counts against the shares, valid at any time one looks.

    Keep the smallest seen so far for the sharpest test; every single one is valid.

    >>> round(float(multinomial_p_value([140, 80], [0.5, 0.5])), 8)
    0.00613915
    """
    return np.asarray(
        np.exp(-np.maximum(multinomial_log_bayes_factor(counts, shares, concentration=concentration), 0.0))
    )


@dataclass(frozen=True)
class CountComparison:
    """Say how a canary's count compares with the control's.

    Attributes:
        p_value: Anytime-valid p-value of "the events fall on the arms as the rows do".
        relative_risk: Rate in the canary over the rate in the control; infinite when only the canary has events.
        worse: Significant, and the canary's rate at least `least_relative_risk` times the control's.
    """

    p_value: float
    relative_risk: float
    worse: bool


def compare_counts(
    control_events: int,
    canary_events: int,
    *,
    canary_share: float,
    alpha: float = 0.01,
    least_relative_risk: float = 1.25,
) -> CountComparison:
    """Judge whether errors (or timeouts) fall on the canary more often than its share of traffic.

    Args:
        control_events: Events on the control arm.
        canary_events: Events on the canary arm.
        canary_share: Chance of a row to be routed to the canary, in (0, 1).
        alpha: Chance of ever calling an equal canary worse.
        least_relative_risk: Smallest ratio of rates that matters.

    >>> compare_counts(80, 140, canary_share=0.5).worse
    True
    """
    p = float(multinomial_p_value([control_events, canary_events], [1.0 - canary_share, canary_share]))
    if control_events == 0:
        risk = float("inf") if canary_events else 1.0
    else:
        risk = (canary_events / canary_share) / (control_events / (1.0 - canary_share))
    return CountComparison(p, risk, worse=p <= alpha and risk >= least_relative_risk)


def sample_ratio_mismatch(assignments: ArrayLike, shares: ArrayLike, *, alpha: float = 0.001) -> bool:
    """Say whether rows reached the arms in other shares than they were assigned: the comparison is void then.

    >>> sample_ratio_mismatch([990, 30], [0.99, 0.01]), sample_ratio_mismatch([5010, 4990], [0.5, 0.5])
    (True, False)
    """
    return bool(multinomial_p_value(assignments, shares) <= alpha)
