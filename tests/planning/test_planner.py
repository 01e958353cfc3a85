import dataclasses
import json
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError, StoreTooNewError, UnknownNameError
from loopwright.planning.assumption import Ledger
from loopwright.planning.cost import total
from loopwright.planning.demand import demand_of
from loopwright.planning.fitting import fit
from loopwright.planning.option import Option
from loopwright.planning.plan import Plan, from_json
from loopwright.planning.planner import make_plan
from loopwright.planning.prices.table import PriceTable
from loopwright.planning.service import ServiceModel
from loopwright.planning.sizing import Sizing
from loopwright.planning.training_needs import TrainingNeeds
from loopwright.planning.workload import Fixed, Workload, workload
from loopwright.planning.workload_file import Request, read_workload

TODAY = date(2026, 8, 1)


def planned(request: Request, prices: PriceTable, **changes: object) -> Plan:
    asked = dataclasses.replace(request.workload, **changes)  # type: ignore[arg-type]
    return make_plan(asked, request.services, request.training, prices, today=TODAY)


def reasons(options: tuple[Option, ...]) -> list[str]:
    return [reason.text for option in options for reason in option.reasons]


@pytest.mark.parametrize(
    ("name", "rate", "servers"), [("fp32", 50, 4), ("fp32", 65, 5), ("int8", 65, 2), ("t4-fp16", 65, 1)]
)
def test_the_exercise_needs_so_many_servers(
    image_request: Request, price_table: PriceTable, name: str, rate: float, servers: int
) -> None:
    demand = demand_of(image_request.workload, Ledger())
    sizing = Sizing(demand.limit_s, demand.network_s, demand.percentile, 0)
    service = next(one for one in image_request.services if one.name == name)
    machine = price_table.instance("aws", "us-east-1", "g4dn.xlarge" if name == "t4-fp16" else "c6i.xlarge")
    found = fit(service, machine, {})
    assert found is not None
    assert sizing.fewest(found, rate) == servers


def test_the_plan_is_complete(image_plan: Plan) -> None:
    assert set(image_plan.stages) == {
        "storage", "processing", "training", "evaluation", "serving", "monitoring", "network", "metadata",
    }  # fmt: skip
    assert {rank.provider for rank in image_plan.ranking if rank.stage == "total"} == {"aws", "gcp", "azure"}
    serving = image_plan.stages["serving"].chosen
    assert serving.is_feasible
    assert serving.latency is not None
    assert serving.latency.p99_s <= 0.2
    assert serving.count >= max(2, float(serving.settings["nodes_needed"]) + 1)
    assert serving.settings["min_nodes"] >= 2
    assert image_plan.total.p5_usd < image_plan.total.p50_usd < image_plan.total.p95_usd
    assert len(image_plan.day) == 96
    assert all(point.capacity_rps >= point.rps for point in image_plan.day)


def test_lines_add_up(image_plan: Plan) -> None:
    assert image_plan.usd_per_month == pytest.approx(total(image_plan.lines))
    assert image_plan.usd_per_month == pytest.approx(
        sum(stage.chosen.usd_per_month for stage in image_plan.stages.values())
    )
    assert image_plan.total.p50_usd == pytest.approx(image_plan.usd_per_month, rel=0.05)
    assert {(line.price.usd, line.price.source) for line in image_plan.lines} == {
        (price.usd, price.source) for price in image_plan.prices
    }


def test_one_server_short_and_one_small_machine_are_rejected_with_the_reason(image_plan: Plan) -> None:
    said = reasons(image_plan.stages["serving"].alternatives)
    assert any("4 servers of 'fp32' at 65 requests/s" in text and "5 are needed" in text for text in said)
    assert any("1 servers of 'int8'" in text and "2 are needed" in text for text in said)
    small = [
        option
        for option in image_plan.stages["serving"].alternatives
        if option.instance_type == "t3.medium" and option.packaging == "vm" and option.settings["service"] == "fp32"
    ]
    assert small
    text = " ".join(reason.text for reason in small[0].reasons)
    assert "t3.medium answers 10 requests/s if it never rests, and the mean is 11.57: the queue only grows" in text


def test_gpu_beats_cpu_from_some_rate_on(image_plan: Plan) -> None:
    found = next(one for one in image_plan.crossovers if one.name == "GPU beats CPU")
    assert found.at is not None
    assert 200 < found.at < 3000
    below = [point for point in found.points if point[0] < found.at / 1.2]
    assert all(cpu < gpu for _, cpu, gpu in below)


def test_every_figure_says_how_it_is_known(image_plan: Plan) -> None:
    tags = {one.name: one.tag for one in image_plan.assumptions}
    assert set(tags.values()) <= {"measured", "given", "assumed"}
    assert tags["peak_rps"] == tags["requests_per_day"] == tags["latency_limit_s"] == "given"
    assert tags["service_time.fp32"] == "assumed"
    assert all(one.source for one in image_plan.assumptions)
    assert all(line.price.source for line in image_plan.lines)


def test_alternatives_are_ranked_by_draws(image_plan: Plan) -> None:
    places = [rank for rank in image_plan.ranking if rank.stage == "total"]
    assert sum(rank.cheapest for rank in places) <= 1 + 1e-9
    assert places[0].provider == image_plan.place[0]
    serving = [rank for rank in image_plan.ranking if rank.stage == "serving"]
    assert sum(rank.cheapest for rank in serving) <= 1 + 1e-9
    assert all(0 <= rank.cheapest <= rank.feasible <= 1 for rank in image_plan.ranking)
    widths = [swing.width_usd for swing in image_plan.tornado]
    assert widths == sorted(widths, reverse=True)
    assert {"requests", "object_bytes", "list prices"} <= {swing.name for swing in image_plan.tornado}


def test_traps_and_savings(image_plan: Plan) -> None:
    assert {"lifecycle", "nat", "gpu_busy_autoscaling"} <= {trap.name for trap in image_plan.traps}
    found = {saving.strategy: saving for saving in image_plan.savings}
    assert found["lifecycle rules as they come"].verdict == "loses"
    assert found["packing, and rules by what an object costs"].usd_per_month > 100
    assert found["spot for training"].usd_per_month > 0
    assert {"autoscaling", "right-sizing", "commitment, 1 year", "commitment, 3 years", "GPU sharing", "Arm"} <= set(
        found
    )
    assert "batches hardly form" in found["batching"].text


def test_the_plan_file_says_everything(image_plan: Plan) -> None:
    text = json.dumps(image_plan.to_json(), allow_nan=False)
    assert from_json(json.loads(text)) == image_plan
    with pytest.raises(StoreTooNewError, match="schema 99"):
        from_json({**image_plan.to_json(), "schema": 99})
    with pytest.raises(DeclarationError, match="no plan"):
        from_json({"name": "x"})
    with pytest.raises(DeclarationError, match="cannot be read"):
        from_json({"schema": 1, "name": 3})


def test_the_same_seed_makes_the_same_plan(price_table: PriceTable) -> None:
    assert small(price_table) == small(price_table)
    other = small(price_table, seed=1)
    assert other != small(price_table)


def test_a_budget_that_buys_too_little_is_told_why(image_request: Request, price_table: PriceTable) -> None:
    plan = planned(image_request, price_table, clouds=("aws",), budget={"serving": 35.0, "total": 170.0})
    lines = {line.line: line for line in plan.budget}
    assert not lines["serving"].is_kept
    assert "infeasible: at least" in lines["serving"].text
    assert "t3.medium" in lines["serving"].text
    assert "capacity" not in lines["serving"].text
    assert any(reason.limit == "budget.serving" for reason in plan.stages["serving"].chosen.reasons)


@pytest.mark.parametrize("name", ["small-project", "churn-batch", "fraud-stream"])
def test_the_other_examples(name: str, price_table: PriceTable, request: pytest.FixtureRequest) -> None:
    folder = request.path.parents[2] / "examples" / "plans"
    asked = read_workload(folder / f"{name}.toml")
    plan = make_plan(asked.workload, asked.services, asked.training, price_table, today=TODAY)
    assert from_json(json.loads(json.dumps(plan.to_json(), allow_nan=False))) == plan
    if name == "small-project":
        budget = {line.line: line for line in plan.budget}
        assert budget["total"].budget_usd == 170
        assert all(line.is_kept for line in plan.budget if line.line != "other")
        assert plan.stages["serving"].chosen.packaging == "vm"
    elif name == "churn-batch":
        chosen = plan.stages["batch"].chosen
        assert float(chosen.settings["hours_per_run"]) <= 2
        assert "serving" not in plan.stages
    else:
        chosen = plan.stages["streaming"].chosen
        assert chosen.latency is not None
        assert chosen.latency.p99_s <= 0.05
        assert chosen.count >= 3
        assert any("brokers" in line.note for line in chosen.lines)


CPU = ServiceModel("trees", "1 core", "cpu", 2, 0.02, 0.2, "assumed", memory_bytes=10**9)


def small(prices: PriceTable, **changes: object) -> Plan:
    values: dict[str, object] = {"requests_per_day": 500_000, "peak_rps": 20, "latency_p99": "150ms", **changes}
    values.setdefault("fixed", Fixed(instance_type="Standard_F4s_v2"))
    seed = values.pop("seed", 0)
    asked: Workload = workload(retrain="never", clouds=("azure",), retention="1d", **values)  # type: ignore[arg-type]
    return make_plan(asked, [CPU], TrainingNeeds(), prices, draws=200, seed=int(str(seed)), today=TODAY)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(1.02, 6))
def test_more_traffic_is_never_cheaper(price_table: PriceTable, more: float) -> None:
    less = small(price_table)
    greater = small(price_table, requests_per_day=500_000 * more, peak_rps=20 * more, floor_rps=None)
    assert greater.stages["serving"].chosen.usd_per_month >= less.stages["serving"].chosen.usd_per_month - 1e-6
    assert greater.usd_per_month >= less.usd_per_month


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(80, 150))
def test_a_looser_limit_is_never_dearer(price_table: PriceTable, limit_ms: int) -> None:
    tight = small(price_table, latency_p99=f"{limit_ms}ms")
    loose = small(price_table, latency_p99=f"{limit_ms + 100}ms")
    assert loose.stages["serving"].chosen.usd_per_month <= tight.stages["serving"].chosen.usd_per_month + 1e-6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": ("us-east-9",)}, r"no region with prices 'us-east-9'. Did you mean"),
        ({"fixed": Fixed(instance_type="c6i.xlage")}, r"no machine type 'c6i.xlage'"),
        ({"fixed": Fixed(packaging="kubernets")}, r"no packaging 'kubernets'. Did you mean 'kubernetes'"),
        ({"fixed": Fixed(packaging="serverless")}, r"'serverless' has no price in azure eastus"),
        ({"fixed": Fixed(service="trese")}, r"no service model 'trese'. Did you mean 'trees'"),
        ({"latency_p99": "21ms", "network_s": 0.01}, r"Nothing keeps the limit. .*with nobody waiting"),
        ({"floor_rps": 30.0}, r"floor_rps=30.0 does not lie between 0 and the mean"),
        ({"budget": {"severing": 3.0}}, r"no budget line 'severing'. Did you mean 'serving'"),
    ],
)
def test_what_cannot_be_planned_has_one_clear_message(
    price_table: PriceTable, changes: dict[str, object], message: str
) -> None:
    with pytest.raises((DeclarationError, UnknownNameError), match=message):
        small(price_table, **changes)


def test_a_fixed_choice_is_kept(price_table: PriceTable) -> None:
    plan = small(
        price_table, fixed=Fixed(instance_type="Standard_F4s_v2", purchase="on_demand", packaging="kubernetes")
    )
    chosen = plan.stages["serving"].chosen
    assert (chosen.instance_type, chosen.purchase, chosen.packaging) == ("Standard_F4s_v2", "on_demand", "kubernetes")
    assert any(line.item == "Kubernetes control plane" for line in chosen.lines)


def test_a_commitment_is_taken_only_where_it_may_be(price_table: PriceTable) -> None:
    assert small(price_table).stages["serving"].chosen.purchase not in {"commit_1y", "commit_3y"}
    plan = small(price_table, longest_commitment_years=3.0)
    assert plan.stages["serving"].chosen.purchase == "commit_3y"
    assert plan.stages["serving"].chosen.usd_per_month < small(price_table).stages["serving"].chosen.usd_per_month
