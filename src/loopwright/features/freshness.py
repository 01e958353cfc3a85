"""Freshness: how far a view's online values are behind, and behind what.

Two ages are told apart: that of the newest row of the datasets (what the world did last), and that of the last filling
(up to when what is stored is known). The target, ``fresh=`` of the view, is about the first: a source that went quiet
makes features stale however often they are filled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import connect, quote_name
from loopwright.features.materialize import view_key
from loopwright.features.online import from_micros

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from loopwright.core.storage.stores import Stores
    from loopwright.data.lake import Lake
    from loopwright.data.versions.snapshot import Snapshot
    from loopwright.features.online import OnlineStore
    from loopwright.features.view import FeatureView


@dataclass(frozen=True)
class Freshness:
    """How fresh a view is.

    Attributes:
        view: The view, as ``name@version``.
        newest: The newest event time in the datasets that it reads; None where there is no row.
        age: How old that is now.
        filled_until: The moment up to which the online values are known; None where they were never filled.
        behind: How many snapshots of its datasets came since the last filling.
        entities: Entities that have a value online.
        target: The age that is allowed; None where nobody minds.
    """

    view: str
    newest: datetime | None
    age: timedelta | None
    filled_until: datetime | None
    behind: int
    entities: int
    target: timedelta | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.target is None else self.age is not None and self.age <= self.target


def freshness_of(
    stores: Stores, lake: Lake, online: OnlineStore, view: FeatureView, snapshots: Mapping[str, Snapshot]
) -> Freshness:
    """Measure how fresh a view is, without computing it."""
    newest: list[datetime] = []
    with connect(temp_folder=stores.local / "tmp") as desk:
        for dataset in view.datasets:
            if dataset.name in snapshots:
                lake.attach(desk, dataset.name, snapshots[dataset.name])
                moment = quote_name(dataset.event_time or "_arrived_at")
                sql = f"SELECT epoch_us(max({moment}::TIMESTAMPTZ)) FROM {quote_name(dataset.name)}"
                found = desk.sql(sql).fetchall()[0][0]
                newest += [] if found is None else [from_micros(found)]
    last = max(newest, default=None)
    key = view_key(view)
    mark = json.loads(online.mark(key) or "{}")
    then = mark.get("inputs", {}).get("snapshots", {})
    behind = sum(
        1
        for dataset in view.datasets
        for snapshot in lake.history(dataset.name)
        if snapshot.version > then.get(dataset.name, 0)
    )
    return Freshness(
        view=key,
        newest=last,
        age=None if last is None else stores.clock.now() - last,
        filled_until=from_micros(mark["until"]) if mark else None,
        behind=behind,
        entities=online.count(key),
        target=view.fresh,
    )
