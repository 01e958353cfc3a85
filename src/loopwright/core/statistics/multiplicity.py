"""Corrections for asking many questions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that rejecting those at or below alpha keeps the family-wise error at alpha.

    Holds under any dependence between the tests. The family is the last axis.

    Source: S. Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 65-70.

    Args:
        p_values: Shape (..., tests), each in [0, 1].

    Returns:
        Adjusted p-values, same shape and order.

    >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = _checked(p_values)
    tests = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    scaled = np.take_along_axis(p, order, axis=-1) * (tests - np.arange(tests))
    adjusted = np.minimum(np.maximum.accumulate(scaled, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that rejecting those at or below q keeps the expected share of false rejections at q.

    Holds for independent or positively dependent tests. Equal to `scipy.stats.false_discovery_control`, written out
    because that import costs half a second.

    Source: Y. Benjamini, Y. Hochberg (1995), Controlling the false discovery rate, JRSS B 57, 289-300.

    Args:
        p_values: Shape (..., tests), each in [0, 1].

    Returns:
        Adjusted p-values, same shape and order.

    >>> [round(float(p), 3) for p in benjamini_hochberg([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    p = _checked(p_values)
    tests = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    scaled = np.take_along_axis(p, order, axis=-1) * (tests / np.arange(1, tests + 1))
    adjusted = np.minimum(np.minimum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1], 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim == 0:
        raise ValueError("p-values need at least one axis: the family of tests")
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("p-values must lie in [0, 1]")
    return p
