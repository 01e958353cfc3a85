"""``loopwright run``: one turn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json
from loopwright.app.cli.project import opened, require_operator
from loopwright.app.cli.turn_view import TurnView
from loopwright.core.errors import GateRefusedError
from loopwright.core.settings import Settings
from loopwright.loop.loading import find_project
from loopwright.loop.maturity import next_work_at
from loopwright.loop.quiet import note_quiet, project_digest
from loopwright.loop.turn import run_turn


def command(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Only this model; may be repeated.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Turn the loop once: ingest, train, judge, register, release.

    What is done already is not done again; with nothing new it says so and trains nothing.
    """
    folder = find_project(project)
    before = project_digest(folder, Settings.load(folder))
    with opened(folder) as (loop, workspace):
        require_operator(workspace, "turning the loop")
        view = TurnView(console)
        if not as_json:
            console.print(f"[bold]{loop.name}[/]: one turn")
        try:
            outcome = run_turn(loop, workspace, models=model or None, listener=None if as_json else view)
        finally:
            view.close()
        if not model:
            until = next_work_at(loop, workspace, since=outcome.turn.started_at)
            note_quiet(loop, workspace, project=before, turn=outcome.turn, until=until)
    if as_json:
        print_json(
            {
                "turn": outcome.turn.id,
                "nothing_new": outcome.nothing_new,
                "trained": outcome.trained,
                "done": outcome.done,
                "reused": outcome.reused,
                "models": outcome.models,
            }
        )
        return
    if outcome.nothing_new:
        console.print("Nothing new: no training was needed.")
    for name, result in outcome.models.items():
        console.print(f"[bold]{name}[/]: {_said(result)}")
    refused = [name for name, result in outcome.models.items() if result.get("promoted") is False]
    if refused:
        raise GateRefusedError(
            f"No passing verdict for {', '.join(refused)}.",
            hint=f"See why: loopwright models show {outcome.models[refused[0]]['version']}.",
        )


def _said(result: dict[str, object]) -> str:
    version, metrics = result["version"], result.get("metrics")
    figures = ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()) if isinstance(metrics, dict) else ""
    if result.get("note"):
        return f"{version} {result['note']}"
    if result.get("promoted"):
        return f"{version} is champion ({figures})"
    if result.get("release"):
        return f"{version} is being released ({figures}); `loopwright up` carries it on"
    return f"{version} has the verdict '{str(result['verdict']).replace('_', ' ')}' ({figures})"
