"""Did a feature's distribution change, and does the change matter? Both, from counts on frozen bins.

A p-value alone alarms on irrelevant shifts once windows are large; a distance alone alarms on noise while they are
small. The two-stage rule asks for both: Holm-corrected significance over all features, and a bias-corrected
population stability index of at least `gate`.

The test assumes independent rows. Rows that follow each other in time need `effective_rows`, or thresholds taken
from history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from loopwright.core.statistics.distance import checked_counts, js_distance, psi, psi_corrected
from loopwright.core.statistics.multiplicity import holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DEFAULT_ALPHA = 0.001  # family-wise false-alarm rate of one window
DEFAULT_GATE = 0.05  # PSI_c of a normal shift by about a quarter of a standard deviation
DENSE_ROWS = 5.0  # expected rows a cell needs for the chi-square approximation (Cochran 1954)


@dataclass(frozen=True)
class FeatureDrift:
    """Say what one feature's window looks like against its reference.

    Attributes:
        p_value: Chance of counts this different without a change; already Holm-corrected over the features.
        psi: Population stability index, in nats, uncorrected.
        psi_corrected: `psi` less its expectation without change; the size of the change.
        js_distance: Jensen-Shannon distance, base 2, between 0 and 1.
        drifted: Significant and material at once.
        reference_rows: Rows behind the reference counts.
        window_rows: Rows behind the window's counts.
    """

    p_value: float
    psi: float
    psi_corrected: float
    js_distance: float
    drifted: bool
    reference_rows: int
    window_rows: int


def homogeneity_p_value(
    reference: ArrayLike, window: ArrayLike, *, reference_share: float = 1.0, window_share: float = 1.0
) -> NDArray[np.float64]:
    """Test whether the window's counts come from the reference's distribution.

    Cells that the reference fills well (at least 5 rows expected in the window, and in the reference) enter Pearson's
    chi-square test of homogeneity, the others together as one more cell when they are that well filled. The share of
    rows in the ill-filled cells (overflow, missing, rare categories) is tested exactly, by the hypergeometric
    distribution (Fisher 1935), since one row beyond the reference's maximum would pass any chi-square threshold. The
    smaller of the two p-values counts, doubled (Bonferroni). Which cells are well filled depends on the reference and
    the window's length alone, never on the window's content.

    Args:
        reference: Shape (cells,).
        window: Shape (..., cells); every window must hold the same number of rows.
        reference_share: Effective rows per row of the reference, in (0, 1]; see `effective_rows`.
        window_share: Effective rows per row of the window, in (0, 1].

    Returns:
        p-values, shape (...).

    >>> same = homogeneity_p_value([250, 250, 250, 250], [26, 24, 25, 25])
    >>> moved = homogeneity_p_value([250, 250, 250, 250], [40, 30, 20, 10])
    >>> round(float(same), 3), bool(moved < 0.001)
    (0.995, True)
    """
    counts_r = checked_counts(reference) * reference_share
    counts_w = checked_counts(window) * window_share
    if counts_r.ndim != 1:
        raise ValueError(f"the reference needs one axis of cells, got shape {counts_r.shape}")
    rows_r = float(counts_r.sum())
    totals = counts_w.sum(axis=-1)
    rows_w = float(totals.flat[0])
    if not np.allclose(totals, rows_w):
        raise ValueError("windows tested together need the same number of rows; call once per length")
    dense = (counts_r / rows_r * min(rows_w, rows_r)) >= DENSE_ROWS
    rare_r = float(counts_r[~dense].sum())
    rare_w = counts_w[..., ~dense].sum(axis=-1)
    cells_r = counts_r[dense]
    cells_w = counts_w[..., dense]
    if rare_r / rows_r * min(rows_w, rows_r) >= DENSE_ROWS:
        cells_r = np.append(cells_r, rare_r)
        cells_w = np.concatenate([cells_w, rare_w[..., None]], axis=-1)
    p_dense = _chi_square_p(cells_r, cells_w)
    if np.all(dense):
        return np.asarray(p_dense)
    p_rare = _rare_p(rare_r, rows_r, rare_w, rows_w)
    return np.asarray(np.minimum(2.0 * np.minimum(p_dense, p_rare), 1.0))


def two_stage(
    reference: Sequence[ArrayLike],
    window: Sequence[ArrayLike],
    *,
    alpha: float = DEFAULT_ALPHA,
    gate: float = DEFAULT_GATE,
    reference_share: float | Sequence[float] = 1.0,
    window_share: float | Sequence[float] = 1.0,
) -> tuple[FeatureDrift, ...]:
    """Judge all features of one window: drifted means significant over the family and material.

    Args:
        reference: One array of counts per feature.
        window: One array of counts per feature, on the same cells.
        alpha: Family-wise chance of a false alarm in a window without change.
        gate: Smallest PSI_c that matters.
        reference_share: Effective rows per row of the reference, one for all or one per feature; see `effective_rows`.
        window_share: Effective rows per row of the window, likewise.

    Returns:
        One result per feature, in order. A feature without rows on either side has p-value 1 and no drift.

    >>> [f.drifted for f in two_stage([[500, 500]] * 2, [[250, 250], [400, 100]])]
    [False, True]
    """
    if len(reference) != len(window):
        raise ValueError(f"{len(reference)} features have a reference and {len(window)} a window; they must pair up")
    pairs = [(checked_counts(r), checked_counts(w)) for r, w in zip(reference, window, strict=True)]
    shares = zip(_per_feature(reference_share, len(pairs)), _per_feature(window_share, len(pairs)), strict=True)
    raw = [
        float(homogeneity_p_value(r, w, reference_share=of_reference, window_share=of_window))
        if r.sum() > 0 and w.sum() > 0
        else 1.0
        for (r, w), (of_reference, of_window) in zip(pairs, shares, strict=True)
    ]
    if not raw:
        return ()
    return tuple(
        _feature_drift(r, w, float(p), alpha=alpha, gate=gate) for (r, w), p in zip(pairs, holm(raw), strict=True)
    )


def effective_rows(values: ArrayLike) -> float:
    """Estimate how many independent rows carry as much information about the mean as these n in time order.

    `n / (1 + 2 sum of autocorrelations)`, the sum cut where the sums of neighbouring pairs stop being positive; for an
    AR(1) series that is `n (1 - phi) / (1 + phi)`. Never more than n.

    Source: C. Geyer (1992), Practical Markov chain Monte Carlo, Statist. Sci. 7, section 3.3.

    Args:
        values: Shape (n,), in time order; rows with NaN are left out.

    >>> effective_rows([1.0, 1.0, 1.0, 1.0])
    4.0
    """
    series = np.asarray(values, dtype=np.float64).ravel()
    series = series[np.isfinite(series)]
    rows = len(series)
    if rows < 4 or np.all(series == series[0]):
        return float(rows)
    centred = series - series.mean()
    size = 1 << (2 * rows - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum), size)[:rows]
    correlation = correlation / correlation[0]
    pairs = correlation[: rows - rows % 2].reshape(-1, 2).sum(axis=1)
    stop = np.flatnonzero(pairs <= 0)
    kept = pairs[: stop[0]] if len(stop) else pairs
    # The pair sums include lag 0 once; the integrated time is 2 * sum - 1.
    return float(min(rows, rows / max(2.0 * float(kept.sum()) - 1.0, 1.0)))


def historical_p_value(statistic: float, history: ArrayLike) -> float:
    """Rank a statistic among those of past windows without change, of the same length and hour of the week.

    Exact for exchangeable windows however the rows within depend on each other; never below `1 / (windows + 1)`.

    Source: P. Phipson, G. Smyth (2010), Permutation p-values should never be zero.

    >>> historical_p_value(0.3, [0.1, 0.2, 0.4])
    0.5
    """
    past = np.asarray(history, dtype=np.float64).ravel()
    return float((1 + np.count_nonzero(past >= statistic)) / (1 + len(past)))


def _per_feature(share: float | Sequence[float], features: int) -> list[float]:
    return [float(share)] * features if isinstance(share, int | float) else list(share)


def _feature_drift(
    reference: NDArray[np.float64], window: NDArray[np.float64], p_value: float, *, alpha: float, gate: float
) -> FeatureDrift:
    rows_r, rows_w = int(reference.sum()), int(window.sum())
    if rows_r == 0 or rows_w == 0:
        return FeatureDrift(1.0, 0.0, 0.0, 0.0, drifted=False, reference_rows=rows_r, window_rows=rows_w)
    size = float(psi_corrected(reference, window))
    return FeatureDrift(
        p_value=p_value,
        psi=float(psi(reference, window)),
        psi_corrected=size,
        js_distance=float(js_distance(reference, window)),
        drifted=p_value <= alpha and size >= gate,
        reference_rows=rows_r,
        window_rows=rows_w,
    )


def _chi_square_p(reference: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's test of homogeneity of two rows of counts; with fewer than two cells nothing can differ."""
    if len(reference) < 2:
        return np.ones(window.shape[:-1])
    rows_r = reference.sum()
    rows_w = window.sum(axis=-1, keepdims=True)
    safe_w = np.where(rows_w > 0, rows_w, 1.0)
    # Two-row form: sum (r sqrt(W/R) - w sqrt(R/W))^2 / (r + w).
    scaled = reference * np.sqrt(safe_w / rows_r) - window * np.sqrt(rows_r / safe_w)
    statistic = (scaled**2 / (reference + window)).sum(axis=-1)
    p: NDArray[np.float64] = special.chdtrc(len(reference) - 1, statistic)
    return np.where(rows_w[..., 0] > 0, p, 1.0)


def _rare_p(rare_r: float, rows_r: float, rare_w: NDArray[np.float64], rows_w: float) -> NDArray[np.float64]:
    """Two-sided exact p-values: twice the smaller hypergeometric tail."""
    window_rows, reference_rows, reference_rare = round(rows_w), round(rows_r), round(rare_r)
    found = np.atleast_1d(np.floor(rare_w + 0.5).astype(np.int64))
    p = np.empty(found.shape)
    for count in np.unique(found):
        total = reference_rare + int(count)
        low, high = max(0, total - reference_rows), min(total, window_rows)
        support = np.arange(low, high + 1)
        log_chance = _log_choose(window_rows, support) + _log_choose(reference_rows, total - support)
        chance = np.exp(log_chance - special.logsumexp(log_chance))
        upper = chance[support >= count].sum()
        lower = chance[support <= count].sum()
        p[found == count] = min(1.0, 2.0 * min(upper, lower))
    return p.reshape(np.shape(rare_w))


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return result
