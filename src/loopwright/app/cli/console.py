"""What the verbs print with: a Rich console that respects ``NO_COLOR`` and pipes, and JSON for machines."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopwright.core.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

JSON_OPTION = typer.Option("--json", help="Print JSON for machines.")
PROJECT_OPTION = typer.Option("--project", "-C", help="The project's folder.", show_default="here")

_PIPE_WIDTH = 160  # a pipe has no width; tables of ids need some


class _PipedConsole(Console):
    """A console whose reader may stop early, as ``head`` does: that is an end, and no failure."""

    def on_broken_pipe(self) -> None:
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()
        raise SystemExit(0)


console = _PipedConsole(highlight=False)
if not console.is_terminal:
    console = _PipedConsole(highlight=False, width=_PIPE_WIDTH)


def print_json(value: object) -> None:
    """Print a value as JSON: dataclasses as objects, moments in RFC 3339, durations in seconds."""
    typer.echo(json.dumps(value, default=jsonable, indent=2, ensure_ascii=False))


def jsonable(value: object) -> object:
    """Turn what JSON does not know into what it does.

    Raises:
        TypeError: If there is no such form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Ref):
            return str(value)
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """Make a table of plain values; ``right`` names the columns of numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else _shown(cell) for cell in row))
    return made


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
