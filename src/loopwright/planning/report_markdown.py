"""A plan as Markdown: what it rests on first, then the five parts of an infrastructure plan."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from loopwright.planning.comparison import PARTS, TOTAL_PART, compared, late
from loopwright.planning.cost import STAGES
from loopwright.planning.prices.sanity import staleness
from loopwright.planning.wording import number, seconds, share, unit_price, usd, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from loopwright.planning.assumption import Assumption
    from loopwright.planning.comparison import Compared
    from loopwright.planning.cost import Stage
    from loopwright.planning.plan import Plan

LEFT_OUT = "left_out."
"""The inputs of this name say why a place was not planned."""


def report_markdown(plan: Plan) -> str:
    """Return the report as one text."""
    lines = [f"# Infrastructure plan: {plan.name}", "", *_summary(plan), *_assumptions(plan)]
    for title, stages in PARTS:
        lines += [f"## {title}", ""]
        planned = [stage for stage in stages if stage in plan.stages]
        lines += [] if planned else ["Nothing is planned here: the workload asks for none of it.", ""]
        for stage in planned:
            lines += _stage(plan, stage)
    lines += [f"## {TOTAL_PART}", "", *_total(plan)]
    return "\n".join(lines).rstrip() + "\n"


def rows_of_assumptions(plan: Plan) -> list[Assumption]:
    """Return the inputs, what was measured and given first; without the places that were left out."""
    order = {"measured": 0, "given": 1, "assumed": 2}
    kept = [one for one in plan.assumptions if not one.name.startswith(LEFT_OUT)]
    return sorted(kept, key=lambda one: order[one.tag])


def rows_left_out(plan: Plan) -> list[tuple[str, str]]:
    """Return the places that were left out, each with the reason."""
    kept = [one for one in plan.assumptions if one.name.startswith(LEFT_OUT)]
    return [(one.name.removeprefix(LEFT_OUT).replace(".", " ", 1), str(one.value)) for one in kept]


def rows_of_sources(plan: Plan) -> list[tuple[str, str, str]]:
    """Return where prices are from: (source, day, what they are of), the newest first."""
    items: dict[tuple[str, str], list[str]] = {}
    for line in plan.lines:
        items.setdefault((line.price.source, line.price.as_of), []).append(line.item)
    for price in plan.prices:
        items.setdefault((price.source, price.as_of), [])
    found = []
    for (source, as_of), named in items.items():
        once = list(dict.fromkeys(named))
        found.append(
            (source, as_of or "no day", ", ".join(once[:4]) + (f" and {len(once) - 4} more" * (len(once) > 4)))
        )
    return sorted(found, key=lambda row: ("" if row[1] == "no day" else row[1], row[0]), reverse=True)


def said_of_age(plan: Plan) -> str:
    """Return a sentence about the plan's prices that were old when it was made; empty where none was."""
    return staleness([one.as_of for one in plan.prices], date.fromisoformat(plan.created_at)) or ""


def _summary(plan: Plan) -> Iterator[str]:
    provider, region = plan.place
    versions = ", ".join(f"{name} {value}" for name, value in plan.versions.items())
    yield (
        f"**{usd(plan.total.p50_usd)} a month** in {provider} {region}; with nine in ten chances between "
        f"{usd(plan.total.p5_usd)} and {usd(plan.total.p95_usd)}."
    )
    yield ""
    yield (
        f"Made on {plan.created_at} with {plan.draws:,} draws and seed {plan.seed} ({versions}). A month has "
        "730 hours, a GB is 10^9 bytes; list prices in US dollars, without tax."
    )
    yield ""
    for warned in plan.traps:
        yield f"> **Trap: {words(warned.name)}.** {warned.text}"
        yield ">"
    if plan.traps:
        yield ""


def _assumptions(plan: Plan) -> Iterator[str]:
    yield "## Assumptions"
    yield ""
    yield from _table(
        ["input", "value", "known", "source", "± (one deviation)"],
        (
            [one.name, f"{number(one.value)} {one.unit}".strip(), one.tag, one.source, _spread(one.spread)]
            for one in rows_of_assumptions(plan)
        ),
        right=(1, 4),
    )
    left = rows_left_out(plan)
    if left:
        yield "Places that were left out:"
        yield ""
        yield from (f"- {place}: {why}" for place, why in left)
        yield ""


def _spread(value: float) -> str:
    return f"{100 * value:.0f} %" if value > 0 else "-"


def _stage(plan: Plan, stage: Stage) -> Iterator[str]:
    chosen = plan.stages[stage].chosen
    yield f"### {stage.capitalize()}"
    yield ""
    yield f"**{chosen.name}**, {chosen.provider} {chosen.region}: {usd(chosen.usd_per_month)} a month."
    if chosen.is_extrapolated:
        yield "Its times were carried over from other hardware."
    yield ""
    for reason in chosen.reasons:
        yield f"- Breaks a limit ({reason.limit}): {reason.text}"
    yield from (f"- {note}" for note in chosen.notes)
    if chosen.reasons or chosen.notes:
        yield ""
    yield from _table(
        ["item", "quantity", "unit", "price", "a month", "how it was found"],
        (
            [
                line.item,
                number(line.quantity),
                line.price.unit,
                unit_price(line.price.usd),
                usd(line.usd_per_month),
                line.note,
            ]
            for line in chosen.lines
        ),
        right=(1, 3, 4),
    )
    if chosen.settings and stage != "storage":
        yield (
            "Settings: "
            + ", ".join(f"{words(name)} {number(value) or '-'}" for name, value in chosen.settings.items())
            + "."
        )
        yield ""
    yield from _alternatives(plan, stage)


def _alternatives(plan: Plan, stage: Stage) -> Iterator[str]:
    rows = compared(plan, stage)
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        if group == stage and len(members) > 1:
            yield from _compared(members)
        elif group != stage:
            yield f"Ways to keep the {group} data:"
            yield ""
            yield from _compared(members)


def _compared(rows: Sequence[Compared]) -> Iterator[str]:
    is_answering = any(row.option.latency is not None for row in rows)
    is_drawn = any(row.cheapest is not None for row in rows)
    heads = ["option", "place", "a month"]
    heads += ["p50", "p95", "p99"] if is_answering else []
    heads += ["utilisation"] if any(row.option.utilisation is not None for row in rows) else []
    heads += ["P(cheapest and feasible)"] if is_drawn else []
    shown = []
    for row in rows:
        one = row.option
        cells = [f"**{one.name}**" if row.is_chosen else one.name, row.where, usd(one.usd_per_month)]
        cells += late(one) if is_answering else []
        if "utilisation" in heads:
            cells.append(share(one.utilisation))
        if is_drawn:
            cells.append(share(row.cheapest))
        shown.append([*cells, row.result])
    yield from _table([*heads, "result"], shown, right=tuple(range(2, len(heads))))


def _total(plan: Plan) -> Iterator[str]:
    planned = [stage for stage in STAGES if stage in plan.stages]
    yield from _table(
        ["stage", "choice", "a month"],
        [
            *(
                [stage, plan.stages[stage].chosen.name, usd(plan.stages[stage].chosen.usd_per_month)]
                for stage in planned
            ),
            ["**total**, every input at its middle", "", f"**{usd(plan.usd_per_month)}**"],
        ],
        right=(2,),
    )
    yield from _table(
        ["5th percentile", "median", "95th percentile"],
        [[usd(plan.total.p5_usd), usd(plan.total.p50_usd), usd(plan.total.p95_usd)]],
        right=(0, 1, 2),
    )
    yield from _ranking(plan)
    yield from _section(
        "The budget",
        ["line", "budget", "planned", "result"],
        ([one.line, usd(one.budget_usd), usd(one.planned_usd), one.text] for one in plan.budget),
        right=(1, 2),
    )
    yield from _section(
        "What moves the total",
        ["input", "one deviation below", "one deviation above", "width"],
        ([one.name, usd(one.low_usd), usd(one.high_usd), usd(one.width_usd)] for one in plan.tornado),
        right=(1, 2, 3),
    )
    yield from _section(
        "Savings",
        ["strategy", "here", "saves a month", "in the plan", "why"],
        (
            [words(one.strategy), one.verdict, _saved(one.verdict, one.usd_per_month), number(one.is_in_plan), one.text]
            for one in plan.savings
        ),
        right=(2,),
    )
    yield from _section(
        "Traps",
        ["trap", "costs a month", "what happens"],
        ([words(one.name), usd(one.usd_per_month) if one.usd_per_month else "-", one.text] for one in plan.traps),
        right=(1,),
    )
    yield from _section(
        "Crossovers",
        ["where", "at", "below", "above", "in words"],
        (
            [
                one.name,
                "not in the range" if one.at is None else f"{number(one.at)} {one.unit}",
                one.first,
                one.second,
                one.text,
            ]
            for one in plan.crossovers
        ),
        right=(1,),
    )
    yield from _section(
        "Predicted and measured",
        ["load", "requests/s", "percentile", "predicted", "measured"],
        (
            [
                share(one.load),
                number(one.rps),
                f"p{100 * one.percentile:g}",
                seconds(one.predicted_s),
                seconds(one.measured_s),
            ]
            for one in plan.verification
        ),
        right=(0, 1, 3, 4),
    )
    yield from _section("Prices", ["source", "as of", "of"], rows_of_sources(plan))
    old = said_of_age(plan)
    if old:
        yield old


def _saved(verdict: str, value: float) -> str:
    return "-" if verdict == "not known" else usd(value)


def _ranking(plan: Plan) -> Iterator[str]:
    yield from _section(
        "Places",
        ["place", "p5", "median", "p95", "keeps the limit", "P(cheapest and feasible)"],
        (
            [
                one.name,
                usd(one.usd.p5_usd),
                usd(one.usd.p50_usd),
                usd(one.usd.p95_usd),
                share(one.feasible),
                share(one.cheapest),
            ]
            for one in plan.ranking
            if one.stage == "total"
        ),
        right=(1, 2, 3, 4, 5),
    )


def _section(
    title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
) -> Iterator[str]:
    listed = list(rows)
    if listed:
        yield f"### {title}"
        yield ""
        yield from _table(heads, listed, right=right)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---:' if column in right else '---' for column in range(len(heads)))}|"
    for row in rows:
        yield f"| {' | '.join(_cell(text) for text in row)} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
