"""``loopwright gc``: what nothing needs any more, in bytes, and taking it away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.sizes import format_size
from loopwright.loop.collect import Collection, Collector

_SHOWN = 20  # of what could go, with the reason; --json has all


def command(
    keep: Annotated[
        str | None, typer.Option(help="Leave alone what is younger, such as 12h; else as [retention] says, or 30d.")
    ] = None,
    restore: Annotated[
        str | None, typer.Option(help="How long it can be brought back; else as [retention] says, or 7d.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what could go; change nothing.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Remove what nothing needs any more, or say with --dry-run what could go.

    Whatever a version that is not archived, an alias, an open release, a turn, a tag, a hold or their lineage needs is
    kept. What goes, goes to the trash: `loopwright data restore` brings it back, and a later gc empties it.
    """
    age = None if keep is None else parse_duration(keep)
    window = None if restore is None else parse_duration(restore)
    with opened(project) as (_, workspace):
        if not dry_run:
            require_operator(workspace, "collecting")
        collector = Collector(workspace, age, window)
        collection = collector.look() if dry_run else collector.collect()
    if as_json:
        print_json(collection.to_json())
        return
    _show(collection)


def _show(collection: Collection) -> None:
    age = format_duration(collection.keep)
    if not collection.found:
        console.print(f"Nothing older than {age} can go.")
    else:
        rows = [
            [kind, items, "not known" if size is None else format_size(size)]
            for kind, items, size in _by_kind(collection)
        ]
        did = "Removed" if collection.removed else "Could go"
        console.print(table(f"{did}, older than {age}", ["what", "items", "size"], rows, right=["items", "size"]))
        console.print(f"{did}: {format_size(collection.size_bytes)} in all")
        for one in collection.found[:_SHOWN]:
            console.print(f"[dim]{one.kind} {escape(one.name)}: {escape(one.why)}[/]")
        if collection.id:
            console.print(f"Bring it back with: loopwright data restore {collection.id}")
        if not collection.removed:
            console.print("Remove it with the same command without --dry-run.")
    for sentence in collection.left_alone:
        console.print(f"[dim]Left alone: {escape(sentence)}[/]")


def _by_kind(collection: Collection) -> list[tuple[str, int, int | None]]:
    kinds = dict.fromkeys(one.kind for one in collection.found)
    found: list[tuple[str, int, int | None]] = []
    for kind in kinds:
        these = [one for one in collection.found if one.kind == kind]
        known = [one.size_bytes for one in these if one.size_bytes is not None]
        found.append((kind, sum(one.items for one in these), sum(known) if known else None))
    return found
