"""Outputs come back from bytes as they went in."""

from __future__ import annotations

import numpy as np
import pytest

from loopwright.evaluation.outputs import Outputs
from loopwright.evaluation.outputs_file import outputs_from_bytes, outputs_to_bytes


@pytest.mark.parametrize(
    "outputs",
    [
        Outputs("regression", np.array([1.5, np.nan])),
        Outputs("binary", np.array([True, False]), np.array([[0.1, 0.9], [0.8, 0.2]]), (False, True)),
        Outputs("multiclass", np.array(["b", "a"], dtype=object), np.eye(2), ("a", "b")),
        Outputs("multiclass", np.array([3, 1]), np.eye(2), (np.int64(1), np.int64(3))),
        Outputs("regression", np.array([], dtype=np.float32)),
    ],
)
def test_round_trip(outputs: Outputs) -> None:
    again = outputs_from_bytes(outputs_to_bytes(outputs))
    assert again.kind == outputs.kind
    assert again.classes == outputs.classes
    assert np.array_equal(
        again.values, outputs.values.astype(again.values.dtype), equal_nan=outputs.kind == "regression"
    )
    if outputs.probabilities is not None:
        assert np.array_equal(again.probabilities, outputs.probabilities)
