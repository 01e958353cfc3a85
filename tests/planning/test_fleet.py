from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.errors import DeclarationError
from loopwright.planning.batching import BatchTime
from loopwright.planning.fleet import fewest_servers, highest_rate, latency_at
from loopwright.planning.service import ServiceModel, measured, spread_of_mean

FP32 = ServiceModel("fp32", "4 vCPUs", "cpu", 4, 0.05, 0.05, "assumed")
INT8 = ServiceModel("int8", "4 vCPUs", "cpu", 4, 0.022, 0.05, "assumed")
T4 = ServiceModel("t4", "T4", "gpu", 4, 0.0069, 0.0, "assumed", batch=BatchTime(0.006, 0.0009), largest_batch=8)


@pytest.mark.parametrize(("service", "rate", "count"), [(FP32, 50, 4), (FP32, 65, 5), (INT8, 65, 2), (T4, 65, 1)])
def test_the_fleet_that_keeps_200_ms(service: ServiceModel, rate: float, count: int) -> None:
    found = fewest_servers(service, rate, 0.2, before_s=0.01)
    assert found == count
    assert latency_at(service, rate, count, 0.2, before_s=0.01).p99_s <= 0.2
    if service.batch is None:
        one_short = latency_at(service, rate, count - 1, 0.2, before_s=0.01)
        assert one_short.share_above_limit > 0.01


def test_a_model_that_is_too_slow_alone_is_refused_with_its_figure() -> None:
    with pytest.raises(DeclarationError, match=r"takes \d+ ms at the 99% percentile with nobody waiting"):
        fewest_servers(FP32, 1, 0.05)
    assert highest_rate(FP32, 100, 0.05) == 0


def test_the_highest_rate_is_the_edge() -> None:
    edge = highest_rate(FP32, 4, 0.2, before_s=0.01)
    assert latency_at(FP32, edge, 4, 0.2, before_s=0.01).p99_s <= 0.2
    assert latency_at(FP32, edge * 1.03, 4, 0.2, before_s=0.01).p99_s > 0.2


def test_what_was_measured_elsewhere_is_carried_over_only_with_its_doubt() -> None:
    slower = FP32.on("another machine", ratio=2.0, spread=0.3)
    assert slower.is_extrapolated
    assert slower.mean_s == 0.1
    assert T4.on("another card", ratio=0.5, spread=0.2).batch == BatchTime(0.003, 0.00045)
    with pytest.raises(DeclarationError, match="spread of at least"):
        FP32.on("another machine", ratio=2.0, spread=0.01)


def test_measured_times_are_drawn_as_they_are() -> None:
    rng = np.random.default_rng(0)
    samples = tuple(rng.gamma(4, 0.01, 500).tolist())
    service = measured("native", "here", samples, vcpus=1)
    assert set(service.draws(1000, rng)) <= set(samples)
    assert service.cv2 == pytest.approx(0.25, rel=0.2)
    assert 0.05 <= spread_of_mean(service, rng=rng) < 0.1
    assert spread_of_mean(service.on("there", ratio=1.2, spread=0.3), rng=rng) > 0.3
    with pytest.raises(DeclarationError, match="99th percentile"):
        measured("native", "here", samples[:10], vcpus=1)
