"""``loopwright maturity``: how far the project works by itself, from what its stores show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.loop.evidence import evidence_of
from loopwright.planning.maturity import LEVELS, assess

if TYPE_CHECKING:
    from loopwright.planning.maturity import Maturity

_WORDS = {"command": "run", "declaration": "write in loop.py", "setting": "set"}


def command(
    everything: Annotated[bool, typer.Option("--all", help="Show what is met too, with its evidence.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Assess the project against levels 0 to 3 from what its stores show; each missing thing says what brings it."""
    with opened(project) as (loop, workspace):
        evidence = evidence_of(loop, workspace)
    found = assess(evidence)
    if as_json:
        print_json(
            {"level": found.level, "name": LEVELS[found.level], "findings": found.findings, "evidence": evidence}
        )
        return
    _show(found, everything)


def _show(found: Maturity, everything: bool) -> None:
    console.print(f"{found.project}: level {found.level} of 3, {LEVELS[found.level]}", style="bold", markup=False)
    for level in (1, 2, 3):
        asked = [one for one in found.findings if one.level == level]
        met = [one for one in asked if one.is_met]
        style = "green" if len(met) == len(asked) else "yellow"
        text = Text(f"  level {level}, {LEVELS[level]}: ").append(f"{len(met)} of {len(asked)}", style=style)
        console.print(text)
    shown = found.findings if everything else found.missing
    if not shown:
        console.print("Nothing is missing.")
        return
    rows = [
        [
            one.level,
            Text("yes", style="green") if one.is_met else Text("missing", style="yellow"),
            one.name,
            one.about,
            one.asks,
            one.evidence,
        ]
        for one in shown
    ]
    console.print()
    console.print(table("What was looked for", ["level", "", "what", "of", "asks that", "the stores show"], rows))
    if found.missing:
        console.print()
        console.print("What brings what is missing, the lowest level first:", style="bold")
    for remedy in dict.fromkeys(one.remedy for one in found.missing if one.remedy is not None):
        console.print(f"  {_WORDS[remedy.kind]}: {remedy.text}", markup=False, soft_wrap=True)
