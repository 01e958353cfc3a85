"""The page: self-contained, escaped, with its pictures; what there is nothing of is left out."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from loopwright.planning.comparison import compared
from loopwright.planning.report_charts import (
    cost_by_alternative,
    cost_by_stage,
    crossover,
    day_curve,
    latency_curve,
    tornado,
)
from loopwright.planning.report_html import report_html

if TYPE_CHECKING:
    from loopwright.planning.plan import Plan

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Open(HTMLParser):
    """Follows which elements are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [str(named["id"])] if "id" in named else []
        self.loads += [
            str(value) for name, value in attrs if name in {"src", "srcset"} or (tag, name) == ("link", "href")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(small_plan: Plan) -> None:
    page = report_html(small_plan)
    reader = Open()
    reader.feed(page)
    assert reader.open == []
    assert reader.loads == []
    assert len(reader.ids) == len(set(reader.ids))
    assert "<script" not in page
    assert "@import" not in page
    assert "&lt;b&gt;small&lt;/b&gt;" in page
    assert "<b>small</b>" not in page
    # stages, alternatives of serving, day, latency, tornado, one crossover
    assert page.count("<svg") == 6


def test_the_page_says_what_the_plan_says(small_plan: Plan) -> None:
    page = report_html(small_plan)
    order = ["Assumptions", "Data storage", "Training infrastructure", "Serving infrastructure", "Monitoring"]
    places = [page.index(f">{title}</h2>") for title in [*order, "Total estimated cost"]]
    assert places == sorted(places)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for said in (
        "$166.00",
        "$150.00 to $190.00",
        "p99 is 347 ms (latency_p99)",
        "$73.00 more a month (+50 %)",
        "a move that never pays",
        "infeasible: at least $146.00",
        "measured",
        "azure westus",
        "another list",
        "1 of 2 prices are older than a year",
    ):
        assert said in text


def test_a_plan_that_serves_nobody_has_a_page(small_plan: Plan) -> None:
    alone = dataclasses.replace(
        small_plan, stages={"storage": small_plan.stages["storage"]}, day=(), latency_s=(), crossovers=(), tornado=()
    )
    page = report_html(alone)
    assert page.count("<svg") == 1
    assert page.count("Nothing is planned here") == 3


def test_pictures_show_the_figures(made_plan: Plan) -> None:
    bars = cost_by_stage(made_plan)["data"]["values"]
    assert abs(sum(row["usd"] for row in bars) - made_plan.usd_per_month) < 1e-9
    serving = cost_by_alternative(list(compared(made_plan, "serving")))
    assert serving is not None
    kinds = [row["is"] for row in serving["data"]["values"]]
    assert kinds.count("chosen") == 1
    assert "breaks a limit" in kinds
    assert [row["usd"] for row in serving["data"]["values"]] == sorted(row["usd"] for row in serving["data"]["values"])
    day, late, swings = day_curve(made_plan), latency_curve(made_plan), tornado(made_plan)
    assert day is not None
    assert late is not None
    assert swings is not None
    assert max(row["rps"] for row in day["data"]["values"] if row["is"] == "requests") > 49
    assert late["layer"][1]["data"]["values"] == [{"ms": 200.0}]
    widths = [one.width_usd for one in made_plan.tornado]
    assert widths == sorted(widths, reverse=True)


def test_a_crossover_of_one_way_only_has_no_picture(small_plan: Plan) -> None:
    one = small_plan.crossovers[0]
    assert crossover(one) is not None
    assert crossover(dataclasses.replace(one, points=((1.0, 5.0, float("inf")),))) is None
