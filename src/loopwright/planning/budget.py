"""The person's budget, line by line, next to what the plan comes to; and why a line cannot carry what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.errors import UnknownNameError
from loopwright.planning.cost import STAGES
from loopwright.planning.plan import BudgetLine

if TYPE_CHECKING:
    from loopwright.planning.place import Place
    from loopwright.planning.workload import Workload


def budget_lines(asked: Workload, place: Place) -> tuple[BudgetLine, ...]:
    """Return each line with what it becomes.

    Raises:
        UnknownNameError: If a line is no stage.
    """
    planned = {stage: option.usd_per_month for stage, option in place.chosen.items()}
    found = []
    for line, usd in asked.budget.items():
        if line != "total" and line not in STAGES:
            raise UnknownNameError("budget line", line, ("total", *STAGES))
        value = sum(planned.values()) if line == "total" else planned.get(line, 0.0)  # type: ignore[call-overload]
        found.append(BudgetLine(line, usd, value, _text(line, usd, value, place)))
    missing = [stage for stage in planned if stage not in asked.budget]
    if asked.budget and missing:
        value = sum(planned[stage] for stage in missing)
        text = f"not in the budget: {', '.join(f'{stage} ${planned[stage]:,.2f}' for stage in missing)}"
        found.append(BudgetLine("other", 0.0, value, text))
    return tuple(found)


def _text(line: str, usd: float, value: float, place: Place) -> str:
    if value <= usd * 1.0001:
        option = place.chosen.get(line)  # type: ignore[call-overload]
        how = "" if option is None else f", by {option.name}"
        return f"kept: ${value:,.2f} of ${usd:,.2f}, ${usd - value:,.2f} less{how}"
    over = f"infeasible: at least ${value:,.2f} for ${usd:,.2f}"
    if line != "serving" or place.serving is None:
        return over
    within = [
        one
        for one in place.serving.drafted
        if one.usd <= usd and any(not reason.limit.startswith("budget.") for reason in one.reasons)
    ]
    if not within:
        return f"{over}; nothing costs so little"
    best = max(within, key=lambda one: (one.most * one.found.full_speed_rps, -one.usd))
    reason = next(one for one in best.reasons if not one.limit.startswith("budget."))
    count = f"{best.most} x " if best.most > 1 else ""
    return f"{over}; it buys {count}{best.found.instance.type}, and {reason.text}"
