"""Balancers: random routing is independent queues, the least loaded is the common queue, a loss is felt."""

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError
from loopwright.planning.queueing import mean_wait_mmc
from loopwright.planning.routing import simulate_routed
from loopwright.planning.simulation import poisson_arrivals, simulate

COUNT = 60_000


def test_random_routing_is_independent_queues_within_three_standard_errors() -> None:
    rng = np.random.default_rng(0)
    arrivals, service = poisson_arrivals(2.0, COUNT, rng), rng.exponential(1.0, COUNT)
    wait, error = simulate_routed(arrivals, service, 4, "random", rng).mean_wait()
    assert wait == pytest.approx(mean_wait_mmc(1, 0.5, 1.0), abs=3 * error)


def test_the_least_loaded_machine_is_the_common_queue() -> None:
    rng = np.random.default_rng(1)
    arrivals, service = poisson_arrivals(6.0, COUNT, rng), rng.exponential(1.0, COUNT)
    routed = simulate_routed(arrivals, service, 4, "least_loaded", rng, workers=2)
    np.testing.assert_allclose(routed.wait_s, simulate(arrivals, service, 8).wait_s)
    turns = simulate_routed(arrivals, service, 4, "round_robin", rng, workers=2).percentile(0.99)
    drawn = simulate_routed(arrivals, service, 4, "random", rng, workers=2).percentile(0.99)
    assert routed.percentile(0.99) < turns < drawn


def test_a_lost_machine_slows_what_comes_after_it_only() -> None:
    rng = np.random.default_rng(2)
    arrivals, service = poisson_arrivals(2.4, 20_000, rng), rng.exponential(1.0, 20_000)
    half = float(arrivals[10_000])
    whole = simulate_routed(arrivals, service, 4, "least_loaded", rng)
    hurt = simulate_routed(arrivals, service, 4, "least_loaded", rng, lost=1, lost_at_s=half)
    np.testing.assert_array_equal(hurt.wait_s[:10_000], whole.wait_s[:10_000])
    assert hurt.wait_s[10_000:].mean() > 1.5 * whole.wait_s[10_000:].mean()
    with pytest.raises(DeclarationError, match="answer nobody"):
        simulate_routed(arrivals, service, 1, "random", rng, lost=1)
