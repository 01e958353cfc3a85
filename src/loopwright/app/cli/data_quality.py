"""``loopwright data infer``, ``profile`` and ``leakage``: look at data, and write down what they seem to promise."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import duckdb
import pyarrow as pa
import typer
from rich.markup import escape

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.core.errors import UnknownNameError, UsageError
from loopwright.core.storage.duck import connect, quote_name, to_arrow
from loopwright.data.profiling import Rows, file_rows, snapshot_rows
from loopwright.data.quality.infer import infer
from loopwright.data.quality.leakage import Leak, find_leaks
from loopwright.data.quality.profile import Profile
from loopwright.data.quality.profile_drift import ProfileChange, compare
from loopwright.data.quality.profile_findings import findings
from loopwright.data.quality.profile_page import page
from loopwright.data.quality.profile_run import measure

_DATA = typer.Argument(help="A dataset, one of its snapshots (orders@3), or a file.")
_TIME = typer.Option("--time", help="The column of event times; found by itself otherwise.")
_KEY = typer.Option(help="Columns that identify a row, separated by commas.")
_MEMORY_BYTES = 2 << 30  # of DuckDB, beyond which it spills
_LEAKAGE_ROWS = 200_000
REFUSED = 3


def infer_contract(
    data: Annotated[str, _DATA],
    rows: Annotated[int | None, typer.Option(help="Look at a sample of so many rows.", min=1)] = None,
    name: Annotated[str | None, typer.Option(help="What the dataset is to be called.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Write a contract from data, in Python, to be read and edited."""
    with _opened(data, project) as (con, found):
        inferred = infer(con, found.relation, rows=rows, payloads=found.withheld).keeping(found.contract)
    if as_json:
        print_json(
            {
                "rows": inferred.rows,
                "rows_there": inferred.rows_there,
                "key": inferred.key,
                "event_times": inferred.event_times,
                "contract": inferred.contract.describe(),
                "notes": inferred.notes,
            }
        )
        return
    called = name or Path(data).name.split(".")[0].split("@")[0]
    source = f"lw.files({data!r})" if _is_file(data) else "..."
    text = inferred.to_source(called, source)
    if found.broken:
        text = f"# {found.broken:,} rows could not be taken apart into columns and were not looked at.\n{text}"
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.exists():
        raise UsageError(f"{out} is there already.", hint="Name another file, or remove it first.")
    out.write_text(text, encoding="utf-8")
    console.print(f"Written to {out}. Read it before you use it.", highlight=False)


def profile(
    data: Annotated[str, _DATA],
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with another snapshot, file, or profile saved as JSON.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Look for columns that tell this one.")] = None,
    key: Annotated[str | None, _KEY] = None,
    time: Annotated[str | None, _TIME] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Describe every column: values, distribution, missing ones, change over time, and what goes together."""
    before = None if against is None else _before(against, project)
    with _opened(data, project) as (con, found):
        made = measure(
            con,
            found.relation,
            found.name,
            key=_names(key) or found.key,
            time_column=time or found.event_time,
            payloads=found.withheld,
            like=before,
        )
        leaks = () if target is None else _leaks(con, found, target, None, made.time_column)
    change = None if before is None else compare(before, made)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(made, target=target, leaks=leaks, change=change), encoding="utf-8")
    if as_json:
        extra = {"findings": findings(made)}
        print_json(
            made.to_json()
            | extra
            | ({} if target is None else {"leaks": leaks})
            | ({} if change is None else {"change": change})
        )
        return
    _show(made, change)
    if target is not None:
        _show_leaks(target, leaks)
    if found.broken:
        console.print(f"{found.broken:,} rows could not be taken apart into columns and are not in it.")
    if html is not None:
        console.print(f"The page with plots: {html}", highlight=False)


def leakage(
    data: Annotated[str, _DATA],
    target: Annotated[str, typer.Option(help="The label's column.")],
    features: Annotated[str | None, typer.Option(help="Columns, separated by commas; all others by default.")] = None,
    time: Annotated[str | None, _TIME] = None,
    fail: Annotated[bool, typer.Option("--fail", help="End with 3 where something is found.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Find features that tell the label: copies, sums, values from after the event, identifiers."""
    with _opened(data, project) as (con, found):
        leaks = _leaks(con, found, target, _names(features) or None, time or found.event_time)
    if as_json:
        print_json({"target": target, "leaks": leaks})
    else:
        _show_leaks(target, leaks)
    if fail and leaks:
        raise typer.Exit(REFUSED)


def _leaks(
    con: duckdb.DuckDBPyConnection, found: Rows, target: str, features: list[str] | None, time: str | None
) -> tuple[Leak, ...]:
    listed = [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {found.relation}").fetchall()]
    for name in (target, *(features or ()), *([time] if time else [])):
        if name not in listed:
            raise UnknownNameError("column", name, listed, where=f"in {found.name}")
    chosen = [name for name in listed if name not in found.withheld or name == target]
    columns = ", ".join(map(quote_name, chosen))
    # A stretch of rows that follow each other: copies that are shifted in time are seen in no sample.
    order = f" ORDER BY {', '.join(map(quote_name, (*found.entity, time)))}" if time else ""
    table_ = to_arrow(con.sql(f"SELECT {columns} FROM {found.relation}{order} LIMIT {_LEAKAGE_ROWS}"))
    kept = None if features is None else [name for name in features if name in chosen]
    is_time = time is not None and (pa.types.is_timestamp(table_[time].type) or pa.types.is_date(table_[time].type))
    return find_leaks(
        table_, target, kept, event_time=time if is_time else None, entity=found.entity if is_time else ()
    )


@contextlib.contextmanager
def _opened(data: str, project: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Rows]]:
    with tempfile.TemporaryDirectory(prefix="loopwright-") as folder:
        spill = Path(folder) / "spill"
        if _is_file(data):
            with connect(memory_limit_bytes=_MEMORY_BYTES, temp_folder=spill) as con:
                yield con, file_rows(con, Path(data), Path(folder), "rows")
            return
        with opened(project) as (loop, workspace), connect(memory_limit_bytes=_MEMORY_BYTES, temp_folder=spill) as con:
            name = data.split("@", maxsplit=1)[0]
            if name not in loop.datasets:
                raise UnknownNameError("dataset or file", data, loop.datasets)
            snapshot = workspace.data.snapshot(data)
            yield con, snapshot_rows(con, workspace.data, loop.datasets[name], snapshot, "rows")


def _is_file(data: str) -> bool:
    return "/" in data or "." in data.split("@", maxsplit=1)[0] or Path(data).is_file()


def _before(against: str, project: Path) -> Profile:
    if against.endswith(".json"):
        path = Path(against)
        if not path.is_file():
            raise UsageError(f"There is no profile {path}.", hint="Save one with `data profile … --json > FILE`.")
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(
                f"{path} holds no JSON: {error}.", hint="Save one with `data profile … --json`."
            ) from error
        return Profile.from_json(saved)
    with _opened(against, project) as (con, found):
        return measure(con, found.relation, found.name, payloads=found.withheld, with_pairs=False)


def _names(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _show(made: Profile, change: ProfileChange | None) -> None:
    rows = []
    for one in made.columns:
        numbers = one.numbers
        rows.append(
            [
                one.name,
                one.type.lower(),
                f"{one.nulls / one.rows:.1%}" if one.nulls and one.rows else "",
                ("" if one.is_distinct_exact else "~") + f"{one.distinct:,}",
                "" if one.minimum is None else one.minimum[:24],
                "" if numbers is None else f"{numbers.mean:.5g}",
                "" if one.maximum is None else one.maximum[:24],
                ", ".join(f"{value[:16]} ({n:,})" for value, n in one.top[:2] if n > 1),
            ]
        )
    titles = ["column", "type", "missing", "distinct", "smallest", "mean", "largest", "most frequent"]
    console.print(
        table(f"{made.name}: {made.rows:,} rows", titles, rows, right=["missing", "distinct", "mean"]),
    )
    for seen in findings(made):
        console.print(f"  [yellow]![/] {escape(seen.text)}", highlight=False)
    if change is not None:
        _show_change(change)


def _show_change(change: ProfileChange) -> None:
    for word, names in (("added", change.added), ("gone", change.removed)):
        if names:
            console.print(f"Columns {word}: {escape(', '.join(names))}")
    moved = [one for one in change.columns if one.drift is not None and one.drift.drifted]
    if not moved:
        console.print(f"No column has drifted since {change.before}.")
        return
    rows = [[one.name, one.drift.psi_corrected, one.drift.js_distance, one.drift.p_value] for one in moved if one.drift]
    titles = ["column", "PSI, corrected", "JS distance", "p"]
    console.print(table(f"Drifted since {change.before}", titles, rows, right=titles[1:]))


def _show_leaks(target: str, leaks: tuple[Leak, ...]) -> None:
    if not leaks:
        console.print(f"No feature, and no sum of two or three, tells {escape(target)}.")
        return
    console.print(f"[bold]What tells {escape(target)}[/]")
    for leak in leaks:
        console.print(f"  [red]{leak.kind}[/] {escape(leak.reason)}", highlight=False)
