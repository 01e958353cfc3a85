"""``loopwright kpi``: report a business number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import PROJECT_OPTION, console
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.errors import UnknownNameError
from loopwright.loop.watching import watched_model


def command(
    model: Annotated[str, typer.Argument(help="The model that it is due to.")],
    name: Annotated[str, typer.Argument(help="The number's name, as declared with lw.kpi.")],
    values: Annotated[list[float], typer.Argument(help="Its value; several are reported one after the other.")],
    version: Annotated[str | None, typer.Option(help="A version such as eta/3; by default the champion.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Report a business number, tied to the version that it is due to; monitoring compares it with its bounds."""
    with opened(project) as (loop, workspace):
        require_operator(workspace, "reporting a number")
        if model not in loop.models:
            raise UnknownNameError("model", model, loop.models)
        watched = watched_model(workspace, loop.models[model])
        declared = [kpi.name for kpi in watched.monitoring.business]
        if name not in declared:
            raise UnknownNameError(f"business number of '{model}'", name, declared)
        for value in values:
            workspace.monitoring.record_kpi(watched, name, value, version=version)
    console.print(f"{len(values)} values of {name} recorded for {version or watched.champion or model}")
