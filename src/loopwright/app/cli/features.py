"""``loopwright features``: the views of the project, what they read, who uses them, and filling and checking them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.syntax import Syntax
from rich.tree import Tree

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.features_get import get_values
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.durations import format_duration
from loopwright.core.errors import RefusedError, UnknownNameError, UsageError
from loopwright.features.backfill import read_moment
from loopwright.features.materialize import view_key
from loopwright.loop.check_views import check_views
from loopwright.loop.live_views import labels_of, live_views

if TYPE_CHECKING:
    from loopwright.core.lineage import Edge
    from loopwright.core.ref import Ref
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.view import FeatureView
    from loopwright.loop.project import Loop
    from loopwright.workspace import Workspace

app = typer.Typer(no_args_is_help=True)
app.command("get")(get_values)
_VIEW = typer.Argument(help="The feature view.")
_VERSION = typer.Option("--version", help="A version's number or the beginning of its digest; the newest by default.")


@app.command("list")
def list_views(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the declared views: what keys them, what they make, and which models use them."""
    with opened(project) as (loop, workspace):
        known = check_views(loop)
        recorded = {one.version: one for one in workspace.features.registry.versions()}
        found: list[dict[str, Any]] = []
        for view in loop.views.values():
            record = recorded.get(view.version)
            fields = known.get(view.name) or (record.fields if record is not None else ())
            models = [model.name for model in loop.models.values() if view in model.features]
            found.append(
                {
                    "view": view.name,
                    "version": view.version,
                    "number": None if record is None else record.number,
                    "entity": list(view.entity),
                    "features": [field.name for field in fields],
                    "models": models,
                    "owner": view.owner,
                    "tags": list(view.tags),
                    "description": view.description,
                    "ttl_s": None if view.ttl is None else view.ttl.total_seconds(),
                    "fresh_s": None if view.fresh is None else view.fresh.total_seconds(),
                }
            )
    if as_json:
        print_json(found)
        return
    rows = [
        [one["view"], one["number"], ", ".join(one["entity"]) or "(all)", ", ".join(one["features"]) or "-",
         ", ".join(one["models"]) or "-", one["owner"] or "-", one["description"]]
        for one in found
    ]  # fmt: skip
    names = ["view", "version", "entity", "features", "models", "owner", "what"]
    console.print(table("Feature views", names, rows, right=["version"]))


@app.command()
def show(
    name: Annotated[str, _VIEW],
    version: Annotated[str | None, _VERSION] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show a version of a view: its features, sources, consumers and code."""
    with opened(project) as (_, workspace):
        registry = workspace.features.registry
        record = registry.get(name, version)
        versions, consumers = registry.versions(name), registry.consumers(record.ref)
    if as_json:
        print_json({"view": record, "consumers": consumers, "versions": [one.version for one in versions]})
        return
    console.print(f"[bold]{escape(record.name)}[/] version {record.number} of {len(versions)} ({record.version})")
    if record.description:
        console.print(escape(record.description))
    lines = {
        "owner": record.owner,
        "tags": ", ".join(record.tags),
        "entity": ", ".join(record.entity) or "none: the same for all",
        "event time": record.event_time,
        "counts for": "" if record.ttl is None else format_duration(record.ttl),
        "fresh within": "" if record.fresh is None else format_duration(record.fresh),
        "reads": ", ".join(record.sources),
        "on record since": f"{record.declared_at:%Y-%m-%d %H:%M:%S} UTC",
        "used by": ", ".join((*consumers.models, *consumers.views)) or "nobody yet",
    }
    for title, text in lines.items():
        if text:
            console.print(f"  [dim]{title:>15}[/]  {escape(text)}")
    rows = [[field.name, field.dtype, "yes" if field.nullable else "no"] for field in record.fields]
    console.print(table("Features", ["name", "type", "may be missing"], rows))
    console.print(Syntax(record.source_code.rstrip(), "python", background_color="default"))


@app.command()
def lineage(
    name: Annotated[str, _VIEW],
    version: Annotated[str | None, _VERSION] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show what a view was made from and what was made from it, as a tree."""
    with opened(project) as (_, workspace):
        registry = workspace.features.registry
        record = registry.get(name, version)
        above, below = registry.lineage(record.ref)
    if as_json:
        edges = [{"source": str(e.source), "target": str(e.target), "relation": e.relation} for e in (*above, *below)]
        print_json({"view": str(record.ref), "edges": edges})
        return
    roots = [edge.source for edge in above if not any(other.target == edge.source for other in above)] or [record.ref]
    for root in dict.fromkeys(roots):
        tree = Tree(_shown(root, record.ref))
        _grow(tree, root, [*above, *below], record.ref, seen={root})
        console.print(tree)


@app.command()
def materialize(
    name: Annotated[str | None, _VIEW] = None,
    since: Annotated[str | None, typer.Option("--from", help="Keep rows from this moment on, in the lake.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="… and before this one; by default now.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Bring online values up to date; with --from, write the rows of a range into the lake (features/…) instead."""
    if until is not None and since is None:
        raise UsageError("--to without --from says no range.", hint="Give both, or neither to fill the online store.")
    with opened(project) as (loop, workspace):
        require_operator(workspace, "filling views")
        check_views(loop)
        labels = labels_of(loop)
        if since is not None:
            start, end = read_moment(since), None if until is None else read_moment(until)
            filled = [
                workspace.features.backfill(view, _snapshots(workspace, view), since=start, before=end, labels=labels)
                for view in _views(loop, name)
            ]
            if as_json:
                print_json(filled)
                return
            for one in filled:
                console.print(
                    f"[bold]{escape(one.view)}[/]: {one.rows_written:,} rows of {one.since:%Y-%m-%d %H:%M} to "
                    f"{one.before:%Y-%m-%d %H:%M} written to {one.table}, {one.parts_done} parts were there already"
                )
            return
        wanted = [live.view for live in live_views(loop, workspace)] if name is None else _views(loop, name)
        wanted = wanted or _views(loop, None)
        reports = [workspace.features.materialize(view, _snapshots(workspace, view), labels=labels) for view in wanted]
        left = [] if name is not None else sorted(set(loop.views) - {view.name for view in wanted})
    if as_json:
        print_json(reports)
        return
    for report in reports:
        why = f" ({report.because})" if report.because else ""
        what = "nothing new" if report.skipped else f"{report.rows_computed:,} rows computed: {report.how}{why}"
        console.print(
            f"[bold]{escape(report.view)}[/]: {report.rows_written:,} entities written, {report.rows_known:,} known; "
            f"{what}"
        )
    if left:
        console.print(f"Left alone, as no model that is live asks for them: {', '.join(left)}. Name one to fill it.")


@app.command()
def parity(
    name: Annotated[str | None, _VIEW] = None,
    sample: Annotated[int, typer.Option(help="The most entities to compare.")] = 1000,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Compare online values with the offline join, value by value; ends with 3 where they differ."""
    with opened(project) as (loop, workspace):
        views = _views(loop, name)
        if name is None:  # a view that nothing online asks for was never filled, and has nothing to compare
            views = [view for view in views if workspace.features.online.mark(view_key(view)) is not None]
        reports = [
            workspace.features.parity(view, _snapshots(workspace, view), labels=labels_of(loop), sample=sample)
            for view in views
        ]
    if as_json:
        print_json(reports)
    else:
        rows = [[one.view, one.entities, one.values, len(one.differences), one.at] for one in reports]
        names = ["view", "entities", "values", "different", "as of"]
        console.print(table("Online against offline", names, rows, right=["entities", "values", "different"]))
        cells = [
            [one.view, different.key, different.feature, different.online, different.offline]
            for one in reports
            for different in one.differences[:20]
        ]
        if cells:
            console.print(table("Differences", ["view", "entity", "feature", "online", "offline"], cells))
    found = sum(len(one.differences) for one in reports)
    if found:
        raise RefusedError(
            f"{found} online values differ from the offline ones.",
            hint="Fill the store (loopwright features materialize) and compare again.",
        )


@app.command()
def freshness(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show how old each view's newest rows are, and how far the online store is behind."""
    with opened(project) as (loop, workspace):
        found = [workspace.features.freshness(view, _snapshots(workspace, view)) for view in loop.views.values()]
    if as_json:
        print_json([{**vars(one), "met": one.met} for one in found])
        return
    rows = [
        [one.view.partition("@")[0], one.newest, None if one.age is None else format_duration(one.age),
         None if one.target is None else format_duration(one.target), one.met, one.filled_until, one.behind,
         one.entities]
        for one in found
    ]  # fmt: skip
    names = ["view", "newest row", "age", "target", "met", "online until", "snapshots behind", "entities"]
    console.print(table("Freshness", names, rows, right=["snapshots behind", "entities"]))


def _views(loop: Loop, name: str | None) -> list[FeatureView]:
    if name is None:
        return list(loop.views.values())
    if name not in loop.views:
        raise UnknownNameError("feature view", name, loop.views)
    return [loop.views[name]]


def _snapshots(workspace: Workspace, view: FeatureView) -> dict[str, Snapshot]:
    known = workspace.data.names()
    return {each.name: workspace.data.snapshot(each.name) for each in view.datasets if each.name in known}


def _grow(tree: Tree, ref: Ref, edges: list[Edge], marked: Ref, *, seen: set[Ref]) -> None:
    for target in dict.fromkeys(edge.target for edge in edges if edge.source == ref):
        branch = tree.add(_shown(target, marked))
        if target not in seen:
            _grow(branch, target, edges, marked, seen=seen | {target})


def _shown(ref: Ref, marked: Ref) -> str:
    name, _, version = ref.id.partition("@")
    short = f"{name}@{version[:8]}" if version else ref.id[:12] if ref.kind in ("training_set", "run") else ref.id
    text = f"{ref.kind.replace('_', ' ')} {escape(short)}"
    return f"[bold]{text}[/]" if ref == marked else text
