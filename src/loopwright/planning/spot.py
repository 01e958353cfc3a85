"""Spot machines for training: how often to save, how long it then takes, and whether the discount survives.

Failures come with a mean time M between them. Checkpoint intervals: J. W. Young, "A first order approximation to the
optimum checkpoint interval", CACM 17 (1974); J. T. Daly, "A higher order estimate of the optimum checkpoint interval
for restart dumps", FGCS 22 (2006), whose exact expectation of the wall time for exponential failures is used too.
All times are in one unit, whichever.
"""

from __future__ import annotations

import math

from loopwright.core.errors import DeclarationError


def young_interval(checkpoint: float, between_failures: float) -> float:
    """Return Young's interval between checkpoints.

    >>> young_interval(5, 1440)
    120.0
    """
    _check(checkpoint, between_failures)
    return math.sqrt(2 * checkpoint * between_failures)


def daly_interval(checkpoint: float, between_failures: float) -> float:
    """Return Daly's interval between checkpoints.

    >>> round(daly_interval(5, 1440), 2)
    116.69
    """
    _check(checkpoint, between_failures)
    if checkpoint >= 2 * between_failures:
        return between_failures
    ratio = checkpoint / (2 * between_failures)
    series = 1 + math.sqrt(ratio) / 3 + ratio / 9
    return math.sqrt(2 * checkpoint * between_failures) * series - checkpoint


def expected_wall(
    work: float, *, checkpoint: float, restart: float, between_failures: float, interval: float | None = None
) -> float:
    """Return the expected time to do ``work``, saving every ``interval`` (Daly's by default) and starting again.

    >>> round(expected_wall(600, checkpoint=1, restart=5, between_failures=300), 2)
    662.73
    """
    _check(checkpoint, between_failures)
    step = daly_interval(checkpoint, between_failures) if interval is None else interval
    if step <= 0:
        raise DeclarationError(f"An interval between checkpoints is more than 0, got {step}.")
    return _expected(work / step, step + checkpoint, restart, between_failures)


def expected_wall_without_checkpoints(work: float, *, restart: float, between_failures: float) -> float:
    """Return the expected time to do ``work`` in one piece, from the start after each failure.

    >>> round(expected_wall_without_checkpoints(600, restart=5, between_failures=300), 1)
    1948.9
    """
    return _expected(1.0, work, restart, between_failures)


def break_even_price(work: float, wall: float) -> float:
    """Return the largest spot price, as a share of the on-demand price, at which spot is not dearer.

    >>> round(break_even_price(600, 662.73), 3)
    0.905
    """
    return work / wall


def _expected(pieces: float, piece: float, restart: float, between_failures: float) -> float:
    exponent = piece / between_failures
    if exponent > 700:
        return math.inf
    return between_failures * math.exp(restart / between_failures) * math.expm1(exponent) * pieces


def _check(checkpoint: float, between_failures: float) -> None:
    if checkpoint <= 0 or between_failures <= 0:
        raise DeclarationError(
            f"A checkpoint takes time and failures are apart: got {checkpoint} and {between_failures}.",
            hint="Both must be more than 0.",
        )
