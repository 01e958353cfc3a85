"""``loopwright score``: answer many rows at once, into the lake or into files; which jobs there are."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text
from typer.core import TyperGroup

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.durations import format_duration
from loopwright.core.errors import UsageError
from loopwright.serving.scoring.destination import destination_from, parse_destination
from loopwright.serving.scoring.job import PART_ROWS, ScoreRequest
from loopwright.serving.scoring.job_store import JobStore
from loopwright.serving.scoring.scorer import Scorer
from loopwright.serving.scoring.source import DatasetRows, FileRows, QueryRows, source_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Task, TaskID

    from loopwright.serving.scoring.job import ScoreJob
    from loopwright.serving.scoring.scorer import ScoreProgress
    from loopwright.serving.scoring.source import Moment, ScoreSource


class _ModelFirst(TyperGroup):
    """Takes a first word that is none of its verbs for a model: ``score eta`` is ``score model eta``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer has a Click of its own
        """Put the verb ``model`` before what is no verb."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["model", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=_ModelFirst)


@app.command("model")
def score(
    model: Annotated[str, typer.Argument(help="A model (its champion answers), or a version such as eta/3.")],
    to: Annotated[str, typer.Option(help="lake (scores/MODEL), lake:NAME, or a folder.")],
    dataset: Annotated[str | None, typer.Option(help="Score a snapshot: orders, orders@3, orders@a-tag.")] = None,
    files: Annotated[str | None, typer.Option(help="Score files: a path, a folder or a glob.")] = None,
    sql: Annotated[str | None, typer.Option(help="Score a query: the database's URL, or a connection's name.")] = None,
    query: Annotated[str | None, typer.Option(help="The query of --sql.")] = None,
    columns: Annotated[str, typer.Option(help="Columns to hand on with the answers: a,b.")] = "",
    key: Annotated[str, typer.Option(help="Columns that name a row; by default the dataset's key.")] = "",
    format: Annotated[str, typer.Option(help="Of files: parquet or csv.")] = "parquet",
    features: Annotated[str, typer.Option(help="Views as of: scoring, or event_time.")] = "scoring",
    log: Annotated[bool, typer.Option("--log", help="Also log the answers, for monitoring and outcomes.")] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Worker processes; by default one per core.")] = None,
    part_rows: Annotated[int, typer.Option(min=1, help="Rows committed together, about.")] = PART_ROWS,
    again: Annotated[bool, typer.Option("--again", help="Score the same rows by the same version once more.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Score rows in parts; killed or interrupted, the same command goes on, and each row is there once.

    `loopwright score eta --dataset orders --to lake` is `loopwright score model eta …`.
    """
    source = _source(dataset, files, sql, query, features)
    with opened(project) as (_, workspace):
        require_operator(workspace, "scoring rows")
        stores = workspace.stores
        name = model.rpartition("/")[0] or model
        request = ScoreRequest(
            model=model,
            source=source,
            destination=parse_destination(to, model=name, project=stores.settings.project, format=format),
            columns=_listed(columns),
            key=_listed(key),
            log=log,
            part_rows=part_rows,
        )
        scorer = Scorer(stores, workspace.data, workers=workers)
        with _shown(quiet=as_json or not console.is_terminal) as show:
            ended = scorer.score(request, again=again, on_progress=show)
    if as_json:
        print_json(_plain(ended.job) | {"resumed": ended.resumed, "nothing_new": ended.nothing_new})
        return
    _tell(ended)


@app.command("list")
def list_jobs(
    model: Annotated[str | None, typer.Option(help="One model only.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    limit: Annotated[int, typer.Option(help="How many.")] = 20,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List score jobs, newest first."""
    with opened(project) as (_, workspace):
        jobs = JobStore(workspace.stores).latest(model, limit=limit)
    if as_json:
        print_json([_plain(job) for job in jobs])
        return
    rows = [
        [job.id, job.version_id, job.state, f"{job.parts_done}/{job.parts}", job.scored, job.rejected, job.at]
        for job in jobs
    ]
    names = ["job", "version", "state", "parts", "scored", "rejected", "began"]
    console.print(table("Score jobs", names, rows, right=["parts", "scored", "rejected"]))


@app.command()
def show(
    job: Annotated[str, typer.Argument(help="The job's id, or how it begins.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show a score job: what was asked, what is done, where it went."""
    with opened(project) as (_, workspace):
        found = JobStore(workspace.stores).get(job)
    if as_json:
        print_json(_plain(found))
        return
    facts = {
        "version": found.version_id,
        "state": found.state,
        "from": source_from(found.request["source"]),
        "snapshots": ", ".join(f"{name}@{version}" for name, version in found.snapshots.items()) or "-",
        "to": destination_from(found.request["destination"]),
        "parts": f"{found.parts_done} of {found.parts}",
        "rows": f"{found.rows:,}: {found.scored:,} scored, {found.rejected:,} rejected",
        "began": f"{found.at:%Y-%m-%d %H:%M:%S}",
        "took": "-" if found.finished_at is None else format_duration(found.finished_at - found.at),
    }
    console.print(table(f"Score job {found.id}", ["", ""], facts.items()))


@app.command()
def cancel(
    job: Annotated[str, typer.Argument(help="The job's id, or how it begins.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Give up a score job that is not done; what it committed stays."""
    with opened(project) as (_, workspace):
        require_operator(workspace, "scoring rows")
        scorer = Scorer(workspace.stores, workspace.data)
        found = scorer.cancel(scorer.jobs.get(job))
    if as_json:
        print_json(_plain(found))
    else:
        console.print(f"Score job {found.id} is {found.state}; {found.scored:,} rows are scored")


def _source(dataset: str | None, files: str | None, url: str | None, query: str | None, features: str) -> ScoreSource:
    given = [one for one in (dataset, files, url) if one is not None]
    if len(given) != 1 or (query is not None) != (url is not None):
        raise UsageError(
            "Say which rows to score.", hint="Give one of --dataset NAME, --files GLOB, or --sql URL with --query."
        )
    if dataset is not None:
        moment: Moment = features  # type: ignore[assignment]  # checked by the source itself
        return DatasetRows(dataset, moment)
    return FileRows(files) if files is not None else QueryRows(str(url), str(query))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _plain(job: ScoreJob) -> dict[str, object]:
    kept = ("id", "model", "version", "state", "at", "finished_at", "rows", "scored", "rejected", "parts", "parts_done")
    asked = {name: job.request[name] for name in ("source", "destination", "columns", "log")}
    return {name: getattr(job, name) for name in kept} | {"snapshots": job.snapshots} | asked


def _tell(ended: ScoreProgress) -> None:
    job = ended.job
    to = destination_from(job.request["destination"])
    if ended.nothing_new:
        console.print(f"Nothing to do: job {job.id} scored these rows by {job.version_id} already, into {to}")
        return
    how = " (the rest of a job that was begun before)" if ended.resumed else ""
    took = "" if job.finished_at is None else f" in {format_duration(job.finished_at - job.at)}"
    console.print(f"{job.version_id} scored {job.scored:,} of {job.rows:,} rows into {to}{took}{how}")
    if job.rejected:
        where = getattr(to, "rejects", f"{to}/rejects-*")
        console.print(f"[yellow]{job.rejected:,} rows cannot be scored;[/] the reasons are in {where}")


class _Rate(ProgressColumn):
    """Rows per second."""

    def render(self, task: Task) -> Text:
        """Show the speed of the task."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} rows/s")


@contextlib.contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[ScoreProgress], None]]:
    """Draw a bar while a job runs; nothing where nobody looks."""
    if quiet:
        yield lambda _: None
        return
    counts = TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows, part {task.fields[parts]}")
    with Progress(TextColumn("scoring"), BarColumn(), counts, _Rate(), TimeRemainingColumn(), console=console) as bar:
        tasks: list[TaskID] = []

        def show(progress: ScoreProgress) -> None:
            job = progress.job
            parts = f"{job.parts_done}/{job.parts}"
            if not tasks:
                tasks.append(bar.add_task("scoring", total=job.rows, parts=parts))
            bar.update(tasks[0], completed=job.scored + job.rejected, parts=parts)

        yield show
