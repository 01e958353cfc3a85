"""When time alone brings work: the next label that matures, the next schedule that is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.storage.duck import borrowed, quote_name, to_arrow
from loopwright.loop.schedule import next_due
from loopwright.loop.triggers import Schedule

if TYPE_CHECKING:
    from datetime import datetime

    from loopwright.features.label import Label
    from loopwright.loop.project import Loop
    from loopwright.workspace import Workspace


def next_work_at(loop: Loop, workspace: Workspace, *, since: datetime | None = None) -> datetime | None:
    """Return the next moment at which a turn would find work though no data came; None for never.

    Args:
        loop: The declared project.
        workspace: Its workspace.
        since: The moment of the last turn, which saw all that was known then; by default now.
    """
    now = workspace.stores.clock.now() if since is None else since
    moments = [_next_maturity(workspace, model.label, now) for model in loop.models.values()]
    moments += [
        next_due(trigger.cron, now)
        for model in loop.models.values()
        if model.retrain is not None
        for trigger in model.retrain.on
        if isinstance(trigger, Schedule)
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _next_maturity(workspace: Workspace, label: Label, now: datetime) -> datetime | None:
    dataset = label.dataset
    if dataset.event_time is None or dataset.name not in workspace.data.names():
        return None
    snapshot = workspace.data.snapshot(dataset.name)
    event_time = quote_name(dataset.event_time)
    with borrowed() as connection:
        workspace.data.attach(connection, "rows", snapshot)
        query = (
            f"SELECT min({event_time}) AS next FROM rows WHERE {quote_name(label.name)} IS NOT NULL "
            f"AND {event_time} > $since"
        )
        found = to_arrow(connection.sql(query, params={"since": now - label.arrives_after}))
    newest: datetime | None = found.column("next")[0].as_py()
    return None if newest is None else newest + label.arrives_after
