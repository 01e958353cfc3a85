"""DeLong by midranks against the double sum over pairs, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from loopwright.core.statistics.delong import auc, auc_covariance, auc_interval, compare_auc

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=40).filter(
    lambda table: 2 <= sum(row[0] for row in table) <= len(table) - 2
)


def by_pairs(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong et al. (1988), equations 4 to 8, as written there: O(m n)."""
    wins = [
        (table[positive][:, None] > table[~positive][None, :])
        + 0.5 * (table[positive][:, None] == table[~positive][None, :])
        for table in scores
    ]
    areas = np.array([win.mean() for win in wins])
    v10 = np.array([win.mean(axis=1) for win in wins])
    v01 = np.array([win.mean(axis=0) for win in wins])
    return areas, np.cov(v10) / positive.sum() + np.cov(v01) / (~positive).sum()


@given(rows)
def test_midranks_give_the_double_sum(table: list[tuple[bool, int, int]]) -> None:
    positive = np.array([row[0] for row in table])
    scores = np.array([[row[1] for row in table], [row[2] for row in table]], dtype=float)
    areas, covariance = auc_covariance(positive, scores)
    expected_areas, expected_covariance = by_pairs(positive, scores)
    assert np.allclose(areas, expected_areas)
    assert np.allclose(covariance, expected_covariance)
    assert areas[0] == pytest.approx(roc_auc_score(positive, scores[0]))


@given(rows)
def test_swapping_the_models_flips_the_sign(table: list[tuple[bool, int, int]]) -> None:
    positive = [row[0] for row in table]
    first, second = [row[1] for row in table], [row[2] for row in table]
    forward, backward = compare_auc(positive, first, second), compare_auc(positive, second, first)
    assert forward.difference == pytest.approx(-backward.difference)
    assert forward.p_value == pytest.approx(backward.p_value)


def test_identical_curves_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    positive, scores = rng.random(50) < 0.4, rng.normal(size=50)
    result = compare_auc(positive, scores, scores)
    assert (result.z, result.p_value) == (0.0, 1.0)


def test_the_error_of_the_difference_is_that_of_repeated_sampling() -> None:
    rng = np.random.default_rng(1)
    differences, errors, covered = [], [], 0
    for _ in range(300):
        positive = np.arange(400) < 150
        signal = positive * 1.0
        shared = rng.normal(size=400)
        first = signal + shared + rng.normal(size=400)
        second = signal + shared + rng.normal(size=400)
        result = compare_auc(positive, first, second)
        differences.append(result.difference)
        errors.append(result.standard_error)
        covered += result.interval.contains(0.0)
    assert np.std(differences) == pytest.approx(np.mean(errors), rel=0.12)
    assert covered >= 275


def test_large_samples_are_quick_and_one_class_is_refused() -> None:
    rng = np.random.default_rng(2)
    positive = rng.random(200_000) < 0.1
    assert auc_interval(positive, rng.normal(size=200_000)).contains(0.5)
    with pytest.raises(ValueError, match="both classes"):
        auc([1, 1], [0.2, 0.3])
