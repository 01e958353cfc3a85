"""Outputs keep their shapes honest."""

from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError
from loopwright.evaluation.outputs import Outputs


def test_shapes_that_contradict_are_refused() -> None:
    with pytest.raises(DeclarationError, match="one value per row"):
        Outputs("regression", np.zeros((2, 1)))
    with pytest.raises(DeclarationError, match="must name their classes"):
        Outputs("binary", np.zeros(2), np.zeros((2, 2)))
    with pytest.raises(DeclarationError, match="need \\(2, 3\\)"):
        Outputs("multiclass", np.zeros(2), np.zeros((2, 2)), ("a", "b", "c"))
    with pytest.raises(DeclarationError, match="kind 'ranking'"):
        Outputs("ranking", np.zeros(2))  # type: ignore[arg-type]


def test_take_keeps_rows_and_probabilities_together() -> None:
    outputs = Outputs("multiclass", np.array(["a", "b", "c"]), np.eye(3), ("a", "b", "c"))
    taken = outputs.take(np.array([2, 0]))
    assert taken.values.tolist() == ["c", "a"]
    assert taken.probabilities is not None
    assert taken.probabilities.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert taken.positive_scores is None
