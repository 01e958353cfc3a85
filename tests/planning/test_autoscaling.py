from __future__ import annotations

import numpy as np
import pytest

from loopwright.planning.autoscaling import Reaction, desired_replicas, headroom_rps, step_misses
from loopwright.planning.simulation import lognormal


@pytest.mark.parametrize(
    ("servers", "ready", "share", "within"),
    [(2, 60, 0.158, 0.03), (2, 150, 0.398, 0.05), (3, 60, 0.010, 0.01), (3, 150, 0.024, 0.02), (4, 60, 0.0, 0.002)],
)
def test_a_step_from_25_to_50_requests_a_second(servers: int, ready: float, share: float, within: float) -> None:
    rng = np.random.default_rng(1)
    service = lognormal(0.05, 0.05, 20_000, rng)
    options = {"before_rps": 25, "after_rps": 50, "wanted": 4, "ready_after_s": ready, "limit_s": 0.19}
    found = [step_misses(service, servers=servers, rng=rng, **options) for _ in range(8)]
    assert np.mean(found) == pytest.approx(share, abs=within)


def test_reaction_and_headroom() -> None:
    assert Reaction().seconds == pytest.approx(62)
    assert Reaction(node_boot_s=88).seconds == pytest.approx(150)
    assert headroom_rps(0.254, 0, 150) == pytest.approx(0.635)
    assert headroom_rps(0.254, 25, 150) == 25


def test_an_autoscaler_tolerates_a_tenth() -> None:
    assert desired_replicas(4, 10.9, 10) == 4
    assert desired_replicas(4, 11.1, 10) == 5
    assert desired_replicas(4, 4, 10) == 2
    assert desired_replicas(1, 0.1, 10) == 1
