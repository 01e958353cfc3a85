"""The loss of one row, scaled into [0, 1], and a reference that covers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.loss import ReferenceLoss, class_text, reference_loss, row_losses


@given(st.integers(-(10**9), 10**9))
def test_a_class_is_the_same_whatever_type_it_came_as(number: int) -> None:
    texts = {class_text(value) for value in (number, float(number), str(number), np.int64(number), f"{number}.0")}
    assert texts == {str(number)}


def test_missing_answers_and_labels_have_no_loss() -> None:
    assert np.isnan(row_losses("binary", [None, "a"], ["a", None])).all()
    assert math.isnan(row_losses("regression", ["no number"], [1.0])[0])


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=200))
@example([(0.0, 5e-324), (0.0, 0.0)])
@example([(1.0, 1.0)])
def test_regression_losses_lie_between_0_and_1_and_the_bound_above_their_mean(rows: list[tuple[float, float]]) -> None:
    y, said = np.array(rows).T
    losses = row_losses("regression", said, y)
    reference = reference_loss("regression", losses)
    scaled = reference.scaled(losses)
    assert np.all((scaled >= 0) & (scaled <= 1))
    assert 1 >= reference.upper >= reference.rate
    assert 0 < reference.null_rate(0.5) < 0.95
    assert reference.null_rate(0.5) >= reference.null_rate(0.0) == min(reference.upper, 0.94)
    assert ReferenceLoss.from_json(json.loads(json.dumps(reference.to_json()))) == reference


def test_class_errors_take_the_bernoulli_form() -> None:
    losses = row_losses("binary", [0, 1, 1, 0] * 50, [0, 1, 0, 0] * 50)
    reference = reference_loss("binary", losses)
    assert (reference.kind, reference.rate, reference.mean, reference.scale) == ("zero_one", 0.25, 0.25, 1.0)
    detector = reference.detector(average_run_length=1e6)
    assert (detector.form, detector.average_run_length) == ("bernoulli", 1e6)
    assert detector.reference_rate == reference.upper > 0.25
    tolerant = reference.detector(average_run_length=1e6, tolerance=0.1)
    assert tolerant.reference_rate == pytest.approx(1.1 * reference.upper)


def test_the_bound_on_classes_is_clopper_and_pearsons() -> None:
    assert reference_loss("multiclass", [0.0] * 1000).upper == pytest.approx(0.003682, abs=1e-5)
    assert reference_loss("multiclass", [1.0] * 10).upper == 1.0


def test_the_upper_bound_covers_the_true_rate() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(100):
        reference = reference_loss("regression", rng.exponential(size=300), seed=i)
        scale = reference.scale
        truth = (1 - np.exp(-scale)) / scale  # mean of min(x, scale) / scale for x exponential
        covered += reference.upper >= truth
    assert covered / 100 >= 0.93


def test_the_same_seed_gives_the_same_bound() -> None:
    losses = np.random.default_rng(1).exponential(size=50)
    assert reference_loss("regression", losses, seed=3) == reference_loss("regression", losses, seed=3)
    assert reference_loss("regression", losses).unscaled_upper == pytest.approx(
        reference_loss("regression", losses * 7).unscaled_upper / 7
    )


def test_a_reference_needs_losses() -> None:
    with pytest.raises(DeclarationError, match="at least one labelled row"):
        reference_loss("binary", [float("nan")])
    perfect = reference_loss("regression", [0.0, 0.0])
    assert (perfect.rate, perfect.scale, perfect.upper) == (0.0, 1.0, 0.25)
    assert perfect.detector(average_run_length=100).form == "betting"
