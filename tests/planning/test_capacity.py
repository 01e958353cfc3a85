import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.planning.batching import BatchTime
from loopwright.planning.capacity import Capacity
from loopwright.planning.fleet import highest_rate
from loopwright.planning.service import ServiceModel

FP32 = ServiceModel("fp32", "4 vCPUs", "cpu", 4, 0.05, 0.05, "assumed")
T4 = ServiceModel(
    "t4", "T4", "gpu", 4, 0.0069, 0.0, "assumed", batch=BatchTime(0.006, 0.0009), largest_batch=8, accelerator="T4"
)
CURVE = Capacity(FP32)


@pytest.mark.parametrize("servers", [1, 2, 4, 6])
def test_the_curve_lies_near_the_simulated_edge(servers: int) -> None:
    edge = highest_rate(FP32, servers, 0.2, before_s=0.01)
    assert float(CURVE.rate(servers, 0.19)) == pytest.approx(edge, rel=0.08)


def test_a_batching_server() -> None:
    curve = Capacity(T4)
    assert float(curve.rate(1, 0.19)) == pytest.approx(highest_rate(T4, 1, 0.2, before_s=0.01), rel=0.05)
    assert curve.fewest(65, 0.19) == 1


def test_the_exercise() -> None:
    assert CURVE.fewest(50, 0.19) == 4
    assert CURVE.fewest(65, 0.19) == 5
    assert CURVE.fewest(50, 0.04) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.floats(0.06, 0.6), st.floats(0.5, 2))
def test_more_servers_more_room_and_faster_service_carry_more(servers: int, room: float, scale: float) -> None:
    rate = float(CURVE.rate(servers, room, scale))
    assert rate <= servers / (0.05 * scale)
    assert float(CURVE.rate(servers + 1, room, scale)) >= rate * 0.999
    assert float(CURVE.rate(servers, room * 1.2, scale)) >= rate
    assert float(CURVE.rate(servers, room, scale * 1.1)) <= rate + 1e-9


def test_slower_servers_are_the_same_ones_with_another_clock() -> None:
    slow = Capacity(FP32.on("slower", ratio=2.0, spread=0.2))
    for servers in (1, 3, 6):
        assert float(CURVE.rate(servers, 0.3, 2.0)) == pytest.approx(float(slow.rate(servers, 0.3)), rel=1e-6)


def test_draws_are_answered_at_once() -> None:
    scales = np.exp(np.random.default_rng(0).normal(0, 0.15, 2000))
    rates = CURVE.rate(6, 0.19, scales)
    assert rates.shape == (2000,)
    order = np.argsort(scales)
    assert (np.diff(rates[order]) <= 1e-9).all()
