"""The holdout ledger: every question is written down, the budget ends, and overfitting it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from loopwright.core.errors import BudgetSpentError
from loopwright.core.ref import Ref
from loopwright.evaluation.estimate import rate_estimate
from loopwright.evaluation.ledger import HoldoutLedger, HoldoutRead
from loopwright.evaluation.metrics import metric

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores


def ask(stores: Stores, ledger: HoldoutLedger, subject: str, losses: np.ndarray, holdout: str = "h1") -> HoldoutRead:
    estimate = rate_estimate(int((losses == 0).sum()), len(losses))
    with stores.facts.write() as connection:
        return ledger.record(
            holdout,
            metric("accuracy"),
            Ref("model", subject),
            reader="test",
            estimate=estimate,
            losses=losses,
            connection=connection,
        )


def wrong(share: float, rows: int = 1000) -> np.ndarray:
    losses = np.zeros(rows)
    losses[: round(share * rows)] = 1
    return losses


def test_answers_are_released_when_they_improve_and_repeated_otherwise(stores: Stores) -> None:
    ledger = HoldoutLedger(stores)
    assert ask(stores, ledger, "m/1", wrong(0.3)).released == pytest.approx(0.7)
    worse = ask(stores, ledger, "m/2", wrong(0.35))
    assert (worse.informative, worse.released) == (False, pytest.approx(0.7))
    assert ask(stores, ledger, "m/3", wrong(0.1)).released == pytest.approx(0.9)
    assert ledger.spent("h1") == 2
    assert [read.subject for read in ledger.reads("h1")] == ["model:m/1", "model:m/2", "model:m/3"]
    assert ledger.reads("h2") == []


def test_the_same_question_costs_nothing_twice(stores: Stores) -> None:
    ledger = HoldoutLedger(stores)
    first = ask(stores, ledger, "m/1", wrong(0.3))
    assert ask(stores, ledger, "m/1", wrong(0.3)) == first
    assert len(ledger.reads("h1")) == 1


def test_a_spent_holdout_is_retired_with_a_next_step(stores: Stores) -> None:
    ledger = HoldoutLedger(stores, budget=3)
    for i in range(3):
        ask(stores, ledger, f"m/{i}", wrong(0.5 - 0.15 * i))
    with pytest.raises(BudgetSpentError, match=r"3 of 3 informative answers.*Take new rows"):
        ask(stores, ledger, "m/9", wrong(0.0))
    assert ask(stores, ledger, "m/0", wrong(0.5)).released == pytest.approx(0.5)  # given before, given again
    assert ask(stores, ledger, "m/9", wrong(0.0), holdout="h2").informative


def test_boosting_attack_through_the_ledger(stores: Stores) -> None:
    rng = np.random.default_rng(0)
    rows, tries = 1000, 150
    truth = rng.random(rows) < 0.5
    submissions = rng.random((tries, rows)) < 0.5
    losses = (submissions != truth).astype(float)

    scores = 1 - losses.mean(axis=1)
    vote = submissions[scores >= np.median(scores)].mean(axis=0) > 0.5
    assert (vote == truth).mean() > 0.57  # plain answers give the holdout away

    ledger = HoldoutLedger(stores)
    answers = [ask(stores, ledger, f"m/{i}", losses[i]) for i in range(tries)]
    assert ledger.spent("h1") <= 6
    told = [i for i, answer in enumerate(answers) if answer.informative]
    vote = submissions[told].mean(axis=0) > 0.5
    assert (vote == truth).mean() < 0.57
