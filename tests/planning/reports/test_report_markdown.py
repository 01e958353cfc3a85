"""The report as Markdown: its parts, its figures, its reasons."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from loopwright.planning.comparison import compared
from loopwright.planning.plan import StagePlan
from loopwright.planning.report_markdown import report_markdown

if TYPE_CHECKING:
    from loopwright.planning.option import Option
    from loopwright.planning.plan import Plan

PARTS = ["Data storage", "Training infrastructure", "Serving infrastructure", "Monitoring", "Total estimated cost"]


def headings(text: str, level: str) -> list[str]:
    return [line.removeprefix(level + " ") for line in text.splitlines() if line.startswith(level + " ")]


def test_the_parts_come_in_their_order_after_the_assumptions(made_plan: Plan, small_plan: Plan) -> None:
    for plan in (made_plan, small_plan):
        assert headings(report_markdown(plan), "##") == ["Assumptions", *PARTS]


def test_every_input_has_its_tag_and_source(made_plan: Plan) -> None:
    text = report_markdown(made_plan).partition("## Data storage")[0]
    for one in made_plan.assumptions:
        if not one.name.startswith("left_out."):
            assert f"| {one.name} |" in text
            assert f"| {one.tag} | {one.source} |" in text


def test_every_line_of_the_bill_is_there_and_they_add_up(made_plan: Plan) -> None:
    text = report_markdown(made_plan)
    for line in made_plan.lines:
        assert f"| {line.item} |" in text
    by_stage = [stage.chosen.usd_per_month for stage in made_plan.stages.values()]
    assert abs(sum(by_stage) - made_plan.usd_per_month) < 1e-9
    assert f"**${made_plan.usd_per_month:,.2f}**" in text


def test_every_loser_has_its_reason(made_plan: Plan, small_plan: Plan) -> None:
    text = report_markdown(small_plan)
    row = {line.split(" | ")[0].strip("| *"): line for line in text.splitlines() if "c6i.large" in line and "|" in line}
    assert row["2 x c6i.large"].endswith("| 90 % | chosen |")
    assert row["3 x c6i.large"].endswith("| 10 % | $73.00 more a month (+50 %) |")
    assert "50 ms | 90 ms | 150 ms | 40 %" in row["3 x c6i.large"]
    assert row["1 x c6i.large"].endswith("| p99 is 347 ms (latency_p99) |")
    assert "your own decision" in row["2 x c6i.large, 1 year committed"]
    assert "and one machine fails longer" in report_markdown(made_plan) or "(availability)" in report_markdown(
        made_plan
    )


def test_every_row_of_a_table_has_the_cells_of_its_heading(made_plan: Plan, small_plan: Plan) -> None:
    for plan in (made_plan, small_plan):
        cells = 0
        for line in report_markdown(plan).splitlines():
            count = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert count in {0, cells} or cells == 0, line
            cells = count


def test_what_the_rest_of_the_plan_says(small_plan: Plan) -> None:
    text = report_markdown(small_plan)
    assert "- azure westus: No way works for training." in text
    assert "left_out" not in text
    assert "> **Trap: lifecycle.** a move that never pays" in text
    assert "| spot | loses | -$3.00 | no | no checkpoints |" in text
    assert "| packing | saves | $235.73 | yes | shards |" in text
    assert "| serving | $100.00 | $146.00 | infeasible: at least $146.00 |" in text
    assert "| GPU beats CPU | 1,086 requests/s at peak | CPU | GPU | far |" in text
    assert "| requests | $150.00 | $185.00 | $35.00 |" in text
    assert "| 60 % | 30 | p99 | 150 ms | 160 ms |" in text
    assert "| a list \\| of prices | 2026-07-01 | a \\| machine |" in text
    assert "| another list | no day | raw in standard |" in text
    assert "1 of 2 prices are older than a year or without a day" in text


def test_a_choice_that_is_often_too_slow_says_so(small_plan: Plan) -> None:
    unsure = [dataclasses.replace(one, feasible=0.8) for one in small_plan.ranking]
    text = report_markdown(dataclasses.replace(small_plan, ranking=tuple(unsure)))
    assert "keeps the limit in 80 % of the draws only; 90 % are wanted; $73.00 more a month (+50 %)" in text


def test_each_kind_of_data_has_its_ways_unless_it_is_a_trifle(small_plan: Plan) -> None:
    kept = small_plan.stages["storage"].chosen

    def way(kind: str, name: str, gb: float, *, keeps: bool = True) -> Option:
        lines = (dataclasses.replace(kept.lines[0], quantity=gb),)
        settings = {"kind": kind, "keeps_everything": keeps}
        return dataclasses.replace(kept, name=f"{kind}: {name}", lines=lines, settings=settings)

    ways = (way("raw", "keep", 1000.0), way("raw", "pack", 500.0), way("raw", "expire", 100.0, keeps=False))
    stored = StagePlan(kept, (*ways, way("models", "keep", 1.0), way("models", "pack", 0.5)))
    text = report_markdown(dataclasses.replace(small_plan, stages=small_plan.stages | {"storage": stored}))
    assert "Ways to keep the raw data:" in text
    assert "| raw: pack | aws us-east-1 | $10.00 | taken for this kind of data |" in text
    assert "| raw: keep | aws us-east-1 | $20.00 | $10.00 more a month (+100 %) |" in text
    assert "$8.00 less a month (-80 %), and changes what is kept: your own decision" in text
    assert "models" not in text


def test_cheaper_options_say_what_speaks_against_them(small_plan: Plan) -> None:
    serving = small_plan.stages["serving"]
    cheap = dataclasses.replace(serving.alternatives[1], purchase="on_demand")
    slow = dataclasses.replace(cheap, name="slow", settings={"service_scale": 2.0})
    far = dataclasses.replace(cheap, name="far", region="eu-west-1")
    guessed = dataclasses.replace(cheap, name="guessed", is_extrapolated=True)
    both = dataclasses.replace(slow, name="both", purchase="commit_3y")
    stages = small_plan.stages | {"serving": StagePlan(serving.chosen, (slow, far, guessed, both))}
    rows = compared(dataclasses.replace(small_plan, stages=stages), "serving")
    said = {row.option.name: row.result for row in rows}
    assert said["slow"].endswith("if a request takes 2 times as long there, as the cores say: nobody measured that")
    assert said["far"].endswith("for this stage; the place as a whole is not chosen")
    assert said["guessed"].endswith("nobody measured them on such a machine")
    assert "for a commitment of three years: your own decision, and if a request takes 2 times" in said["both"]
