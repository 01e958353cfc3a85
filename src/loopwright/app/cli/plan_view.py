"""A plan in the terminal: what it rests on, what it comes to, what else there is, and what to look out for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from loopwright.app.cli.console import console, table
from loopwright.planning.comparison import Compared, compared, late
from loopwright.planning.cost import STAGES
from loopwright.planning.report_markdown import rows_left_out, rows_of_assumptions
from loopwright.planning.wording import number, seconds, share, usd, words

if TYPE_CHECKING:
    from loopwright.planning.option import Reason
    from loopwright.planning.plan import Plan

_TAGS = {"measured": "green", "given": "", "assumed": "yellow"}
_WORKING, _REFUSED = 8, 4
_SHOWN = 6


def show_plan(plan: Plan, *, stale: str | None = None) -> None:
    """Print a plan.

    Args:
        plan: The plan.
        stale: A sentence about prices that are old, where some are.
    """
    _say(f"{plan.name}: {usd(plan.total.p50_usd)} a month in {' '.join(plan.place)}", style="bold")
    band = f"{usd(plan.total.p5_usd)} and {usd(plan.total.p95_usd)}"
    _say(f"With nine in ten chances between {band}; {plan.draws:,} draws, seed {plan.seed}.")
    _blank()
    rows = [
        [one.name, f"{number(one.value)} {one.unit}".strip(), Text(one.tag, style=_TAGS[one.tag]), one.source]
        for one in rows_of_assumptions(plan)
    ]
    console.print(table("Assumptions", ["input", "value", "known", "source"], rows))
    for where, why in rows_left_out(plan):
        _say(f"{where} is left out: {why}", style="yellow")
    _blank()
    chosen = [(stage, plan.stages[stage].chosen) for stage in STAGES if stage in plan.stages]
    bill = [[stage, one.name, usd(one.usd_per_month)] for stage, one in chosen]
    bill.append(["total", "every input at its middle", usd(plan.usd_per_month)])
    console.print(table("The plan", ["stage", "choice", "a month"], bill, right=["a month"]))
    for _, one in chosen:
        for reason in one.reasons:
            _say(f"Breaks {reason.limit}: {reason.text}", style="red")
    for stage in ("serving", "streaming", "batch", "training"):
        if stage in plan.stages:
            _alternatives(list(compared(plan, stage)))
    _totals(plan)
    _advice(plan)
    if stale:
        _say(stale, style="yellow")


def _alternatives(rows: list[Compared]) -> None:
    own = [row for row in rows if row.group == row.option.stage]
    works = [row for row in own if not row.is_refused]
    works.sort(key=lambda row: (not row.is_chosen, row.cheapest is None))  # commitments after what the plan may take
    kept = works[:_WORKING] + _of_each_kind([row for row in own if row.is_refused])
    if len(kept) < 2:
        return
    answers = any(row.option.latency is not None for row in kept)
    drawn = any(row.cheapest is not None for row in kept)
    figures = ["a month", *(["p50", "p95", "p99"] if answers else []), "busy", *(["P(cheapest)"] if drawn else [])]
    shown = []
    for row in kept:
        one = row.option
        cells = [usd(one.usd_per_month), *(late(one) if answers else ()), share(one.utilisation)]
        cells += [share(row.cheapest)] if drawn else []
        styled = "bold" if row.is_chosen else "dim" if row.is_refused else ""
        shown.append([Text(one.name, style=styled), row.where, *cells, _result(row)])
    stage = kept[0].option.stage
    _blank()
    console.print(table(f"Ways for {stage}", ["option", "place", *figures, "result"], shown, right=figures))
    if len(kept) < len(own):
        _say(f"All {len(own)} are in the reports: --markdown FILE, --html FILE.")


def _main_reason(row: Compared) -> Reason:
    return min(row.option.reasons, key=lambda one: one.limit.startswith("budget."))


def _of_each_kind(refused: list[Compared]) -> list[Compared]:
    """Return a few of the refused: the cheapest for each limit, then the cheapest of the rest."""
    first: dict[str, Compared] = {}
    for row in refused:
        first.setdefault(_main_reason(row).limit, row)
    rest = [row for row in refused if all(row is not one for one in first.values())]
    return [*first.values(), *rest][:_REFUSED]


def _result(row: Compared) -> str:
    """Return why it lost; of several broken limits the first that is about more than money."""
    if not row.is_refused or len(row.option.reasons) == 1:
        return row.result
    first = _main_reason(row)
    return f"{first.text} ({first.limit}); {len(row.option.reasons) - 1} more"


def _totals(plan: Plan) -> None:
    places = [one for one in plan.ranking if one.stage == "total"]
    if len(places) > 1:
        rows = [
            [
                one.name,
                usd(one.usd.p5_usd),
                usd(one.usd.p50_usd),
                usd(one.usd.p95_usd),
                share(one.feasible),
                share(one.cheapest),
            ]
            for one in places
        ]
        figures = ["p5", "median", "p95", "keeps the limit", "P(cheapest)"]
        _blank()
        console.print(table("Places, US dollars a month", ["place", *figures], rows, right=figures))
    if plan.budget:
        lines = [[one.line, usd(one.budget_usd), usd(one.planned_usd), one.text] for one in plan.budget]
        _blank()
        console.print(table("The budget", ["line", "budget", "planned", "result"], lines, right=["budget", "planned"]))
    if plan.tornado:
        swings = [[one.name, usd(one.low_usd), usd(one.high_usd)] for one in plan.tornado[:_SHOWN]]
        figures = ["one deviation below", "above"]
        _blank()
        console.print(table("What moves the total", ["input", *figures], swings, right=figures))


def _advice(plan: Plan) -> None:
    if plan.savings:
        rows = [
            [
                words(one.strategy),
                f"{one.verdict}{', in the plan' if one.is_in_plan else ''}",
                "-" if one.verdict == "not known" else usd(one.usd_per_month),
                one.text,
            ]
            for one in plan.savings
        ]
        _blank()
        console.print(table("Savings", ["strategy", "here", "a month", "why"], rows, right=["a month"]))
    if plan.traps:
        _blank()
    for trap in plan.traps:
        _say(f"Trap, {words(trap.name)}: {trap.text}", style="yellow")
    if plan.crossovers:
        _blank()
    for crossing in plan.crossovers:
        _say(f"Crossover, {crossing.name}: {crossing.text}")
    for one in plan.verification:
        tail = f"p{100 * one.percentile:g} at {share(one.load)} load"
        _say(f"Checked, {tail}: predicted {seconds(one.predicted_s)}, measured {seconds(one.measured_s)}")


def _say(text: str, *, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def _blank() -> None:
    console.print()
