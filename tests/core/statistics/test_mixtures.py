"""Mixture boundaries against the reference values published with Howard et al. (2021)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.statistics.mixtures import (
    best_rho,
    beta_binomial_log_mixture,
    crossing,
    gamma_exponential_log_mixture,
    gamma_poisson_log_mixture,
    normal_bound,
    normal_log_mixture,
)

TWO = best_rho(100, alpha=0.05)
ONE = best_rho(100, alpha=0.05, one_sided=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TWO, 12.60056),
        (ONE, 15.80063),
        (normal_bound(100, alpha=0.05, rho=TWO), 30.35209),
        (normal_bound(100, alpha=0.05, rho=ONE, one_sided=True), 27.66071),
        (normal_log_mixture(10, 100, rho=TWO), -0.6510052),
        (normal_log_mixture(10, 100, rho=ONE, one_sided=True), -0.06502391),
        (gamma_exponential_log_mixture(10, 100, rho=ONE, c=2), -0.2490165),
        (gamma_poisson_log_mixture(10, 100, rho=ONE, c=2), -0.06991219),
        (beta_binomial_log_mixture(10, 100, g=0.2, h=0.8, rho=TWO), -0.6941012),
        (beta_binomial_log_mixture(10, 100, g=0.2, h=0.8, rho=ONE, one_sided=True), -0.07134019),
    ],
)
def test_reference_values(value: float, expected: float) -> None:
    digits = len(str(expected).split(".")[1])
    assert value == pytest.approx(expected, abs=10.0**-digits)


@pytest.mark.parametrize(
    ("log_mixture", "expected"),
    [
        (lambda s: gamma_exponential_log_mixture(s, 100, rho=ONE, c=2), 33.02017),
        (lambda s: gamma_poisson_log_mixture(s, 100, rho=ONE, c=2), 30.1949),
        (lambda s: beta_binomial_log_mixture(s, 100, g=0.2, h=0.8, rho=TWO), 31.4308),
        (lambda s: beta_binomial_log_mixture(s, 100, g=0.2, h=0.8, rho=ONE, one_sided=True), 28.41238),
    ],
)
def test_reference_bounds(log_mixture: object, expected: float) -> None:
    assert callable(log_mixture)
    bound = crossing(log_mixture, alpha=0.05, first_guess=100)
    assert bound == pytest.approx(expected, abs=1e-5)


def test_a_bounded_sum_stops_at_its_highest_value() -> None:
    # Two trials with success rate 0.2: even two successes (sum 1.6) are no evidence at 5 %.
    v = 2 * 0.2 * 0.8
    bound = crossing(
        lambda s: beta_binomial_log_mixture(s, v, g=0.2, h=0.8, rho=ONE, one_sided=True),
        alpha=0.05,
        first_guess=v,
        highest=v / 0.2,
    )
    assert bound == pytest.approx(1.6, abs=1e-9)


@given(st.floats(0.1, 1e5), st.floats(0.001, 0.4), st.floats(0.1, 1e4))
def test_the_bound_is_where_the_mixture_reaches_its_level(v: float, alpha: float, v_opt: float) -> None:
    rho = best_rho(v_opt, alpha=alpha)
    bound = normal_bound(v, alpha=alpha, rho=rho)
    assert normal_log_mixture(bound, v, rho=rho) == pytest.approx(-math.log(alpha), rel=1e-9)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_beta_binomial_mixture_has_expectation_one(p: float) -> None:
    n = 30
    k = np.arange(n + 1)
    chance = np.array([math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in k])
    rho = best_rho(p * (1 - p) * 20, alpha=0.05)
    values = [beta_binomial_log_mixture(i - p * n, p * (1 - p) * n, g=p, h=1 - p, rho=rho) for i in k]
    assert float(chance @ np.exp(values)) == pytest.approx(1.0, rel=1e-9)
