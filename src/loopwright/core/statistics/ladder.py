"""The parameter-free Ladder: answers about a holdout that repeated asking cannot overfit.

A new score is released only when it beats the best released one by more than its own standard error; otherwise the
answer is the old one, and says nothing new. So a thousand tries leak no more than the few true improvements.

Source: A. Blum, M. Hardt (2015), The Ladder: a reliable leaderboard for machine learning competitions, section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Ladder:
    """Hold what has been released about one metric on one holdout.

    Attributes:
        best: Lowest loss released; None before the first answer.
        best_losses: Per-row losses behind `best`, shape (n,), for the paired step; None where rows have no loss.
        answers: Answers that were informative.
    """

    best: float | None = None
    best_losses: NDArray[np.float64] | None = None
    answers: int = 0


@dataclass(frozen=True, eq=False)
class LadderStep:
    """Hold one answer.

    Attributes:
        ladder: State after the answer.
        released: The loss that may be shown.
        informative: Whether the answer says something new.
    """

    ladder: Ladder
    released: float
    informative: bool


def ask(ladder: Ladder, losses: ArrayLike) -> LadderStep:
    """Answer with the mean of per-row losses, if it improves on the best by more than one standard error.

    The step is `sd(losses - best losses) / sqrt(n)`; a released loss is rounded to a multiple of `range / n`, with
    the range of the losses themselves: 1 for losses of 0 and 1, as in the paper.

    Args:
        ladder: State of earlier answers.
        losses: Shape (n,), one loss per row, lower is better.

    >>> step = ask(Ladder(), [0.0, 1.0, 1.0, 0.0])
    >>> step.released, step.informative
    (0.5, True)
    >>> ask(step.ladder, [0.0, 1.0, 1.0, 0.0]).informative
    False
    """
    values = np.asarray(losses, dtype=np.float64).ravel()
    if len(values) == 0:
        raise ValueError("the ladder needs at least one row")
    mean = float(values.mean())
    if ladder.best is None:
        return _release(ladder, mean, values)
    base = 0.0 if ladder.best_losses is None else ladder.best_losses
    step = float((values - base).std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf
    if mean < ladder.best - step:
        return _release(ladder, mean, values)
    return LadderStep(ladder, ladder.best, informative=False)


def ask_score(ladder: Ladder, loss: float, *, standard_error: float) -> LadderStep:
    """Answer with a loss that is no mean over rows, given the standard error of its difference to the best.

    >>> step = ask_score(Ladder(), 0.3, standard_error=0.05)
    >>> ask_score(step.ladder, 0.27, standard_error=0.05).released
    0.3
    """
    if ladder.best is None or loss < ladder.best - standard_error:
        return LadderStep(Ladder(loss, None, ladder.answers + 1), loss, informative=True)
    return LadderStep(ladder, ladder.best, informative=False)


def _release(ladder: Ladder, mean: float, losses: NDArray[np.float64]) -> LadderStep:
    unit = float(np.ptp(losses)) / len(losses)
    released = round(mean / unit) * unit if unit > 0 else mean
    after = replace(ladder, best=released, best_losses=losses.copy(), answers=ladder.answers + 1)
    return LadderStep(after, released, informative=True)
