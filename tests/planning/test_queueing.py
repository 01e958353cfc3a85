"""The formulas against published and exactly computed values, and against the simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError
from loopwright.planning import inversion, queueing, simulation

ERLANG = [
    (1, 0.5, 0.333333, 0.5, 1.0),
    (2, 1, 0.2, 1 / 3, 0.333333),
    (3, 2, 0.210526, 4 / 9, 0.444444),
    (5, 4, 0.199067, 0.554113, 0.554113),
    (10, 8, 0.121661, 0.409180, 0.204590),
    (14, 10, 0.056819, 0.1741319, 0.043533),
    (24, 20, 0.066097, 0.298072, 0.074518),
    (55, 50, 0.053749, 0.384547, 0.076909),
]


@pytest.mark.parametrize(("servers", "load", "b", "c", "wait"), ERLANG)
def test_erlang_tables(servers: int, load: float, b: float, c: float, wait: float) -> None:
    assert queueing.erlang_b(servers, load) == pytest.approx(b, abs=5e-7)
    assert queueing.erlang_c(servers, load) == pytest.approx(c, abs=5e-7)
    assert queueing.mean_wait_mmc(servers, load, 1.0) == pytest.approx(wait, abs=5e-7)


def test_a_call_centre_worked_out_elsewhere() -> None:
    """100 calls in 30 minutes of 3 minutes each, 20 s: the pyworkforce 0.1.0 page has the same to 16 digits."""
    servers, arrivals, service = 14, 100 / 1800, 180.0
    assert queueing.erlang_c(servers, arrivals * service) == pytest.approx(0.1741319335950498, rel=1e-12)
    within = 1 - 0.1741319335950498 * math.exp(-(servers / service - arrivals) * 20)
    assert within == pytest.approx(0.8883500191794669, rel=1e-12)
    assert queueing.mean_wait_mmc(servers, arrivals, service) == pytest.approx(7.8359, abs=5e-5)


def test_four_servers() -> None:
    assert queueing.erlang_c(4, 2.5) == pytest.approx(0.319857, abs=5e-7)
    assert queueing.mean_wait_mmc(4, 50, 0.05) == pytest.approx(0.01066, abs=5e-6)
    assert queueing.wait_percentile_mmc(4, 50, 0.05, 0.99) == pytest.approx(0.11551, abs=5e-6)
    assert queueing.response_tail_mmc(4, 50, 0.05, 0.2) == pytest.approx(0.028447, abs=5e-7)


@pytest.mark.parametrize(
    ("servers", "utilisation", "exact", "within"),
    [
        (1, 0.5, 0.5, 1e-9),
        (1, 0.9, 4.5, 1e-9),
        (2, 0.5, 0.17674, 0.006),
        (2, 0.7, 0.49361, 0.0045),
        (4, 0.5, 0.04965, 0.0055),
        (4, 0.7, 0.18971, 0.0045),
        (4, 0.9, 0.99997, 0.0006),
        (5, 0.7, 0.13552, 0.0035),
        (8, 0.7, 0.06268, 0.0035),
    ],
)
def test_regular_service_against_the_exact_chain(servers: int, utilisation: float, exact: float, within: float) -> None:
    assert queueing.mean_wait_mdc(servers, utilisation * servers, 1.0) == pytest.approx(exact, rel=within)


def test_general_service() -> None:
    assert queueing.mean_wait(4, 3.2, 1.0, service_cv2=0.25) == pytest.approx(0.4777, abs=5e-5)
    assert queueing.mean_wait(8, 6.4, 1.0, service_cv2=0.25) == pytest.approx(0.1871, abs=5e-5)
    assert queueing.mean_wait(4, 3.2, 1.0, service_cv2=2) == pytest.approx(1.118, abs=5e-4)
    assert queueing.wait_percentile(4, 2.5, 1.0, 0.99, service_cv2=0.25) == pytest.approx(1.53, abs=5e-3)


@pytest.mark.parametrize(
    ("service", "cv2", "rho", "wait", "p95", "p99"),
    [
        ("M", 1, 0.5, 1, 4.6052, 7.8240),
        ("M", 1, 0.8, 4, 13.8629, 21.9101),
        ("E2", 0.5, 0.5, 0.75, 3.3419, 5.5797),
        ("E2", 0.5, 0.8, 3, 10.2428, 16.1306),
        ("D", 0, 0.5, 0.5, 2.0479, 3.3347),
        ("D", 0, 0.8, 2, 6.6203, 10.3559),
        ("H2", 4, 0.5, 2.5, 13.2283, 24.1087),
        ("H2", 4, 0.8, 10, 37.2964, 60.0126),
    ],
)
def test_one_server_by_inversion(service: str, cv2: float, rho: float, wait: float, p95: float, p99: float) -> None:
    transform = {
        "M": inversion.exponential(1.0),
        "E2": inversion.erlang(2, 1.0),
        "D": inversion.deterministic(1.0),
        "H2": inversion.hyperexponential(1.0, 4),
    }[service]
    assert queueing.mean_wait_mg1(rho, 1.0, cv2) == pytest.approx(wait)
    assert inversion.wait_percentile_mg1(rho, 1.0, transform, 0.95) == pytest.approx(p95, abs=2e-3)
    assert inversion.wait_percentile_mg1(rho, 1.0, transform, 0.99) == pytest.approx(p99, abs=2e-3)


@pytest.mark.parametrize(("servers", "rho"), [(1, 0.5), (1, 0.8), (4, 0.8), (10, 0.8)])
def test_the_simulation_agrees_with_the_formula_within_three_standard_errors(servers: int, rho: float) -> None:
    rng = np.random.default_rng(7)
    arrivals = simulation.poisson_arrivals(rho * servers, 400_000, rng)
    found = simulation.simulate(arrivals, rng.exponential(1.0, 400_000), servers)
    mean, error = found.mean_wait()
    assert abs(mean - queueing.mean_wait_mmc(servers, rho * servers, 1.0)) < 3 * error
    assert found.busy == pytest.approx(rho, abs=0.01)


@pytest.mark.parametrize(("servers", "cv2", "simulated"), [(4, 0.25, 0.4762), (4, 2.0, 1.018), (8, 0.25, 0.1853)])
def test_the_simulation_agrees_with_another(servers: int, cv2: float, simulated: float) -> None:
    rng = np.random.default_rng(11)
    arrivals = simulation.poisson_arrivals(0.8 * servers, 400_000, rng)
    found = simulation.simulate(arrivals, simulation.lognormal(1.0, cv2, 400_000, rng), servers)
    mean, error = found.mean_wait()
    assert abs(mean - simulated) < 3 * error * math.sqrt(2)  # both are samples


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.floats(0, 6))
def test_waits_grow_with_load_and_fall_with_servers(servers: int, rho: float, cv2: float) -> None:
    load = rho * servers
    here = queueing.mean_wait(servers, load, 1.0, service_cv2=cv2)
    assert here >= 0
    assert queueing.mean_wait(servers + 1, load, 1.0, service_cv2=cv2) <= here + 1e-12
    assert queueing.mean_wait(servers, load * 0.99, 1.0, service_cv2=cv2) <= here + 1e-12
    assert 0 <= queueing.erlang_b(servers, load) <= queueing.erlang_c(servers, load) <= 1


def test_no_steady_state_is_said() -> None:
    with pytest.raises(DeclarationError, match="no steady state"):
        queueing.mean_wait(2, 2.0, 1.0)
    with pytest.raises(DeclarationError, match="at least one server"):
        queueing.erlang_b(0, 1.0)
    with pytest.raises(DeclarationError, match="percentile"):
        queueing.wait_percentile(2, 1.0, 1.0, 99)
