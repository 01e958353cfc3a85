"""``loopwright data tag|diff|hold|erase|restore|retention|tiering|export``: versions, what is kept, what goes."""

from __future__ import annotations

import getpass
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from loopwright.app.cli.console import JSON_OPTION, PROJECT_OPTION, console, print_json, table
from loopwright.app.cli.project import opened, require_operator
from loopwright.core.access import require
from loopwright.core.durations import format_duration, parse_duration
from loopwright.core.errors import RefusedError, UnknownNameError, UsageError
from loopwright.core.ref import Ref
from loopwright.core.sizes import format_size
from loopwright.data.versions.lifecycle import lifecycle_rules
from loopwright.data.versions.policy import RetentionPolicy
from loopwright.data.versions.reference import SnapshotName
from loopwright.data.versions.tiering import plan_tiering, stored_groups
from loopwright.loop.erase import erase_rows
from loopwright.loop.restore import restore_collection, trashed

if TYPE_CHECKING:
    from loopwright.data.versions.diff import SnapshotDiff
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.loop.project import Loop
    from loopwright.workspace import Workspace

app = typer.Typer(no_args_is_help=True)
_WHICH = "A snapshot: orders, orders@3, orders@2026-01-05, orders@a-tag."


@app.command()
def tag(
    snapshot: Annotated[str, typer.Argument(help=_WHICH)],
    name: Annotated[str | None, typer.Argument(help="The tag; without one, the dataset's tags are listed.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept on record.")] = "",
    immutable: Annotated[bool, typer.Option("--immutable", help="Never let it move or be removed.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the tag; its moves stay on record.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Name a snapshot, which keeps it from being collected; or list a dataset's tags, or a tag's moves with --json."""
    dataset = SnapshotName.parse(snapshot).dataset
    by = getpass.getuser()
    with opened(project) as (_, workspace):
        lake = workspace.data
        if name is None:
            found = lake.tags.all(dataset)
            if as_json:
                print_json([vars(one) | {"moves": lake.tags.moves(dataset, one.name)} for one in found])
                return
            rows = [[one.name, one.version, one.immutable, one.moved_at, one.moved_by, one.reason] for one in found]
            columns = ["tag", "version", "immutable", "since", "by", "reason"]
            console.print(table(f"Tags of {dataset}", columns, rows, right=["version"]))
            return
        require_operator(workspace, "changing tags")
        if remove:
            lake.tags.remove(dataset, name, by=by, reason=reason)
        else:
            made = lake.tag(snapshot, name, by=by, reason=reason, immutable=immutable)
        moves = lake.tags.moves(dataset, name)
    if as_json:
        print_json(moves)
    elif remove:
        console.print(f"Removed {dataset}@{escape(name)}")
    else:
        console.print(f"{dataset}@{escape(name)} is version {made.version}")


@app.command()
def diff(
    older: Annotated[str, typer.Argument(help=_WHICH)],
    newer: Annotated[str, typer.Argument(help="Another one, or only what follows the @.")],
    last: Annotated[str | None, typer.Argument(help="With a dataset first: `data diff orders 3 5`.")] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    sample_rows: Annotated[int, typer.Option(help="Rows behind the distributions; 0 leaves them out.")] = 100_000,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Compare two snapshots: schema, rows by key with examples, and each column's distribution."""
    dataset = SnapshotName.parse(older).dataset
    if last is not None:
        older, newer = f"{dataset}@{newer}", last
    with opened(project) as (loop, workspace):
        second = newer if SnapshotName.parse(newer).dataset == dataset else f"{dataset}@{newer}"
        found = _disclosed(loop, workspace, workspace.data.diff(older, second, sample_rows=sample_rows))
    if as_json:
        print_json(found)
        return
    changed = "unknown without a key" if found.rows_changed is None else f"{found.rows_changed:,}"
    console.print(
        f"{found.older.ref.id} → {found.newer.ref.id}: {found.rows_added:,} rows added, "
        f"{found.rows_removed:,} removed, {changed} changed"
    )
    for title, names in (("columns added", found.columns_added), ("columns removed", found.columns_removed)):
        if names:
            console.print(f"{title}: {', '.join(names)}")
    rows = [
        [
            one.name,
            one.rows_changed,
            *(None if side is None else side.null_share for side in (one.before, one.after)),
            *(None if side is None else side.mean for side in (one.before, one.after)),
            one.psi,
            one.js_distance,
        ]
        for one in found.columns
    ]
    columns = ["column", "changed", "nulls", "→", "mean", "→ ", "PSI", "JS"]
    console.print(table("Columns", columns, rows, right=columns[1:]))
    shown = [
        [one.kind, ", ".join(map(str, one.key.values())), name, before, after]
        for one in found.examples
        for name, (before, after) in one.values.items()
    ]
    if shown:
        console.print(table("Examples", ["row", "key", "column", "before", "after"], shown))


@app.command()
def hold(
    name: Annotated[str | None, typer.Argument(help="The hold; without one, holds are listed.")] = None,
    what: Annotated[
        str | None, typer.Argument(help="dataset:orders, snapshot:orders@3, training_set:…, model:eta/3.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; needed, and kept on record.")] = "",
    until: Annotated[str | None, typer.Option(help="The day on which it ends, such as 2027-01-31.")] = None,
    release: Annotated[bool, typer.Option("--release", help="End the hold.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Keep something from being collected or erased, for a law suit or an experiment; list or end holds."""
    with opened(project) as (_, workspace):
        holds = workspace.data.holds
        if name is not None:
            require_operator(workspace, "changing holds")
        if name is not None and release:
            holds.release(name, by=getpass.getuser(), subject=None if what is None else _ref(what))
        elif name is not None:
            if what is None:
                raise UsageError(f"The hold '{name}' needs something to hold.", hint="Such as dataset:orders.")
            holds.place(name, _ref(what), reason=reason, by=getpass.getuser(), until=_day(until))
        found = holds.open()
    if as_json:
        print_json(found)
        return
    rows = [[one.name, str(one.subject), one.held_by, one.held_at, one.until, one.reason] for one in found]
    console.print(table("Holds", ["hold", "on", "by", "since", "until", "reason"], rows))


@app.command()
def erase(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    key: Annotated[str | None, typer.Option(help="The column that says whose rows they are.")] = None,
    value: Annotated[list[str] | None, typer.Option(help="A value to erase; may be given several times.")] = None,
    reason: Annotated[str, typer.Option(help="Why; needed, and kept on record.")] = "",
    forever: Annotated[bool, typer.Option("--forever", help="Keep the values out of later ingests too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be undone.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Erase rows by key from every snapshot and from all that was made of them; without a key, list erasures.

    What cannot be taken out of something, as of a trained model, is listed with the command that closes it.
    """
    with opened(project) as (loop, workspace):
        if key is None:
            found = workspace.data.erasures(name)
        else:
            if name not in loop.datasets and name not in workspace.data.names():
                raise UnknownNameError("dataset", name, loop.datasets)
            require(workspace.principal, "admin", f"erasing rows of {name}")
            if not yes and not typer.confirm(f"Erase rows of {name} for good, from every snapshot?", err=True):
                raise UsageError("Nothing was erased.", hint="Say --yes to erase without being asked.")
            given = value or []
            found = [erase_rows(workspace, name, key, given, reason=reason, by=getpass.getuser(), forever=forever)]
    if as_json:
        print_json(found)
        return
    rows = [
        [one.asked_at, one.status, one.key_column, one.keys, one.report.rows, one.report.quarantined_rows,
         one.report.examples, one.report.online, one.report.predictions, one.report.outcomes, one.asked_by, one.reason]
        for one in found
    ]  # fmt: skip
    columns = ["asked", "is", "column", "keys", "rows", "kept out", "examples", "online", "predictions", "outcomes",
               "by", "reason"]  # fmt: skip
    console.print(table(f"Erasures of {name}", columns, rows, right=columns[3:10]))
    remains = [[rest.kind, rest.name, rest.close] for one in found[:1] for rest in one.report.remains]
    if remains:
        console.print(table("What was made from the rows, and how to close it", ["what", "which", "how"], remains))


@app.command()
def restore(
    collection: Annotated[
        str | None, typer.Argument(help="What a gc printed; without one, the trash is listed.")
    ] = None,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Bring back what a garbage collection took, byte for byte, until its time is over; or list the trash."""
    with opened(project) as (_, workspace):
        if collection is not None:
            require_operator(workspace, "restoring")
            restore_collection(workspace, collection)
        found = trashed(workspace)
    if as_json:
        print_json(found)
        return
    rows = [
        [one.id, one.collected_at, one.restore_until, one.status, one.items, format_size(one.size_bytes)]
        for one in found
    ]
    columns = ["collection", "at", "until", "status", "items", "size"]
    console.print(table("Trash", columns, rows, right=["items", "size"]))


@app.command()
def retention(
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show how long things are kept, and what nothing needs any more; `loopwright gc` takes it away."""
    with opened(project) as (_, workspace):
        policy = RetentionPolicy.of(workspace.stores.settings)
        found = workspace.data.retention.collectable(policy)
    if as_json:
        print_json({"policy": policy, "collectable": [vars(one) | {"size_bytes": one.size_bytes} for one in found]})
        return
    lines = [
        ["everything else", format_duration(policy.keep)],
        ["quarantine", format_duration(policy.quarantine)],
        ["predictions", "for ever" if policy.predictions is None else format_duration(policy.predictions)],
        *([f"dataset {name}", format_duration(age)] for name, age in policy.datasets.items()),
        ["in the trash", format_duration(policy.restore)],
    ]
    console.print(table("Kept for", ["what", "time"], lines))
    rows = [[one.table, len(one.files), format_size(one.size_bytes), one.rows, one.why] for one in found]
    columns = ["table", "files", "size", "rows", "why"]
    console.print(table("Could go", columns, rows, right=columns[1:4]))


@app.command()
def tiering(
    provider: Annotated[str, typer.Option(help="Whose prices: aws, gcp or azure.")] = "aws",
    cold_after: Annotated[str, typer.Option(help="The age from which objects are moved.")] = "30d",
    months: Annotated[float, typer.Option(help="How long objects stay: what a move may pay for itself in.")] = 12.0,
    archive: Annotated[bool, typer.Option("--archive", help="Also classes that are read only hours later.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print the provider's lifecycle rules, as JSON.")] = False,
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Say what colder storage and packing would save a month, and what moving there costs; nothing is moved."""
    age = parse_duration(cold_after)
    with opened(project) as (_, workspace):
        groups = stored_groups(workspace.stores, cold_after=age)
    plan = plan_tiering(groups, provider, cold_after=age, horizon_months=months, reads_at_once=not archive)
    if rules:
        typer.echo(lifecycle_rules(plan))
        return
    if as_json:
        print_json(plan)
        return
    rows = [
        [one.prefix, one.objects, format_size(one.size_bytes), format_size(one.cold_bytes), one.usd_per_month,
         one.advice, one.best.storage_class if one.best else None, one.why]
        for one in plan.groups
    ]  # fmt: skip
    columns = ["prefix", "objects", "size", "cold", "USD/month", "advice", "class", "why"]
    console.print(table(f"Storage at {provider} prices", columns, rows, right=columns[1:5]))
    console.print(
        f"Now {plan.usd_per_month:.2f} USD a month; {plan.saved_usd_per_month:.2f} less for {plan.move_usd:.2f} once. "
        f"Prices of {plan.region}, {plan.prices_as_of}: {escape(plan.source)}"
    )


@app.command()
def export(
    snapshot: Annotated[str, typer.Argument(help=_WHICH)],
    target: Annotated[Path, typer.Argument(help="A new folder for a Delta table, or a .parquet or .csv file.")],
    project: Annotated[Path, PROJECT_OPTION] = Path(),
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Write a snapshot's rows, the newest of each key, for tools that read Delta, Parquet or CSV."""
    with opened(project) as (loop, workspace):
        _require_disclosure(loop, workspace, workspace.data.snapshot(snapshot))
        rows = workspace.data.export(snapshot, target)
    if as_json:
        print_json({"rows": rows, "target": target})
    else:
        console.print(f"{rows:,} rows of {escape(snapshot)} are in {escape(str(target))}")


def _disclosed(loop: Loop, workspace: Workspace, found: SnapshotDiff) -> SnapshotDiff:
    """Hide restricted values from a role that may not see them; who sees them is put on record."""
    name, purpose = found.newer.dataset, f"data diff {found.older.ref.id} {found.newer.ref.id}"
    restricted = loop.datasets[name].contract.restricted() if name in loop.datasets else []
    if not restricted:
        return found
    given = [
        dict(one.key) | {column: pair[side] for column, pair in one.values.items()}
        for one in found.examples
        for side in (0, 1)
    ]
    probe = dict.fromkeys(restricted, "value")
    shown = workspace.disclosure.rows(name, [*given, dict(probe)], restricted, purpose=purpose)
    if shown[-1] == probe:
        return found
    examples = [
        replace(
            one,
            key={column: shown[2 * number][column] for column in one.key},
            values={column: (shown[2 * number][column], shown[2 * number + 1][column]) for column in one.values},
        )
        for number, one in enumerate(found.examples)
    ]
    columns = [replace(one, before=None, after=None) if one.name in restricted else one for one in found.columns]
    return replace(found, examples=tuple(examples), columns=tuple(columns))


def _require_disclosure(loop: Loop, workspace: Workspace, snapshot: Snapshot) -> None:
    name = snapshot.dataset
    restricted = loop.datasets[name].contract.restricted() if name in loop.datasets else []
    probe = dict.fromkeys(restricted, "value")
    purpose = f"data export {snapshot.ref.id}"
    shown = workspace.disclosure.rows(name, [dict(probe)], restricted, purpose=purpose, count=snapshot.rows)
    if restricted and shown[0] != probe:
        raise RefusedError(
            f"'{name}' has columns that this role may not take out: {', '.join(restricted)}.",
            hint="Let an operator export it, or read it without them: loopwright data rows --columns …",
        )


def _ref(text: str) -> Ref:
    try:
        return Ref.parse(text)
    except ValueError:
        raise UsageError(
            f"'{text}' names nothing to hold.", hint="Write dataset:orders or snapshot:orders@3."
        ) from None


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is no day.", hint="Write it as 2027-01-31.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
