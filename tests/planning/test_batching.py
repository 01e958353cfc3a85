from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError
from loopwright.planning.batching import BatchTime, fit
from loopwright.planning.simulation import poisson_arrivals, simulate_batches

T4 = BatchTime(0.006, 0.0009)
# rate, simulated mean ms, bound ms, simulated p99 ms, busy, mean batch
TABLE = [
    (10, 7.141, 7.142, 12.9, 0.07, 1.00),
    (50, 8.152, 8.200, 14.3, 0.33, 1.05),
    (100, 9.373, 9.732, 15.5, 0.59, 1.20),
    (200, 11.452, 11.989, 18.2, 0.87, 1.74),
    (400, 15.247, 15.283, 25.2, 0.99, 3.79),
    (700, 26.253, 26.287, 46.9, 1.00, 11.33),
    (900, 50.983, 51.045, 94.3, 1.00, 28.31),
]


@pytest.mark.parametrize(("rate", "mean", "bound", "p99", "busy", "rows"), TABLE)
def test_take_all_batching(rate: float, mean: float, bound: float, p99: float, busy: float, rows: float) -> None:
    assert 1000 * T4.mean_latency_bound(rate) == pytest.approx(bound, abs=6e-4)
    found = simulate_batches(poisson_arrivals(rate, 200_000, np.random.default_rng(3)), T4, 1_000_000)
    assert 1000 * found.response_s.mean() == pytest.approx(mean, rel=0.02)
    assert 1000 * found.percentile(0.99) == pytest.approx(p99, rel=0.04)
    assert found.busy == pytest.approx(busy, abs=0.01)
    assert found.response_s.mean() <= T4.mean_latency_bound(rate) * 1.01
    batches = len(np.unique(found.arrivals_s + found.wait_s))
    assert 200_000 / batches == pytest.approx(rows, rel=0.03)


def test_waiting_for_more_costs_latency_at_low_rates() -> None:
    arrivals = poisson_arrivals(50, 200_000, np.random.default_rng(5))
    patient = simulate_batches(arrivals, T4, 8, max_delay_s=0.005)
    assert 1000 * patient.response_s.mean() == pytest.approx(11.9, rel=0.03)
    assert 1000 * patient.percentile(0.99) == pytest.approx(14.5, rel=0.04)
    longer = simulate_batches(arrivals, T4, 8, max_delay_s=0.020)
    assert 1000 * longer.response_s.mean() == pytest.approx(23.2, rel=0.04)
    assert longer.busy == pytest.approx(0.20, abs=0.02)


def test_a_full_server_says_busy_long_before_it_is_full() -> None:
    """At two thirds of the capacity it works 99 % of the time: the share of busy time is no signal to scale by."""
    assert T4.capacity(8) == pytest.approx(606, abs=0.5)
    found = simulate_batches(poisson_arrivals(400, 200_000, np.random.default_rng(3)), T4, 8)
    assert found.busy > 0.98
    assert 400 / T4.capacity(8) == pytest.approx(0.66, abs=0.005)


def test_a_line_through_measurements() -> None:
    found = fit({rows: [T4.seconds(rows)] * 3 for rows in (1, 2, 4, 8, 16)})
    assert found.fixed_s == pytest.approx(0.006)
    assert found.per_row_s == pytest.approx(0.0009)
    assert found.r2 == pytest.approx(1.0)
    with pytest.raises(DeclarationError, match="two batch sizes"):
        fit({1: [0.1]})
    assert fit({1: [0.001], 2: [0.004]}).fixed_s == 0


def test_rows_that_cost_more_than_the_time_between_them() -> None:
    with pytest.raises(DeclarationError, match="keep no server"):
        T4.mean_latency_bound(1200)
