"""``loopwright plan watch``: whether what a plan assumed still holds, by what monitoring sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.core.errors import UsageError
from loopwright.loop.plan_watch import PLAN_FILE, PlanStanding, plan_path, read_plan, watch_plan
from loopwright.planning.held import said
from loopwright.planning.wording import usd

if TYPE_CHECKING:
    from loopwright.planning.held import Held

_STYLES = {"holds": "green", "near its edge": "yellow", "broken": "red", "not known": "dim"}


def watch(
    plan: Annotated[Path | None, typer.Option(help="The plan's file; the project's plan.json by default.")] = None,
    bill: Annotated[float | None, typer.Option(help="What a month costs by the bill, in US dollars.", min=0)] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Hold a plan's assumptions against what monitoring sees; what no longer holds becomes a signal."""
    with opened(project) as (loop, workspace):
        path = plan or plan_path(workspace.stores.settings.project)
        if plan is None and not path.is_file():
            raise UsageError(
                f"The project '{loop.name}' keeps no plan: there is no {PLAN_FILE} beside its loop.py.",
                hint="Make one with `loopwright plan --keep`, or name one with --plan FILE.",
            )
        may_write = workspace.principal.may("operator")
        standing = watch_plan(loop, workspace, read_plan(path), raises=may_write, usd_per_month=bill)
    if as_json:
        print_json(standing)
        return
    _show(standing)


def _show(standing: PlanStanding) -> None:
    made = f"{standing.plan}: {usd(standing.usd_per_month)} a month, planned on {standing.created_at[:10]}"
    console.print(made, markup=False, style="bold")
    console.print(f"Seen from {standing.since:%Y-%m-%d %H:%M} to {standing.until:%Y-%m-%d %H:%M} UTC", markup=False)
    rows = [
        [one.check, Text(one.state, style=_STYLES[one.state]), said(one.planned), _band(one), _seen(one), one.unit]
        for one in standing.held
    ]
    figures = ["planned", "allowed", "seen"]
    console.print(table("Assumptions", ["check", "state", *figures, "unit"], rows, right=figures))
    for one in standing.held:
        if one.state == "broken":
            console.print(f"{one.check}: {one.text}. {one.advice}.", markup=False, style="red", soft_wrap=True)
        elif one.state == "not known":
            console.print(f"{one.check}: {one.text}.", markup=False, style="dim", soft_wrap=True)
    for signal in standing.signals:
        console.print(f"New signal {signal.check}; see: loopwright incidents list", markup=False)


def _band(one: Held) -> str:
    return "-" if one.state == "not known" else f"{said(one.low)} to {said(one.high)}"


def _seen(one: Held) -> str:
    return "-" if one.seen is None else said(one.seen)
