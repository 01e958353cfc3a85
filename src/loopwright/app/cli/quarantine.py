"""``loopwright data quarantine``: rows that were kept out: look at them, repair them, put them in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.access import require
from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.data.quarantine.allowed import allowed
from loopwright.data.quarantine.export import FORMATS, export
from loopwright.data.quarantine.repair import Repair
from loopwright.loop.project import Loop


class _ShowByDefault(TyperGroup):
    """A group whose verb may be left out: ``quarantine orders`` is ``quarantine show orders``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer keeps its own Click
        """Find the verb."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_ShowByDefault, no_args_is_help=True, help="Rows that were kept out: look at them, repair them, put them in."
)
_NAME = typer.Argument(help="The dataset.")
_CHECK = typer.Option(help="Rows that failed this check, such as among(city).")
_COLUMN = typer.Option(help="Rows with a broken cell in this column.")
_SOURCE = typer.Option(help="Rows of this file or other source.")


@app.command("list")
def list_quarantines(
    project: Annotated[Path, PROJECT_OPTION] = Path(), as_json: Annotated[bool, JSON_OPTION] = False
) -> None:
    """List the datasets with rows in the quarantine, and the check that failed most."""
    with opened(project) as (loop, workspace):
        found = []
        for name in loop.datasets:
            view = workspace.data.quarantine(name)
            groups = view.groups()
            if groups:
                last = max(one.last_seen for one in groups)
                found.append({"dataset": name, "rows": view.rows, "most": groups[0].label, "last_seen": last})
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("No dataset has rows in the quarantine.")
        return
    rows = [list(one.values()) for one in found]
    console.print(table("Quarantine", ["dataset", "rows", "failed most", "last seen"], rows, right=["rows"]))


@app.command()
def group(
    name: Annotated[str, _NAME],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Group the rows by reason: how many, since when, which values, from where."""
    with opened(project) as (loop, workspace):
        found = workspace.data.quarantine(_known(loop, name)).groups()
        hidden = loop.datasets[name].contract.restricted()
    groups = [replace(one, examples=()) if one.column in hidden else one for one in found]
    if as_json:
        print_json(groups)
        return
    rows = [
        [one.rows, one.label, one.first_seen, one.last_seen, _joined(one.examples), _joined(one.sources)]
        for one in groups
    ]
    titles = ["rows", "reason", "first seen", "last seen", "examples", "from"]
    console.print(table(f"Quarantine of {name}", titles, rows, right=["rows"]))


@app.command()
def show(
    name: Annotated[str, _NAME],
    limit: Annotated[int, typer.Option(help="How many rows.", min=1)] = 20,
    check: Annotated[str | None, _CHECK] = None,
    column: Annotated[str | None, _COLUMN] = None,
    source: Annotated[str | None, _SOURCE] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show the broken cells: the file and row of each, what is there and what is allowed."""
    with opened(project) as (loop, workspace):
        view = workspace.data.quarantine(_known(loop, name))
        contract = loop.datasets[name].contract
        found = view.entries(limit=limit, check=check, column=column, source=source)
        purpose = f"data quarantine show {name}"
        entries = workspace.disclosure.quarantined(name, found, contract.restricted(), purpose=purpose)
        reasons, total = view.reasons(), view.rows
    if as_json:
        print_json({"reasons": reasons, "rows": entries})
        return
    reason_rows = [[n, r] for r, n in reasons.items()]
    console.print(table(f"Quarantine of {name}", ["rows", "reason"], reason_rows, right=["rows"]))
    cells = [
        [entry.source, entry.source_row, reason.check, reason.column, reason.value, allowed(contract, reason)]
        for entry in entries
        for reason in entry.reasons
    ]
    console.print(table("Rows", ["file", "row", "check", "column", "value", "allowed"], cells, right=["row"]))
    if total > len(entries):
        console.print(f"{len(entries):,} of {total:,} rows; more with --limit, or all with export.")
    if entries:
        console.print(
            f"Repair them: loopwright data quarantine replay {name} --set column=expression --where condition"
        )


@app.command("export")
def export_rows(
    name: Annotated[str, _NAME],
    file: Annotated[Path, typer.Argument(help=f"The file to write: {', '.join(FORMATS)}.")],
    check: Annotated[str | None, _CHECK] = None,
    column: Annotated[str | None, _COLUMN] = None,
    source: Annotated[str | None, _SOURCE] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Write the rows to a file, with their reasons; edit it, and give it to replay."""
    with opened(project) as (loop, workspace):
        contract = loop.datasets[_known(loop, name)].contract
        if contract.restricted():
            require(workspace.principal, "operator", f"exporting the quarantine of {name}")
        found = workspace.data.quarantine(name).entries(limit=None, check=check, column=column, source=source)
        purpose = f"data quarantine export {name}"
        written = export(workspace.disclosure.quarantined(name, found, contract.restricted(), purpose=purpose), file)
    if as_json:
        print_json({"dataset": name, "file": file, "rows": written, "left_out": len(found) - written})
        return
    console.print(f"{written:,} rows in {file}.", highlight=False)
    if written < len(found):
        console.print(f"{len(found) - written:,} more could not be taken apart into columns and are not in it.")
    console.print(f"Edit it, then run: loopwright data quarantine replay {name} {file}", highlight=False)


@app.command()
def replay(
    name: Annotated[str, _NAME],
    file: Annotated[Path | None, typer.Argument(help="An exported and edited file.")] = None,
    where: Annotated[str | None, typer.Option(help="Rows for which this SQL holds, over the raw values.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="column=expression, in SQL over the raw values; may be repeated.")
    ] = None,
    check: Annotated[str | None, _CHECK] = None,
    column: Annotated[str | None, _COLUMN] = None,
    source: Annotated[str | None, _SOURCE] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Repair rows and put them through the contract again, as it is now; those that pass are in."""
    repair = Repair(check=check, column=column, source=source, where=where, changes=_changes(set_ or []), file=file)
    with opened(project) as (loop, workspace):
        require_operator(workspace, "replaying")
        dataset = loop.datasets[_known(loop, name)]
        require(workspace.principal, "operator", f"replaying the quarantine of {name}")
        report = workspace.data.replay(dataset, repair, by=workspace.principal.name)
        left = workspace.data.quarantine(name).rows
    if as_json:
        print_json(report)
        return
    console.print(
        f"[bold]{name}[/]: {report.rows:,} rows replayed: {report.accepted:,} in, {report.known:,} known already, "
        f"{report.still_out:,} still out; {left:,} rows are in the quarantine."
    )
    for reason, rows in (report.reasons or {}).items():
        console.print(f"  {rows:>8,} {escape(reason)}")
    for count, text in (
        (report.outdated, "left: a row of their key that came later is stored"),
        (report.withheld, "left: the sensitive value that broke the rule was not kept; give it with --set"),
        (report.gone, "of the file are not in the quarantine any more"),
    ):
        if count:
            console.print(f"  {count:>8,} {text}")


@app.command()
def history(
    name: Annotated[str, _NAME],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the replays: who, when, what was changed, and what came of it."""
    with opened(project) as (loop, workspace):
        found = workspace.data.replays(_known(loop, name))
    if as_json:
        print_json(found)
        return
    if not found:
        console.print(f"No row of {name} was ever replayed.")
        return
    rows = [
        [
            one.at,
            one.by,
            "; ".join(f"{word}: {value}" for word, value in one.repair.items()) or "all, as they were",
            one.report.rows_read,
            one.report.rows_accepted,
            one.report.rows_quarantined,
        ]
        for one in found
    ]
    titles = ["when", "by", "what", "rows", "in", "still out"]
    console.print(table(f"Replays of {name}", titles, rows, right=["rows", "in", "still out"]))


def _joined(values: Iterable[str | None]) -> str:
    return ", ".join(value for value in values if value is not None)


def _changes(given: list[str]) -> dict[str, str]:
    changes = {}
    for text in given:
        column, sign, expression = text.partition("=")
        if not sign or not column.strip() or not expression.strip():
            raise UsageError(f"--set {text!r} is no change.", hint="Write column=expression, such as city=trim(city).")
        if column.strip() in changes:
            raise UsageError(f"--set changes the column '{column.strip()}' twice.", hint="Write one expression for it.")
        changes[column.strip()] = expression.strip()
    return changes


def _known(loop: Loop, name: str) -> str:
    if name not in loop.datasets:
        raise UnknownNameError("dataset", name, loop.datasets)
    return name
