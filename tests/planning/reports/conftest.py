"""A plan as the planner makes it, and a small one by hand whose every figure is known."""

from __future__ import annotations

from datetime import date

import pytest

from loopwright.planning.assumption import Assumption
from loopwright.planning.batching import BatchTime
from loopwright.planning.cost import CostLine, Price
from loopwright.planning.option import Latency, Option, Reason
from loopwright.planning.plan import (
    Band,
    BudgetLine,
    Checked,
    Crossover,
    DayPoint,
    Plan,
    Rank,
    Saving,
    StagePlan,
    Swing,
    Warned,
)
from loopwright.planning.planner import make_plan
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.service import ServiceModel
from loopwright.planning.training_needs import TrainingNeeds
from loopwright.planning.workload import workload

TODAY = date(2026, 8, 1)
HOUR = Price(0.10, "hour", "a list | of prices", "2026-07-01", 0.05)
GB = Price(0.02, "GB-month", "another list", "", 0.2)


@pytest.fixture(scope="session")
def made_plan() -> Plan:
    """Images on two clouds, CPU and GPU."""
    asked = workload(
        name="images",
        requests_per_day=1_000_000,
        peak_rps=50,
        payload="100KB",
        retention="90d",
        clouds=("aws", "gcp"),
        budget={"serving": 100.0},
    )
    services = (
        ServiceModel("int8", "2 vCPUs", "cpu", 1, 0.055, 0.1, "assumed", memory_bytes=600_000_000),
        ServiceModel(
            "gpu", "a T4", "gpu", 4, 0.0069, 0.05, "assumed", (), BatchTime(0.006, 0.0009), 8, accelerator="T4"
        ),
    )
    needs = TrainingNeeds({"A10G": 4.0})
    return make_plan(asked, services, needs, PriceTable.load(today=TODAY), seed=0, draws=200, today=TODAY)


def option(name: str, hours: float, **more: object) -> Option:
    """An option for serving at 10 cents an hour."""
    lines = (CostLine("serving", "a | machine", hours, HOUR, "all the time"),)
    plain: dict[str, object] = {
        "stage": "serving",
        "name": name,
        "provider": "aws",
        "region": "us-east-1",
        "instance_type": "c6i.large",
        "purchase": "on_demand",
        "packaging": "vm_group",
        "count": 2,
        "settings": {"min_replicas": 2.0, "is_autoscaled": False},
        "lines": lines,
        "latency": Latency(0.05, 0.09, 0.15, 0.001, is_simulated=True),
        "utilisation": 0.4,
    }
    return Option(**(plain | more))  # type: ignore[arg-type]


@pytest.fixture
def small_plan() -> Plan:
    """One by hand: $146 for serving, $20 for storage."""
    chosen = option("2 x c6i.large", 1460.0)
    dearer = option("3 x c6i.large", 2190.0)
    committed = option("2 x c6i.large, 1 year committed", 1000.0, purchase="commit_1y")
    short = option("1 x c6i.large", 730.0, reasons=(Reason("latency_p99", "p99 is 347 ms"),))
    store = CostLine("storage", "raw in standard", 1000.0, GB, "")
    kept = option("as it comes", 0.0, stage="storage", lines=(store,), latency=None, utilisation=None)
    return Plan(
        name="<b>small</b>",
        created_at="2026-08-01",
        seed=3,
        draws=2000,
        inputs={"workload": {"requests_per_day": 1000.0, "latency_p99": 0.2}},
        assumptions=(
            Assumption("burst_factor", 1.3, "", "assumed", "a busy second within its minute", 0.15),
            Assumption("peak_rps", 50.0, "requests/s", "given", "the workload"),
            Assumption("service_time.native", 0.02, "s", "measured", "a profile of this machine", 0.05),
            Assumption("left_out.azure.westus", "No way works for training.", "", "given", "the price table"),
        ),
        stages={"storage": StagePlan(kept), "serving": StagePlan(chosen, (dearer, committed, short))},
        total=Band(150.0, 166.0, 190.0),
        ranking=(
            Rank("total", "aws us-east-1", "aws", "us-east-1", Band(150.0, 166.0, 190.0), 1.0, 0.97),
            Rank("serving", chosen.name, "aws", "us-east-1", Band(140.0, 146.0, 150.0), 0.99, 0.9),
            Rank("serving", dearer.name, "aws", "us-east-1", Band(210.0, 219.0, 230.0), 1.0, 0.1),
        ),
        tornado=(Swing("requests", 150.0, 185.0), Swing("list prices", 160.0, 170.0)),
        crossovers=(
            Crossover(
                "GPU beats CPU",
                1086.0,
                "requests/s at peak",
                "CPU",
                "GPU",
                ((10.0, 50.0, 300.0), (2000.0, 900.0, 400.0)),
                "far",
            ),
        ),
        savings=(
            Saving("spot", "loses", -3.0, "no checkpoints"),
            Saving("packing", "saves", 235.73, "shards", is_in_plan=True),
        ),
        traps=(Warned("lifecycle", "a move that never pays", 220.0),),
        budget=(BudgetLine("serving", 100.0, 146.0, "infeasible: at least $146.00"),),
        day=(DayPoint(0.0, 5.0, 80.0, 2.0), DayPoint(12.0, 50.0, 80.0, 2.0)),
        latency_s=((0.5, 0.05), (0.95, 0.09), (0.99, 0.15)),
        prices=(HOUR, GB),
        versions={"loopwright": "0.1.0", "prices": "2026-07-01"},
        verification=(Checked(0.6, 30.0, 0.99, 0.15, 0.16),),
    )
