"""Bringing back what a garbage collection took."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from loopwright.core.storage.trash import Trash
from loopwright.data.ingest.lock import dataset_lock
from loopwright.loop.dead_payloads import restore_places
from loopwright.loop.lock import turn_lock
from loopwright.loop.turn import TURN_LOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.core.storage.trash import Trashed
    from loopwright.workspace import Workspace


def restore_collection(workspace: Workspace, identity: str) -> None:
    """Move everything of a collection back, byte for byte; a killed one is completed by doing it again.

    Raises:
        UnknownNameError: If there is no such collection.
        RefusedError: If it was emptied.
        TurnInProgressError: If a turn or an ingest is running; nothing was moved.
    """
    stores = workspace.stores
    trash = Trash(stores)
    with contextlib.ExitStack() as held:
        held.enter_context(turn_lock(stores.local / TURN_LOCK))
        for name in workspace.data.names():
            held.enter_context(dataset_lock(stores.local / "locks", name, wait=False))
        for shard, places in trash.restore(identity):
            restore_places(stores, shard, cast("Sequence[Sequence[object]]", places))
        trash.restored(identity)
    for name in stores.tables.tables():
        stores.tables.forget(name)


def trashed(workspace: Workspace) -> list[Trashed]:
    """Return every collection, the newest first."""
    return Trash(workspace.stores).all()
