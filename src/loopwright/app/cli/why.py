"""``loopwright why``: from a prediction, a model or a row back to what made it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json
from loopwright.app.cli.project import opened
from loopwright.core.errors import UnknownNameError
from loopwright.loop.why import why_model, why_prediction, why_row


def command(
    what: Annotated[str, typer.Argument(help="A prediction's id, a version such as eta/3, or dataset:key for a row.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Follow a prediction, a model or a row back to what made it."""
    with opened(project) as (loop, workspace):
        kind, colon, name = what.partition(":")
        if not colon:
            kind, name = "model" if "/" in what else "prediction", what
        if kind in loop.datasets:
            answer = why_row(workspace, loop, kind, name)
        elif kind == "model":
            answer = why_model(workspace, name)
        elif kind == "prediction":
            answer = why_prediction(workspace, loop, name)
        else:
            raise UnknownNameError("dataset", kind, loop.datasets)
    if as_json:
        print_json(answer)
        return
    first, *rest = answer.lines()
    console.print(f"[bold]{first}[/]")
    for line in rest:
        console.print(f"  ← {line}")
