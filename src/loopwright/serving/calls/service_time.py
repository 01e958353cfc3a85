"""How long a batch of so many rows takes: a line through what was measured lately, drawn towards the warm-up's.

Exponentially weighted least squares with a ridge: with the weighted means of rows and seconds, their variance and their
covariance, the slope is ``(covariance + ridge * slope_before) / (variance + ridge)`` and the line goes through the
means (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd ed., section 3.4.1, shrinking towards
a slope instead of zero). Where all batches have had the same size, the slope stays what the warm-up found.
"""

from __future__ import annotations

_WEIGHT = 0.05  # of the newest batch: half of what is known is forgotten within 14 batches
_RIDGE = 1.0  # in squared rows
_RISE_LIMIT = 8.0  # one batch that the machine held up does not count for more than so many times the expected


class ServiceTime:
    """Expect the seconds of a batch.

    Args:
        fixed_s: Seconds of a batch beside its rows.
        per_row_s: Seconds per row.

    >>> time = ServiceTime(fixed_s=0.01, per_row_s=0.001)
    >>> time.of(10)
    0.02
    """

    __slots__ = ("_covariance", "_rows", "_seconds", "_slope", "_variance")

    def __init__(self, *, fixed_s: float = 0.0, per_row_s: float = 0.0) -> None:
        self._rows = 1.0
        self._seconds = fixed_s + per_row_s
        self._slope = per_row_s
        self._variance = self._covariance = 0.0

    def of(self, rows: float) -> float:
        """Return the seconds that a batch of ``rows`` is expected to take; never less than zero."""
        slope = (self._covariance + _RIDGE * self._slope) / (self._variance + _RIDGE)
        return max(0.0, self._seconds + max(0.0, slope) * (rows - self._rows))

    def note(self, rows: int, seconds: float) -> None:
        """Hear how long a batch took."""
        if seconds > self._seconds and (expected := self.of(rows)) > 0:
            seconds = min(seconds, _RISE_LIMIT * expected)
        more_rows, more_seconds = rows - self._rows, seconds - self._seconds
        self._rows += _WEIGHT * more_rows
        self._seconds += _WEIGHT * more_seconds
        keep = 1 - _WEIGHT
        self._variance = keep * (self._variance + _WEIGHT * more_rows * more_rows)
        self._covariance = keep * (self._covariance + _WEIGHT * more_rows * more_seconds)
