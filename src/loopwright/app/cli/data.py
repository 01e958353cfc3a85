"""``loopwright data``: datasets, snapshots and the quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.data_check import check
from loopwright.app.cli.data_import import import_contract
from loopwright.app.cli.data_quality import infer_contract, leakage, profile
from loopwright.app.cli.data_rows import show_rows
from loopwright.app.cli.data_versions import app as versions
from loopwright.app.cli.project import opened, require_operator
from loopwright.app.cli.quarantine import app as quarantine
from loopwright.core.durations import format_duration
from loopwright.core.errors import LoopwrightError, SourceError, UnknownNameError
from loopwright.loop.project import Loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.data.versions.snapshot import IngestReport

app = typer.Typer(no_args_is_help=True)
_NAME = typer.Argument(help="The dataset.")
_CORRECT = "Correct what is named above and ingest again; what is in is not read twice."
app.command("rows")(show_rows)
app.command("check")(check)
app.command("import-contract")(import_contract)
app.command("infer")(infer_contract)
app.command("profile")(profile)
app.command("leakage")(leakage)
app.add_typer(quarantine, name="quarantine")
app.add_typer(versions)


@app.command("list")
def list_datasets(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List datasets with their newest snapshot and what is in the quarantine."""
    with opened(project) as (loop, workspace):
        known = set(workspace.data.names())
        found = [
            (name, workspace.data.snapshot(name) if name in known else None, workspace.data.quarantine(name).rows)
            for name in loop.datasets
        ]
    if as_json:
        print_json([{"dataset": name, "snapshot": snapshot, "quarantined": rows} for name, snapshot, rows in found])
        return
    rows = [
        [name, s.version if s else None, s.rows if s else 0, quarantined, s.created_at if s else None]
        for name, s, quarantined in found
    ]
    console.print(
        table(
            "Datasets",
            ["dataset", "version", "rows", "quarantined", "newest"],
            rows,
            right=["version", "rows", "quarantined"],
        )
    )


@app.command()
def ingest(
    name: Annotated[str | None, _NAME] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Bring in what is new at the source of one dataset, or of all.

    Ends with code 1 where a file could not be read as a whole, or a dataset got nothing; all else is in.
    """
    with opened(project) as (loop, workspace):
        require_operator(workspace, "ingesting")
        names = list(loop.datasets) if name is None else [_known(loop, name)]
        reports: list[IngestReport] = []
        failed: dict[str, LoopwrightError] = {}
        for each in names:  # a source that is down keeps no other dataset from being filled
            try:
                reports.append(workspace.data.ingest(loop.datasets[each]))
            except LoopwrightError as error:
                failed[each] = error
    if as_json:
        print_json(reports)
    else:
        _print_reports(reports)
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        said = "\n".join(f"  {each}: {error.message}" for each, error in failed.items())
        raise SourceError(f"{len(failed)} datasets got nothing.\n{said}", hint="What the others had is in.")
    if left_out := sum(len(report.refused) for report in reports):
        raise SourceError(f"{_counted(left_out, 'file')} could not be read; every other row is in.", hint=_CORRECT)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _print_reports(reports: Sequence[IngestReport]) -> None:
    for report in reports:
        console.print(
            f"[bold]{report.dataset}[/]: {report.rows_accepted:,} rows in, {report.rows_quarantined:,} to the "
            f"quarantine, {report.rows_duplicate:,} known already"
            + (f", {_counted(len(report.refused), 'file')} left out" if report.refused else "")
            + f", in {format_duration(report.seconds)}"
        )
        for reason, rows in report.reasons.items():
            console.print(f"  {rows:>8,} {escape(reason)}")
        for warning in report.warnings:
            console.print(f"  [yellow]{escape(warning)}[/]")
        for file, why in report.refused.items():
            console.print(f"  [red]{escape(file)}[/] was left out: {escape(why)}")


@app.command()
def history(
    name: Annotated[str, _NAME],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the snapshots of a dataset, newest first."""
    with opened(project) as (loop, workspace):
        snapshots = workspace.data.history(_known(loop, name))
    if as_json:
        print_json(snapshots)
        return
    if not snapshots:
        console.print(f"{name} has no snapshot yet: run `loopwright data ingest {name}`.")
        return
    rows = [[s.version, s.rows, s.created_at, s.ingest_id] for s in snapshots]
    console.print(table(name, ["version", "rows", "made", "ingest"], rows, right=["version", "rows"]))


def _known(loop: Loop, name: str) -> str:
    if name not in loop.datasets:
        raise UnknownNameError("dataset", name, loop.datasets)
    return name
