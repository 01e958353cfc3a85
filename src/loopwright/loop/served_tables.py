"""What predictions and outcomes could give up: files that neither the monitor's marks nor the policy need, old rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.storage.duck import borrowed
from loopwright.data.versions.history import History
from loopwright.data.versions.retention import Retention
from loopwright.monitoring.mark import monitor_marks
from loopwright.monitoring.outcomes import outcome_batches

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.data.versions.policy import RetentionPolicy
    from loopwright.data.versions.retention import Collectable


def watched_versions(stores: Stores) -> dict[str, set[int]]:
    """Return, by dataset, the versions from which the monitor looks for new labels."""
    found = _spans(stores)
    return {table.removeprefix("datasets/"): seen for table, seen in found.items() if table.startswith("datasets/")}


def served_tables(stores: Stores, policy: RetentionPolicy) -> list[tuple[Collectable, str]]:
    """Return what the tables could give up, each with the condition of its rows past their time.

    The monitor reads a table from where its mark stands: every version from the lowest mark on is needed. A stage that
    never moved its mark begins at 0, and needs only the newest version, as a reader of the whole table does.
    """
    retention = Retention(stores, History(stores))
    query = sa.select(monitor_marks.c.model, sa.func.min(monitor_marks.c.position)).where(monitor_marks.c.position > 0)
    with stores.facts.read() as connection:
        marks = {row[0]: int(row[1]) for row in connection.execute(query.group_by(monitor_marks.c.model))}
    spans = _spans(stores)
    found = []
    for table in stores.tables.tables():
        kind, _, model = table.partition("/")
        if kind not in {"predictions", "outcomes"}:
            continue
        since = min([*(version for version in spans.get(table, ()) if version), marks.get(model) or 2**31])
        one = retention.files_of(table, policy.keep, since=0 if since == 2**31 else since)
        one = replace(one, snapshots=(), why="the monitor is past them, and they are older than the policy keeps")
        condition = "false"
        if kind == "predictions" and policy.predictions is not None:
            cut = stores.clock.now() - policy.predictions
            condition = f"\"at\" < '{cut.isoformat()}'"
            with borrowed() as con:
                stores.tables.attach(con, "served", table)
                rows = con.execute(f"SELECT count(*) FROM served WHERE {condition}").fetchall()[0][0]
            one = replace(one, rows=int(rows))
        if one.files or one.rows:
            found.append((one, condition))
    return found


def _spans(stores: Stores) -> dict[str, set[int]]:
    """Return, by table, the versions that the rounds of outcomes begin and end at: each model's last two."""
    c = outcome_batches.c
    query = sa.select(c.model, c.range).order_by(c.model, c.number.desc())
    found: dict[str, set[int]] = {}
    rounds: dict[str, int] = {}
    with stores.facts.read() as connection:
        for model, spans in connection.execute(query):
            rounds[model] = rounds.get(model, 0) + 1
            for table, after, until in spans.values() if rounds[model] <= 2 else ():
                found.setdefault(str(table), set()).update((int(after), int(until)))
    return found
