"""The bounded loss: between 0 and 1, and a reference that covers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.loss import ReferenceLoss, bounded_loss, reference_loss
from loopwright.evaluation.metrics import METRICS
from loopwright.evaluation.outputs import Outputs


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_regression_losses_lie_between_0_and_1(rows: list[tuple[float, float]]) -> None:
    y, said = np.array(rows).T
    outputs = Outputs("regression", said)
    for name in ("mae", "rmse", "r2", "mape"):
        reference = reference_loss(name, y, outputs)
        losses = reference.loss.losses(y, outputs)
        assert np.all((losses >= 0) & (losses <= 1))
        assert reference.upper >= reference.rate
        assert ReferenceLoss.from_json(json.loads(json.dumps(reference.to_json()))) == reference


def test_class_errors_take_the_bernoulli_form() -> None:
    outputs = Outputs("binary", np.array([0, 1, 1, 0] * 50), None, (0, 1))
    for name in ("accuracy", "f1", "roc_auc", "balanced_accuracy"):
        reference = reference_loss(name, np.array([0, 1, 0, 0] * 50), outputs)
        assert (reference.rate, reference.loss.form) == (0.25, "bernoulli")
        detector = reference.detector(average_run_length=1e6)
        assert detector.reference_rate == reference.upper > 0.25
    perfect = reference_loss("accuracy", outputs.values, outputs)
    assert perfect.rate == 0.0
    assert 0 < perfect.upper < 0.02


def test_every_metric_has_a_loss() -> None:
    assert {bounded_loss(name, 2.0).metric for name in METRICS} == {"mae", "mape", "accuracy", "log_loss", "brier"}


def test_the_upper_bound_covers_the_true_rate() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    truth = None
    for i in range(100):
        errors = rng.exponential(size=300)
        reference = reference_loss("mae", np.zeros(300), Outputs("regression", errors), seed=i)
        scale = reference.loss.scale
        truth = (1 - np.exp(-scale)) / scale  # mean of min(x, scale) / scale for x exponential
        covered += reference.upper >= truth
    assert covered / 100 >= 0.88


def test_nonsense_is_refused() -> None:
    with pytest.raises(DeclarationError, match="positive and finite"):
        bounded_loss("mae", 0.0)
    with pytest.raises(DeclarationError, match="at least one labelled row"):
        reference_loss("mae", [], Outputs("regression", np.array([])))
    constant = reference_loss("mae", [1.0, 1.0], Outputs("regression", np.array([1.0, 1.0])))
    assert constant.rate == 0.0
    assert constant.detector(average_run_length=100).form == "betting"
