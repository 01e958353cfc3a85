"""Snapshots whose files a garbage collection took: which, by which collection, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from loopwright.core.errors import CollectedError
from loopwright.core.storage.trash import SNAPSHOTS, collections, tombstones

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from loopwright.core.storage.facts import Facts


@dataclass(frozen=True)
class Taken:
    """One collection that took files of a snapshot; ``restore_until`` is None once it was emptied."""

    collection: str
    collected_at: datetime
    restore_until: datetime | None


def collections_of(facts: Facts, dataset: str, version: int | None = None) -> dict[int, list[Taken]]:
    """Return, by version of a dataset, or of one version, the collections that took files of it."""
    c, t = collections.c, tombstones.c
    name = f"{dataset}@{version}"
    these = t.path == name if version is not None else t.path.startswith(f"{dataset}@", autoescape=True)
    query = (
        sa.select(t.path, c.id, c.collected_at, c.restore_until, c.status)
        .join(tombstones, sa.and_(t.collection_id == c.id, t.place == SNAPSHOTS, these))
        .order_by(c.collected_at, c.id)
    )
    found: dict[int, list[Taken]] = {}
    with facts.read() as connection:
        for path, identity, at, until, status in connection.execute(query):
            number = int(path.rpartition("@")[2])
            found.setdefault(number, []).append(Taken(identity, at, until if status == "kept" else None))
    return found


def collected_error(name: str, taken: Sequence[Taken], kept: Sequence[int]) -> CollectedError:
    """Say that a snapshot was collected, and how to bring it back or what to read instead."""
    dataset, _, number = name.rpartition("@")
    newer = sorted(version for version in kept if version > int(number))
    instead = f"read {dataset}@{newer[0]}, the next one that is kept" if newer else f"read {dataset}, the newest one"
    last = taken[-1]
    ends = [one.restore_until for one in taken if one.restore_until is not None]
    if len(ends) < len(taken):
        message = f"The snapshot {name} was collected on {last.collected_at:%Y-%m-%d}, and the trash was emptied since."
        return CollectedError("snapshot", name, message, hint=f"{instead[0].upper()}{instead[1:]}.")
    message = f"The snapshot {name} was collected on {last.collected_at:%Y-%m-%d} and cannot be read."
    commands = " and ".join(f"loopwright data restore {one.collection}" for one in reversed(taken))
    hint = f"Bring it back until {min(ends):%Y-%m-%d %H:%M} UTC: {commands}; or {instead}."
    return CollectedError("snapshot", name, message, hint=hint)
