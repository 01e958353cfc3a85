"""``loopwright data check``: judge a file by a contract before it is ingested, as in the integration of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.core.durations import format_duration
from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.data.contract.contract import Contract
from loopwright.data.quality.check_table import check_table
from loopwright.data.quality.report import CheckReport

REFUSED = 3


def check(
    name: Annotated[str, typer.Argument(help="The dataset; or, with --contract, a file.")],
    data: Annotated[str | None, typer.Argument(help="A file, folder or glob; the newest snapshot by default.")] = None,
    contract: Annotated[Path | None, typer.Option(help="A contract as JSON, in place of the project's.")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="List the checks that hold, too.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Check data by a contract and store nothing. Ends with 3 where a check fails that would not only warn."""
    report = _checked(name, data, contract, project)
    if as_json:
        print_json({"has_passed": report.has_passed, "report": report})
    else:
        _show(report, show_all=show_all)
    if not report.has_passed:
        raise typer.Exit(REFUSED)


def _checked(name: str, data: str | None, contract: Path | None, project: Path) -> CheckReport:
    if contract is not None:
        if data is not None:
            raise UsageError("--contract takes one file to check.", hint="Leave the dataset out.")
        return check_table(name, Contract.load(contract))
    with opened(project) as (loop, workspace):
        if name not in loop.datasets:
            raise UnknownNameError("dataset", name, loop.datasets)
        given = None if data is None else str(Path.cwd() / data) if "://" not in data else data
        return workspace.data.check(loop.datasets[name], given)


def _show(report: CheckReport, *, show_all: bool) -> None:
    failed = len(report.failed)
    console.print(
        f"[bold]{escape(report.name)}[/]: {report.rows:,} rows, {report.rows_accepted:,} of them accepted; "
        f"{len(report.results) - failed} checks hold and {failed} do not, in {format_duration(report.seconds)}"
    )
    shown = [one for one in report.results if show_all or not one.has_passed]
    cells = [
        [
            "holds" if one.has_passed else one.on_failure,
            one.check,
            one.found,
            "; ".join(
                f"row {each.row}" + (f": {each.value}" if each.value is not None else "") for each in one.examples
            ),
        ]
        for one in shown
    ]
    if cells:
        console.print(table("Checks", ["verdict", "check", "found", "for example"], cells))
