"""The traps that machines set, and what the usual strategies come to."""

import dataclasses
from datetime import date
from pathlib import Path

from loopwright.planning.batching import BatchTime
from loopwright.planning.plan import Plan
from loopwright.planning.planner import make_plan
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.service import ServiceModel
from loopwright.planning.sharing import can_mig, can_mps, shared_seconds, slice_seconds
from loopwright.planning.training_needs import TrainingNeeds
from loopwright.planning.workload import workload
from loopwright.planning.workload_file import read_workload

TODAY = date(2026, 8, 1)
T4 = ServiceModel(
    "t4", "T4", "gpu", 4, 0.0069, 0.0, "assumed", batch=BatchTime(0.006, 0.0009), largest_batch=8, accelerator="T4"
)
CPU = ServiceModel("int8", "4 vCPUs", "cpu", 4, 0.022, 0.05, "assumed", memory_bytes=10**9)


def plan(price_table: PriceTable, peak: float, services: list[ServiceModel], **training: object) -> Plan:
    asked = workload(requests_per_day=peak * 20_000, peak_rps=peak, clouds=("aws",), retention="7d")
    needs = TrainingNeeds({"A10G": 10.0}, **training)  # type: ignore[arg-type]
    return make_plan(asked, services, needs, price_table, draws=200, today=TODAY)


def test_spot_without_checkpoints_is_detected_and_explained(price_table: PriceTable) -> None:
    made = plan(price_table, 5, [CPU], has_checkpoints=False, between_failures_h=3.0)
    trap = next(one for one in made.traps if one.name == "spot_without_checkpoints")
    assert "10.0 h of work take" in trap.text
    assert trap.usd_per_month > 0
    assert made.stages["training"].chosen.purchase == "on_demand"
    spot = next(one for one in made.savings if one.strategy == "spot for training")
    assert spot.verdict == "loses"
    assert "without checkpoints" in spot.text


def test_following_gpu_use_is_detected_for_servers_that_batch(price_table: PriceTable) -> None:
    trap = next(one for one in plan(price_table, 5, [T4]).traps if one.name == "gpu_busy_autoscaling")
    assert "busy all the time from 145 requests/s on and full at 606" in trap.text
    one_by_one = dataclasses.replace(T4, largest_batch=1)
    assert not any(one.name == "gpu_busy_autoscaling" for one in plan(price_table, 5, [one_by_one]).traps)


def test_batches_save_where_there_is_enough_traffic(price_table: PriceTable) -> None:
    found = next(one for one in plan(price_table, 800, [T4]).savings if one.strategy == "batching")
    assert found.verdict == "saves"
    assert found.usd_per_month > 1000


def test_spot_saves_on_a_large_fleet(price_table: PriceTable) -> None:
    made = plan(price_table, 800, [CPU])
    found = next(one for one in made.savings if one.strategy == "spot for serving")
    assert found.usd_per_month > 0
    scaled = next(one for one in made.savings if one.strategy == "autoscaling")
    assert scaled.usd_per_month > 0


def test_a_card_is_shared_only_where_it_can_be() -> None:
    assert can_mig("H100")
    assert not can_mig("L4")
    assert slice_seconds(0.01, 7) == 0.01
    assert can_mps([10e9, 6e9], [0.1, 0.1], 16e9) == "they take 16.0 GB, and the card leaves 14.4"
    assert shared_seconds(0.01, 0) == 0.01


def test_a_balancer_that_draws_at_random_is_told_of_where_it_is_too_slow(price_table: PriceTable) -> None:
    asked = read_workload(Path(__file__).parents[2] / "examples" / "plans" / "image-classification.toml")
    rest = {"draws": 200, "today": TODAY}
    slow = make_plan(asked.workload, asked.services[:1], asked.training, price_table, **rest)
    (found,) = (one for one in slow.traps if one.name == "random_balancer")
    assert "least outstanding requests" in found.text
    fast = make_plan(asked.workload, asked.services[1:2], asked.training, price_table, **rest)
    assert not any(one.name == "random_balancer" for one in fast.traps)
