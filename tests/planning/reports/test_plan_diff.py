"""What changed between two plans."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from loopwright.planning.assumption import Assumption
from loopwright.planning.cost import CostLine, Price
from loopwright.planning.option import Option
from loopwright.planning.plan import Band, Plan, StagePlan, from_json
from loopwright.planning.plan_diff import diff_plans, diff_text


def dearer(option: Option, times: float) -> Option:
    lines = [
        dataclasses.replace(one, price=dataclasses.replace(one.price, usd=one.price.usd * times))
        for one in option.lines
    ]
    return dataclasses.replace(option, lines=tuple(lines))


def test_a_plan_differs_from_itself_in_nothing(made_plan: Plan, small_plan: Plan) -> None:
    for plan in (made_plan, small_plan):
        found = diff_plans(plan, from_json(plan.to_json()))
        assert found.is_empty
        assert found.difference_usd == 0
        assert diff_text(found).endswith("Nothing changed.")


def test_new_prices_show_as_prices(small_plan: Plan) -> None:
    serving = small_plan.stages["serving"]
    after = dataclasses.replace(
        small_plan,
        created_at="2027-08-01",
        stages=small_plan.stages | {"serving": StagePlan(dearer(serving.chosen, 1.5), serving.alternatives)},
        total=Band(200.0, 239.0, 260.0),
        versions={"loopwright": "0.1.0", "prices": "2027-07-01"},
    )
    found = diff_plans(small_plan, after)
    assert [one.name for one in found.prices] == ["a | machine, aws us-east-1, per hour"]
    (stage,) = [one for one in found.stages if one.difference_usd]
    assert (stage.stage, round(stage.difference_usd, 6), round(stage.by_price_usd, 6)) == ("serving", 73.0, 73.0)
    text = diff_text(found)
    assert "$166.00 a month (2026-08-01, aws us-east-1) became $239.00 (2027-08-01, aws us-east-1): +$73.00." in text
    assert "  serving: $146.00 → $219.00 (+$73.00, +$73.00 of it by prices); 2 x c6i.large" in text
    assert "  prices: 2026-07-01 → 2027-07-01" in text


def test_more_traffic_shows_as_asked_and_as_another_choice(small_plan: Plan) -> None:
    serving = small_plan.stages["serving"]
    others = [one for one in small_plan.assumptions if one.name != "peak_rps"]
    after = dataclasses.replace(
        small_plan,
        inputs={"workload": {"requests_per_day": 2000.0, "latency_p99": 0.2}},
        assumptions=(*others, Assumption("peak_rps", 100.0, "requests/s", "measured", "monitoring")),
        stages=small_plan.stages | {"serving": StagePlan(serving.alternatives[0])},
    )
    text = diff_text(diff_plans(small_plan, after))
    assert "  workload.requests_per_day: 1,000 → 2,000" in text
    assert "  peak_rps: 50 requests/s (given) → 100 requests/s (measured)" in text
    assert "(+$73.00); 2 x c6i.large → 3 x c6i.large" in text


def test_a_stage_that_goes_costs_nothing_after(small_plan: Plan) -> None:
    after = dataclasses.replace(small_plan, stages={"storage": small_plan.stages["storage"]})
    found = diff_plans(small_plan, after)
    assert "serving: $146.00 → $0.00 (-$146.00); 2 x c6i.large → not planned any more" in diff_text(found)
    assert "not planned → 2 x c6i.large" in diff_text(diff_plans(after, small_plan))


@given(times=st.floats(0.01, 100), hours=st.floats(0, 1e6))
def test_the_stages_explain_the_whole_difference(times: float, hours: float) -> None:
    def plan(usd: float, quantity: float) -> Plan:
        line = CostLine("network", "egress", quantity, Price(usd, "GB", "a list", "2026-01-01"))
        option = Option("network", "endpoints", "aws", "x", "", "on_demand", "vm", 0, {}, (line,))
        return Plan("p", "2026-01-01", 0, 1, {}, (), {"network": StagePlan(option)}, Band(0, 0, 0))

    before, after = plan(0.1, 100.0), plan(0.1 * times, hours)
    found = diff_plans(before, after)
    assert abs(sum(one.difference_usd for one in found.stages) - (after.usd_per_month - before.usd_per_month)) < 1e-6
    assert abs(found.stages[0].by_price_usd - 10 * (times - 1)) < 1e-6


def test_what_comes_as_a_whole_is_one_line(small_plan: Plan) -> None:
    services = [{"name": "int8", "mean_s": 0.02, "vcpus": 1.0}]
    after = dataclasses.replace(small_plan, inputs=small_plan.inputs | {"services": services})
    text = diff_text(diff_plans(small_plan, after))
    assert "  services.int8: new (name int8, mean_s 0.02, vcpus 1)" in text
    assert "  services.int8: gone (" in diff_text(diff_plans(after, small_plan))
