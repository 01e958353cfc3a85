"""``loopwright data rows``: look at the rows of a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened
from loopwright.core.access import require
from loopwright.core.errors import UnknownNameError
from loopwright.data.contract.column import SYSTEM_COLUMNS
from loopwright.data.versions.reference import SnapshotName


def show_rows(
    which: Annotated[str, typer.Argument(help="A dataset, or a snapshot of it such as orders@3 or orders@a-tag.")],
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1)] = 20,
    where: Annotated[str | None, typer.Option(help="An SQL condition over the columns.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns, separated by commas; all by default.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show rows of a snapshot. Restricted values are shown to operators, and that is put on record."""
    with opened(project) as (loop, workspace):
        name = SnapshotName.parse(which).dataset
        if name not in loop.datasets:
            raise UnknownNameError("dataset", name, loop.datasets)
        snapshot = workspace.data.snapshot(which)
        restricted = loop.datasets[name].contract.restricted()
        asked = [one for one in restricted if where is not None and one.lower() in where.lower()]
        if asked:  # which rows a condition finds says what their values are
            require(workspace.principal, "operator", f"a condition on {', '.join(asked)}")
        chosen = None if columns is None else [one.strip() for one in columns.split(",") if one.strip()]
        found = workspace.data.read(snapshot, columns=chosen, where=where, limit=limit)
        if chosen is None:
            found = found.drop_columns([one for one in SYSTEM_COLUMNS if one in found.column_names])
        purpose = f"data rows {snapshot.ref.id}"
        rows = workspace.disclosure.rows(name, found.to_pylist(), restricted, purpose=purpose)
        if asked and found.num_rows and not set(asked) <= set(found.column_names):
            workspace.access.note_read(
                workspace.principal, dataset=name, columns=asked, rows=found.num_rows, purpose=f"{purpose}, --where"
            )
        names = found.column_names
    if as_json:
        print_json(rows)
        return
    console.print(table(f"{name}, version {snapshot.version}", names, [[row[one] for one in names] for row in rows]))
    console.print(f"{len(rows):,} of {snapshot.rows:,} rows", highlight=False)
