"""How far apart two distributions are, from counts on the same cells.

Distances carry no significance: a short window is far from its reference by chance alone. See `drift` for the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def psi(reference: ArrayLike, window: ArrayLike) -> NDArray[np.float64]:
    """Compute the population stability index between counts on the same cells.

    The symmetrised Kullback-Leibler divergence `sum (p - q) ln(p / q)`. A cell that is empty on one side counts as
    half a row there; a cell that is empty on both is left out.

    Source: B. Yurdakul (2018), Statistical properties of population stability index.

    Args:
        reference: Shape (..., cells), counts of at least one row.
        window: Shape (..., cells), counts of at least one row.

    >>> round(float(psi([25, 25, 25, 25], [40, 30, 20, 10])), 4)
    0.2282
    """
    p, q, used = _shares(reference, window)
    terms = np.where(used, (p - q) * (np.log(p) - np.log(q)), 0.0)
    return np.asarray(terms.sum(axis=-1))


def psi_null_mean(reference: ArrayLike, window: ArrayLike) -> NDArray[np.float64]:
    """Give the expected PSI when nothing changed: `(cells - 1) (1 / n + 1 / m)`.

    PSI divided by `1/n + 1/m` is then asymptotically chi-square with `cells - 1` degrees of freedom (Yurdakul 2018).

    >>> round(float(psi_null_mean([1000] * 10, [10] * 10)), 6)
    0.0909
    """
    counts_r, counts_w = checked_counts(reference), checked_counts(window)
    cells = np.maximum(((counts_r > 0) | (counts_w > 0)).sum(axis=-1) - 1, 0)
    return np.asarray(cells * (1.0 / counts_r.sum(axis=-1) + 1.0 / counts_w.sum(axis=-1)))


def psi_critical(cells: int, reference_rows: float, window_rows: float, *, level: float = 0.95) -> float:
    """Give the PSI that noise stays below with probability `level`, for cells of fair size.

    >>> round(psi_critical(10, 10_000, 100), 4)
    0.1709
    """
    from scipy import special  # noqa: PLC0415 - slow to import, and all that ingests loads this file

    return float(special.chdtri(cells - 1, 1.0 - level) * (1.0 / reference_rows + 1.0 / window_rows))


def psi_corrected(reference: ArrayLike, window: ArrayLike) -> NDArray[np.float64]:
    """Compute `max(0, PSI - its expectation without change)`: a size of change that window length does not inflate.

    >>> float(psi_corrected([500, 500], [52, 48]))
    0.0
    """
    return np.asarray(np.maximum(psi(reference, window) - psi_null_mean(reference, window), 0.0))


def js_distance(reference: ArrayLike, window: ArrayLike) -> NDArray[np.float64]:
    """Compute the Jensen-Shannon distance (root of the divergence, base 2), between 0 and 1.

    Source: J. Lin (1991), Divergence measures based on the Shannon entropy; D. Endres, J. Schindelin (2003).

    >>> float(js_distance([10, 0], [0, 10]))
    1.0
    """
    from scipy import special  # noqa: PLC0415 - slow to import, and all that ingests loads this file

    counts_r, counts_w = checked_counts(reference), checked_counts(window)
    p = counts_r / counts_r.sum(axis=-1, keepdims=True)
    q = counts_w / counts_w.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=-1) / (2 * np.log(2.0))
    return np.asarray(np.sqrt(np.clip(divergence, 0.0, 1.0)))


def checked_counts(counts: ArrayLike) -> NDArray[np.float64]:
    """Give counts as floats.

    Raises:
        ValueError: When there is no axis of cells, or a count is negative.
    """
    array = np.asarray(counts, dtype=np.float64)
    if array.ndim == 0 or np.any(array < 0):
        raise ValueError("counts need an axis of cells and must not be negative")
    return array


def _shares(
    reference: ArrayLike, window: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    counts_r, counts_w = np.broadcast_arrays(checked_counts(reference), checked_counts(window))
    used = (counts_r > 0) | (counts_w > 0)
    filled_r = np.where(used & (counts_r == 0), 0.5, counts_r)
    filled_w = np.where(used & (counts_w == 0), 0.5, counts_w)
    p = filled_r / filled_r.sum(axis=-1, keepdims=True)
    q = filled_w / filled_w.sum(axis=-1, keepdims=True)
    return np.where(used, p, 1.0), np.where(used, q, 1.0), used
