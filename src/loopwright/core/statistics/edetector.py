"""A sequential detector of rising loss, with a guaranteed false-alarm rate.

The mixture e-SR detector: for each alternative j a Shiryaev-Roberts sum `R_t = (R_{t-1} + 1) e_t`, an alarm when
their mean reaches A, then a new start. While the expected loss given the past stays at or below `reference_rate`, the
mean time between alarms is at least A rows, whatever the dependence between rows and however late labels come: the
order is that of arrival.

The reference rate must be an upper confidence limit of the loss on the sealed holdout (plus any tolerated margin), or
the guarantee is void.

Source: J. Shin, A. Ramdas, A. Rinaldo (2024), E-detectors: a nonparametric framework for sequential change detection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

Form: TypeAlias = Literal["bernoulli", "betting"]

RATE_RATIOS = (1.1, 1.25, 1.5, 2.0, 3.0)  # alternatives of the Bernoulli form, as multiples of the reference rate
BET_SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)  # bets of the betting form, as shares of the largest safe bet 1 / rate
_LARGEST_RATE = 0.95  # alternatives are clipped below it
_BLOCK = 4096  # rows whose log-sums are accumulated at once


@dataclass(frozen=True)
class EDetector:
    """Hold a detector's settings and its state; immutable, so a crash never leaves half an update.

    Attributes:
        reference_rate: Highest expected loss that counts as no change, in (0, 1).
        average_run_length: A: mean rows between false alarms, at least; 1e6 for what pages, 1e4 for a ticket.
        form: "bernoulli" for losses that are 0 or 1, "betting" for losses anywhere in [0, 1].
        log_sums: ln R of each alternative; minus infinity at the start.
        rows: Losses seen since the last start.

    >>> detector = EDetector(0.2, average_run_length=1e4)
    >>> step = detector.update([0.0] * 50 + [1.0] * 12)
    >>> step.alarms, step.detector.rows
    ((58,), 3)
    """

    reference_rate: float
    average_run_length: float = 1e6
    form: Form = "bernoulli"
    log_sums: tuple[float, ...] = ()
    rows: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.reference_rate < _LARGEST_RATE:
            raise ValueError(f"reference_rate must lie in (0, {_LARGEST_RATE}), got {self.reference_rate}")
        if self.average_run_length <= 1:
            raise ValueError(f"average_run_length must exceed 1 row, got {self.average_run_length}")
        if not self.log_sums:
            object.__setattr__(self, "log_sums", (-np.inf,) * len(self.bets))

    @property
    def bets(self) -> tuple[float, ...]:
        """Give lambda of each alternative in `e = 1 + lambda (loss - rate)`.

        On losses of 0 and 1, the likelihood ratio of rate q to rate m is the bet `(q - m) / (m (1 - m))`.
        """
        rate = self.reference_rate
        if self.form == "betting":
            return tuple(share / rate for share in BET_SHARES)
        alternatives = np.minimum(np.asarray(RATE_RATIOS) * rate, max(_LARGEST_RATE, (1 + rate) / 2))
        return tuple(float(bet) for bet in (alternatives - rate) / (rate * (1.0 - rate)))

    @property
    def evidence(self) -> float:
        """Give the mean of the sums; the alarm is at `average_run_length`."""
        return float(np.exp(self._log_evidence))

    @property
    def _log_evidence(self) -> float:
        sums = np.asarray(self.log_sums)
        return float(np.logaddexp.reduce(sums) - np.log(len(sums)))

    def update(self, losses: ArrayLike) -> EDetectorStep:
        """Take losses in the order in which they arrived; cutting them into batches changes nothing.

        Args:
            losses: Shape (n,), each in [0, 1]; for the Bernoulli form each 0 or 1.

        Raises:
            ValueError: When a loss lies outside; nothing is taken then.
        """
        values = _checked(losses, self.form)
        if values.ndim != 1:
            raise ValueError(f"losses need one axis, in arrival order; got shape {values.shape}")
        alarms: list[int] = []
        log_sums = np.asarray(self.log_sums)
        rows, start = self.rows, 0
        peak = -np.inf
        while start < len(values):
            block = values[start : start + _BLOCK]
            path = _log_paths(block[None, :], np.asarray(self.bets), self.reference_rate, log_sums[None, :])[0]
            evidence = np.logaddexp.reduce(path, axis=-1) - np.log(path.shape[-1])
            crossed = np.flatnonzero(evidence >= np.log(self.average_run_length))
            if len(crossed):
                at = int(crossed[0])
                peak = max(peak, float(evidence[at]))
                alarms.append(start + at)
                log_sums, rows, start = np.full(len(log_sums), -np.inf), 0, start + at + 1
            else:
                peak = max(peak, float(evidence.max()))
                log_sums, rows, start = path[-1], rows + len(block), start + len(block)
        after = replace(self, log_sums=tuple(float(value) for value in log_sums), rows=rows)
        return EDetectorStep(after, tuple(alarms), float(np.exp(peak)))

    def reset(self) -> EDetector:
        """Start anew with the same settings, as after a new champion."""
        return replace(self, log_sums=(), rows=0)

    def merge(self, other: EDetector) -> EDetector:
        """Join detectors of the same settings that saw disjoint rows: the sums add.

        The guarantee stays: the expectation of each sum is at most the number of its own rows, so their sum's is at
        most the number of all rows.
        """
        same = (self.reference_rate, self.average_run_length, self.form)
        if same != (other.reference_rate, other.average_run_length, other.form):
            raise ValueError("only detectors with the same rate, run length and form can be merged")
        sums = np.logaddexp(np.asarray(self.log_sums), np.asarray(other.log_sums))
        return replace(self, log_sums=tuple(float(value) for value in sums), rows=self.rows + other.rows)

    def to_json(self) -> dict[str, object]:
        """Write settings and state as plain JSON values; the state survives bit for bit."""
        return {
            "reference_rate": self.reference_rate,
            "average_run_length": self.average_run_length,
            "form": self.form,
            "log_sums": [None if np.isneginf(value) else value for value in self.log_sums],
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> EDetector:
        """Read what `to_json` wrote."""
        sums, form = data["log_sums"], data["form"]
        if not isinstance(sums, list) or form not in ("bernoulli", "betting"):
            raise ValueError(f"this is no state of an e-detector: {dict(data)!r}")
        return cls(
            reference_rate=float(str(data["reference_rate"])),
            average_run_length=float(str(data["average_run_length"])),
            form="betting" if form == "betting" else "bernoulli",
            log_sums=tuple(-np.inf if value is None else float(value) for value in sums),
            rows=int(str(data["rows"])),
        )


@dataclass(frozen=True)
class EDetectorStep:
    """Hold what an update did.

    Attributes:
        detector: The state after the update.
        alarms: Position within the update of each loss that raised an alarm; after each the sums start anew.
        peak_evidence: Largest mean sum reached during the update.
    """

    detector: EDetector
    alarms: tuple[int, ...]
    peak_evidence: float


def first_alarms(detector: EDetector, losses: ArrayLike) -> NDArray[np.int64]:
    """Run copies of the detector over many streams at once, for planning and for tests of power.

    Args:
        detector: Settings and starting state.
        losses: Shape (streams, rows).

    Returns:
        Shape (streams,): row of the first alarm, -1 where there is none.

    >>> first_alarms(EDetector(0.2, average_run_length=100), [[0.0] * 9, [1.0] * 9]).tolist()
    [-1, 5]
    """
    values = _checked(losses, detector.form)
    log_sums = np.broadcast_to(np.asarray(detector.log_sums), (len(values), len(detector.log_sums))).copy()
    first = np.full(len(values), -1, dtype=np.int64)
    for start in range(0, values.shape[1], 256):
        block = values[:, start : start + 256]
        path = _log_paths(block, np.asarray(detector.bets), detector.reference_rate, log_sums)
        evidence = np.logaddexp.reduce(path, axis=-1) - np.log(path.shape[-1])
        crossed = evidence >= np.log(detector.average_run_length)
        fresh = crossed.any(axis=1) & (first < 0)
        first[fresh] = start + crossed[fresh].argmax(axis=1)
        log_sums = path[:, -1, :]
    return first


def _log_paths(
    losses: NDArray[np.float64], bets: NDArray[np.float64], rate: float, log_sums: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute ln R after every row, shape (streams, rows, bets), in one pass of log-sums.

    R_t = P_t (R_0 + sum over s <= t of 1 / P_{s-1}) with P the running product of e.
    """
    product = np.log1p(bets * (losses[..., None] - rate)).cumsum(axis=1)
    before = np.concatenate([np.zeros_like(product[:, :1]), product[:, :-1]], axis=1)
    terms = np.concatenate([log_sums[:, None, :], -before], axis=1)
    paths: NDArray[np.float64] = product + np.logaddexp.accumulate(terms, axis=1)[:, 1:]
    return paths


def _checked(losses: ArrayLike, form: Form) -> NDArray[np.float64]:
    values = np.asarray(losses, dtype=np.float64)
    if not np.all((values >= 0.0) & (values <= 1.0)):
        raise ValueError("losses must lie in [0, 1]; scale and clip them against the reference first")
    if form == "bernoulli" and not np.all((values == 0.0) | (values == 1.0)):
        raise ValueError("the Bernoulli form takes losses of 0 and 1; use form='betting' for losses in between")
    return values
