"""``loopwright runs``: trainings on record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import known_model, opened
from loopwright.core.durations import format_duration
from loopwright.core.errors import RefusedError
from loopwright.training.run_comparison import compare_runs

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_runs(
    model: Annotated[str | None, typer.Option(help="One model only.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    limit: Annotated[int, typer.Option(help="How many.")] = 20,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List trainings, newest first."""
    with opened(project) as (loop, workspace):
        runs = workspace.runs.list(model=known_model(loop, model), limit=limit)
    if as_json:
        print_json(runs)
        return
    rows = [
        [
            run.id,
            run.model,
            run.status,
            run.started_at,
            None if run.seconds is None else format_duration(run.seconds),
            ", ".join(f"{name} {value:.4g}" for name, value in run.metrics.items()),
        ]
        for run in runs
    ]
    console.print(table("Runs", ["run", "model", "status", "began", "took", "metrics"], rows))


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show a training: code, data, parameters, environment, metrics, trials."""
    with opened(project) as (_, workspace):
        record = workspace.runs.get(run)
        trials = workspace.runs.trials(run)
    if as_json:
        print_json({"run": record, "trials": trials})
        return
    facts = {
        "model": record.model,
        "status": record.status,
        "cause": record.start.cause,
        "began": record.started_at,
        "took": None if record.seconds is None else format_duration(record.seconds),
        "peak memory": None if record.peak_memory_bytes is None else f"{record.peak_memory_bytes / 1e6:.0f} MB",
        "training set": record.start.training_set,
        "snapshots": ", ".join(f"{name}@{version}" for name, version in record.start.snapshots.items()),
        "code": f"{record.start.function.get('name')} {str(record.start.function.get('digest'))[:12]}",
        "commit": record.start.code.get("commit"),
        "seed": record.seed,
        "error": record.error,
    }
    console.print(
        table(f"Run {record.id}", ["", ""], [[name, value] for name, value in facts.items() if value is not None])
    )
    console.print(table("Parameters", ["name", "value"], [[k, v] for k, v in record.params.items()]))
    console.print(table("Metrics", ["name", "value"], [[k, v] for k, v in record.metrics.items()], right=["value"]))
    if trials:
        rows = [
            [
                t.number,
                t.value,
                ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in t.params.items()),
            ]
            for t in trials
        ]
        console.print(table("Trials", ["trial", "score", "parameters"], rows, right=["trial", "score"]))


@app.command()
def log(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Print what a training printed."""
    with opened(project) as (_, workspace):
        typer.echo(workspace.runs.log_text(run))


@app.command()
def stop(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
) -> None:
    """Stop a training that runs on this machine; the turn it belongs to fails, and the next one trains again."""
    with opened(project) as (_, workspace):
        record = workspace.runs.get(run)
        if record.status != "running":
            raise RefusedError(f"The run {record.id} is {record.status} already.", hint="Nothing is left to stop.")
        workspace.training.stop(record.id)
    console.print(f"{record.id} is asked to stop")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more ids.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Put trainings side by side: what differs, and their metrics."""
    with opened(project) as (_, workspace):
        comparison = compare_runs([workspace.runs.get(run) for run in runs])
    if as_json:
        print_json(comparison)
        return
    heads = ["", *(run[:8] for run in comparison.run_ids)]
    console.print(table("What differs", heads, [[k, *v] for k, v in comparison.differences.items()]))
    console.print(table("Metrics", heads, [[k, *v] for k, v in comparison.metrics.items()], right=heads[1:]))
