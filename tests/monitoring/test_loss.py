from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.monitoring.loss import LossReference, class_text, freeze_losses, label_json, loss_kind, row_losses


@given(st.integers(-(10**9), 10**9))
def test_a_class_is_the_same_whatever_type_it_came_as(number):
    texts = {class_text(value) for value in (number, float(number), str(number), np.int64(number), f"{number}.0")}
    assert texts == {str(number)}


def test_missing_answers_and_labels_have_no_loss():
    assert np.isnan(row_losses("binary", [None, "a"], ["a", None])).all()
    assert math.isnan(row_losses("regression", ["no number"], [1.0])[0])
    assert label_json(float("nan")) is None
    assert label_json(np.int64(3)) == "3"


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=200))
def test_scaled_losses_lie_between_zero_and_one_and_the_bound_above_their_mean(losses):
    reference = freeze_losses("absolute_error", losses)
    scaled = reference.scaled(losses)
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert reference.scaled_upper >= min(reference.scaled_mean, 1.0) - 1e-12
    assert 0 < reference.null_mean(0.5) < 0.95
    assert LossReference.from_json(reference.to_json()) == reference


def test_the_bound_on_classes_is_clopper_and_pearsons():
    assert freeze_losses("zero_one", [0.0] * 1000).scaled_upper == pytest.approx(0.003682, abs=1e-5)
    assert freeze_losses("zero_one", [1.0] * 10).scaled_upper == 1.0
    assert loss_kind("regression") == "absolute_error"


def test_a_reference_needs_losses():
    with pytest.raises(DeclarationError, match="two labelled"):
        freeze_losses("zero_one", [0.0, float("nan")])
