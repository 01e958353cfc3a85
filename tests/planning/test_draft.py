"""How one machine serves: autoscaling over the day, ways of buying, what is refused."""

import dataclasses
from datetime import date

import numpy as np
import pytest

from loopwright.planning.assumption import Ledger
from loopwright.planning.cost import HOURS_PER_MONTH
from loopwright.planning.day_cost import level, needed_rps
from loopwright.planning.demand import Demand, demand_of
from loopwright.planning.draft import Draft, drafts
from loopwright.planning.fitting import fit
from loopwright.planning.option import Reason
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.purchase import machine_lines, spot_fleet
from loopwright.planning.refusal import scale_to_zero
from loopwright.planning.service import ServiceModel
from loopwright.planning.sizing import Sizing
from loopwright.planning.sureness import SURE, Sureness
from loopwright.planning.uncertainty import Draws, Uncertainty
from loopwright.planning.workload import Fixed, workload

PRICES = PriceTable.load(today=date(2026, 8, 1))
FP32 = ServiceModel("fp32", "4 vCPUs", "cpu", 4, 0.05, 0.05, "assumed", memory_bytes=10**9)
UNSURE = Uncertainty(Draws(0, 500), {"service_time.fp32": 0.15, "peak": 0.2})


def demand(**more: object) -> Demand:
    values: dict[str, object] = {"requests_per_day": 1e6, "peak_rps": 50, "floor_rps": 2.0, **more}
    return demand_of(workload(**values), Ledger())  # type: ignore[arg-type]


def served(name: str, asked: Demand, fixed: Fixed | None = None) -> list[Draft]:
    found = fit(FP32, PRICES.instance("aws", "us-east-1", name), {})
    assert found is not None
    sizing = Sizing(asked.limit_s, asked.network_s, asked.percentile, 0)
    return list(
        drafts(found, asked, sizing, Sureness(asked.sized_rps, "peak", sizing, UNSURE), PRICES, fixed or Fixed())
    )


def test_a_fleet_has_a_spare_machine_and_is_sure_enough() -> None:
    asked = demand()
    one = next(
        one for one in served("c6i.xlarge", asked) if one.packaging == "kubernetes" and one.purchase == "on_demand"
    )
    assert (one.servers, one.working, one.fewest) == (5, 5, 2)
    assert one.most >= 6
    sizing = Sizing(asked.limit_s, asked.network_s, asked.percentile, 0)
    assert Sureness(asked.sized_rps, "peak", sizing, UNSURE).keeps(one.found, one.most).mean() >= SURE
    assert one.fewest < one.mean_nodes < one.most
    assert any(line.item == "Kubernetes control plane" for line in one.lines)


def test_autoscaling_pays_for_the_average_of_the_day() -> None:
    asked = demand()
    one = next(
        one for one in served("c6i.xlarge", asked) if one.packaging == "vm_group" and one.purchase == "on_demand"
    )
    hours = sum(line.quantity for line in one.lines if "c6i.xlarge" in line.item)
    assert hours == pytest.approx(one.mean_nodes * HOURS_PER_MONTH)
    drivers = dict(next(line.drivers for line in one.lines if line.drivers))
    assert drivers["requests"] > 0
    assert drivers["service_time"] == pytest.approx(drivers["requests"], abs=0.05)


def test_commitments_are_for_the_machines_that_run_enough() -> None:
    found = {one.purchase: one for one in served("c6i.xlarge", demand()) if one.packaging == "vm_group"}
    assert found["commit_1y"].usd < found["on_demand"].usd
    committed = next(line for line in found["commit_1y"].lines if "committed" in line.item)
    assert committed.quantity / HOURS_PER_MONTH >= 2
    assert committed.quantity / HOURS_PER_MONTH < found["commit_1y"].most


def test_spot_keeps_the_fixed_machines_on_demand_and_survives_a_zone() -> None:
    spot = next(one for one in served("c6i.xlarge", demand()) if one.purchase == "spot" and one.packaging == "vm_group")
    assert spot.most - -(-(spot.most - spot.fewest) // 3) >= spot.working
    assert any(line.item.startswith("2 x") and line.item.endswith("on demand") for line in spot.lines)
    assert spot_fleet(10, 2) == 14
    assert spot_fleet(2, 2) == 2


def test_one_machine_is_refused_by_what_it_cannot_do() -> None:
    one = next(one for one in served("c6i.xlarge", demand()) if one.packaging == "vm")
    assert {reason.limit for reason in one.reasons} == {"capacity", "availability"}
    calm = demand(requests_per_day=1e5, peak_rps=3, floor_rps=0.2, availability=0.99)
    assert next(one for one in served("c6i.xlarge", calm) if one.packaging == "vm").reasons == ()


def test_burstable_machines_must_earn_what_they_use() -> None:
    tired = next(one for one in served("t3.medium", demand()) if one.packaging == "vm")
    assert {reason.limit for reason in tired.reasons} == {"capacity", "availability", "cpu_credits"}
    groups = [one for one in served("t3.medium", demand()) if one.packaging == "vm_group"]
    assert all(one.fewest == one.most for one in groups)


def test_serverless_stands_for_whole_workers_only() -> None:
    assert any(one.packaging == "serverless" for one in served("c6i.xlarge", demand()))
    assert not any(one.packaging == "serverless" for one in served("t3.medium", demand()))


def test_a_service_that_is_too_slow_alone_is_refused() -> None:
    asked = demand(latency_p99="60ms")
    found = served("c6i.xlarge", asked)
    assert len(found) == 1
    assert "no number of machines helps" in found[0].reasons[0].text


def test_scaling_to_zero_is_forbidden_where_a_request_would_wait() -> None:
    quiet = demand(requests_per_day=2000, peak_rps=1, floor_rps=0.001)
    refused = scale_to_zero(quiet, 90.0)
    assert isinstance(refused, Reason)
    assert "no scaling to zero" in refused.text
    assert scale_to_zero(quiet, 0.1) is None
    assert scale_to_zero(demand(), 90.0) is None  # two requests a second leave no gap of five minutes


def test_the_day_has_room_for_a_step_and_for_the_reaction() -> None:
    asked = demand()
    needed = needed_rps(asked, 150.0)
    assert needed.max() == pytest.approx(65)
    assert needed.min() >= asked.floor_rps + asked.step_rps - 1e-9
    assert (needed >= np.minimum(asked.minutes_rps * asked.burst_factor, 65) - 1e-9).all()
    assert (needed_rps(asked, 600.0) >= needed).all()


def test_a_flat_day_needs_the_same_machines_all_the_time() -> None:
    found = level(np.full(1440, 30.0), np.array([10.0, 20.0, 30.0, 40.0]), fewest=1, most=6, spare=1)
    assert found.shares == (1, 1, 1, 1, 0, 0)
    assert found.mean == 4


def test_full_months_are_bought_at_their_discount() -> None:
    instance = PRICES.instance("gcp", "us-central1", "n2-standard-4")
    found = level(np.full(1440, 5.0), np.array([10.0]), fewest=2, most=2, spare=1)
    lines = machine_lines("serving", instance, found, "on_demand", fixed=2)
    assert lines is not None
    assert sum(line.usd_per_month for line in lines) < 2 * 730 * instance.on_demand.usd * 0.95


def test_a_histogram_takes_the_place_of_the_curve() -> None:
    hourly = tuple([1.0] * 8 + [20.0] * 8 + [5.0] * 8)
    asked = demand(requests_per_day=26 / 3 * 86_400, peak_rps=None, floor_rps=None, hourly_rps=hourly)
    assert asked.minutes_rps.mean() == pytest.approx(26 / 3, rel=0.02)
    assert asked.peak_rps >= 20
    assert dataclasses.asdict(asked)["floor_rps"] == pytest.approx(1.0, rel=0.1)
