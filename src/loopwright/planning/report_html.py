"""A plan as one HTML page: self-contained, readable in light and dark, without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.charts import dark_css, draw
from loopwright.core.pages import fill
from loopwright.planning.comparison import PARTS, TOTAL_PART, compared, late
from loopwright.planning.cost import STAGES
from loopwright.planning.report_charts import (
    cost_by_alternative,
    cost_by_stage,
    crossover,
    day_curve,
    latency_curve,
    tornado,
)
from loopwright.planning.report_markdown import rows_left_out, rows_of_assumptions, rows_of_sources, said_of_age
from loopwright.planning.wording import number, seconds, share, unit_price, usd, words

if TYPE_CHECKING:
    from loopwright.planning.comparison import Compared
    from loopwright.planning.cost import Stage
    from loopwright.planning.plan import Plan
    from loopwright.planning.report_charts import Spec

_PACKAGE = "loopwright.planning"
_TEMPLATE = "plan.html.j2"
_DRAWN: tuple[Stage, ...] = ("storage", "training", "serving", "batch", "streaming")
"""The stages whose alternatives get a picture; of the others a table says enough."""


def report_html(plan: Plan) -> str:
    """Return the page."""
    values = {
        "plan": plan,
        "dark_css": dark_css(),
        "place": " ".join(plan.place),
        "assumptions": rows_of_assumptions(plan),
        "left_out": rows_left_out(plan),
        "parts": [
            (title, [_stage(plan, stage) for stage in stages if stage in plan.stages]) for title, stages in PARTS
        ],
        "total_part": TOTAL_PART,
        "stages": [(stage, plan.stages[stage].chosen) for stage in STAGES if stage in plan.stages],
        "places": [one for one in plan.ranking if one.stage == "total"],
        "sources": rows_of_sources(plan),
        "said_of_age": said_of_age(plan),
        "cost_by_stage": _svg(cost_by_stage(plan), "stages"),
        "day": _svg(day_curve(plan), "day"),
        "latency": _svg(latency_curve(plan), "latency"),
        "tornado": _svg(tornado(plan), "tornado"),
        "crossovers": [(one, _svg(crossover(one), f"cross{place}")) for place, one in enumerate(plan.crossovers)],
        "late": late,
        "usd": usd,
        "unit_price": unit_price,
        "seconds": seconds,
        "share": share,
        "number": number,
        "words": words,
    }
    return fill(_PACKAGE, _TEMPLATE, values)


def _stage(plan: Plan, stage: Stage) -> dict[str, object]:
    rows = compared(plan, stage)
    groups: dict[str, list[Compared]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    own = groups.get(stage, [])
    return {
        "name": stage,
        "chosen": plan.stages[stage].chosen,
        "groups": [(group, members) for group, members in groups.items() if len(members) > 1],
        "picture": _svg(cost_by_alternative(own), stage) if stage in _DRAWN else "",
        "answers": any(row.option.latency is not None for row in rows),
        "is_used": any(row.option.utilisation is not None for row in rows),
        "is_drawn": any(row.cheapest is not None for row in rows),
    }


def _svg(spec: Spec | None, name: str) -> str:
    return "" if spec is None else draw(spec, name=name)
