"""Holm and Benjamini-Hochberg against their definitions and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopwright.core.statistics.multiplicity import benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(p_values, st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(values: list[float], alpha: float) -> None:
    adjusted = holm(values)
    order = np.argsort(values, kind="stable")
    rejected = set()
    for step, index in enumerate(order.tolist()):
        if values[index] * (len(values) - step) > alpha:
            break
        rejected.add(index)
    assert {i for i, p in enumerate(adjusted.tolist()) if p <= alpha} == rejected
    assert np.all(adjusted >= np.asarray(values) - 1e-15)


@given(p_values)
def test_benjamini_hochberg_equals_scipy(values: list[float]) -> None:
    assert np.allclose(benjamini_hochberg(values), stats.false_discovery_control(values), atol=1e-15)


def test_families_are_rows_of_a_table() -> None:
    table = np.array([[0.01, 0.04], [0.5, 0.001]])
    assert np.allclose(holm(table), [holm(row) for row in table])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, 1.5])
    with pytest.raises(ValueError, match="axis"):
        holm(0.5)
