"""The Ladder lets a boosting attack learn next to nothing; plain answers give the holdout away."""

from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.statistics.ladder import Ladder, ask, ask_score

ROWS, TRIES = 4000, 1000


def attack(released: list[float], submissions: np.ndarray, truth: np.ndarray) -> float:
    """Blum and Hardt (2015), section 4: majority vote of the submissions that scored better than a coin."""
    better = np.asarray(released) <= 0.5 if len(set(released)) > 10 else np.asarray(released) < np.inf
    better &= np.asarray(released) <= np.median(released)
    vote = submissions[better].mean(axis=0) > 0.5
    return float((vote != truth).mean())


def test_boosting_attack() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(ROWS) < 0.5
    submissions = rng.random((TRIES, ROWS)) < 0.5
    losses = (submissions != truth).astype(float)
    plain = losses.mean(axis=1).tolist()
    assert attack(plain, submissions, truth) < 0.41  # the truth is one half: the holdout leaked

    ladder, released = Ladder(), []
    for row in losses:
        step = ask(ladder, row)
        ladder = step.ladder
        released.append(step.released)
    assert len(set(released)) <= 5
    # All the attacker can tell apart are the releases themselves.
    improved = [i for i in range(TRIES) if i == 0 or released[i] < released[i - 1]]
    vote = submissions[improved].mean(axis=0) > 0.5
    assert float((vote != truth).mean()) > 0.47
    assert ladder.answers == len(improved)


def test_true_improvements_are_released() -> None:
    rng = np.random.default_rng(1)
    ladder = Ladder()
    for error in (0.4, 0.3, 0.2):
        step = ask(ladder, (rng.random(ROWS) < error).astype(float))
        assert step.informative
        assert step.released == pytest.approx(error, abs=0.03)
        ladder = step.ladder
    again = ask(ladder, (rng.random(ROWS) < 0.2).astype(float))
    assert again.released == ladder.best or again.released < ladder.best - 0.01  # type: ignore[operator]


def test_scores_without_rows_step_by_their_error() -> None:
    first = ask_score(Ladder(), 0.5, standard_error=0.1)
    assert not ask_score(first.ladder, 0.45, standard_error=0.1).informative
    assert ask_score(first.ladder, 0.3, standard_error=0.1).released == 0.3
    with pytest.raises(ValueError, match="at least one row"):
        ask(Ladder(), [])
    assert not ask(ask(Ladder(), [1.0]).ladder, [0.0]).informative
