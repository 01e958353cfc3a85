"""Batches and streams."""

from datetime import date

import pytest

from loopwright.planning.assumption import Ledger
from loopwright.planning.batch_jobs import batch_options
from loopwright.planning.demand import demand_of
from loopwright.planning.jobs import BatchJob, StreamJob
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.service import ServiceModel
from loopwright.planning.stream_jobs import stream_options, stream_sizing
from loopwright.planning.uncertainty import Draws, Uncertainty
from loopwright.planning.workload import workload

PRICES = PriceTable.load(today=date(2026, 8, 1))
AWS = PRICES.instances(["aws"], ["us-east-1"])
UNSURE = Uncertainty(Draws(0, 500), {"service_time.trees": 0.15, "events": 0.15})
TREES = ServiceModel("trees", "1 core", "cpu", 2, 0.0015, 0.3, "assumed", memory_bytes=10**9)


def test_a_batch_ends_within_its_window() -> None:
    job = BatchJob("nightly", 10e6, "daily", 3600.0, 0.001)
    options = batch_options(job, [TREES], AWS, {})
    assert options[0].is_feasible
    for one in options:
        if one.is_feasible:
            assert float(one.settings["hours_per_run"]) <= 1 + 1e-9
    xlarge = next(one for one in options if one.instance_type == "c6i.xlarge" and one.purchase == "on_demand")
    assert xlarge.count == 2  # 10M ms on 2 cores are 1.39 h
    assert xlarge.lines[0].quantity == pytest.approx(2 * (120 / 3600 + 10e6 / 2 / 1000 / 3600 / 2) * 730 / 24)


def test_spot_takes_a_little_longer_and_costs_less() -> None:
    options = batch_options(BatchJob("nightly", 10e6, "daily", 7200.0, 0.001), [TREES], AWS, {})
    of = {one.purchase: one for one in options if one.instance_type == "c6i.xlarge"}
    assert float(of["spot"].settings["hours_per_run"]) > float(of["on_demand"].settings["hours_per_run"])
    assert of["spot"].usd_per_month < of["on_demand"].usd_per_month


def test_a_window_shorter_than_a_boot_is_refused() -> None:
    options = batch_options(BatchJob("now", 1e6, "daily", 60.0, 0.001), [TREES], AWS, {})
    assert {reason.limit for one in options for reason in one.reasons} >= {"batch_window"}
    assert not any(one.is_feasible for one in options)


def test_a_stream_keeps_its_limit_with_a_spare_machine_and_pays_for_its_copies() -> None:
    job = StreamJob("payments", 2000.0, limit_s=0.05)
    demand = demand_of(workload(streams=(job,), min_nodes=3, spare_nodes=1), Ledger())
    sizing = stream_sizing(job, 0.99, 0)
    options = stream_options(job, [TREES], AWS, {}, demand, sizing, UNSURE, PRICES, "aws")
    best = options[0]
    assert best.is_feasible
    assert best.latency is not None
    assert best.latency.p99_s <= 0.05
    assert float(best.settings["share_of_draws_kept"]) >= 0.9
    assert best.count * float(best.settings["workers_per_node"]) > float(best.settings["servers_needed"])
    moved = {line.item: line.usd_per_month for line in best.lines}
    assert moved["copies between zones, sent"] == pytest.approx(2000 * 730 * 3600 * 1000 * 2 / 1e9 * 0.01)
    assert any("disks of the brokers" in item for item in moved)


def test_a_limit_below_the_service_time_is_refused() -> None:
    job = StreamJob("payments", 200.0, limit_s=0.003)
    demand = demand_of(workload(streams=(job,)), Ledger())
    options = stream_options(job, [TREES], AWS, {}, demand, stream_sizing(job, 0.99, 0), UNSURE, PRICES, "aws")
    assert not any(one.is_feasible for one in options)
    assert "of which the broker takes" in options[0].reasons[0].text


def test_a_burstable_machine_works_at_its_baseline() -> None:
    options = batch_options(BatchJob("nightly", 10e6, "daily", 36_000.0, 0.001), [TREES], AWS, {})
    small = next(one for one in options if one.instance_type == "t3.medium" and one.purchase == "on_demand")
    assert small.count == 2  # one core at a fifth: 2.78 h become 13.9 h
    assert float(small.settings["hours_per_run"]) == pytest.approx(120 / 3600 + 10e6 / 1000 / 3600 / 0.2 / 2)
