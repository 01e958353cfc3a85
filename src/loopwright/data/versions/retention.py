"""What a garbage collection could take away from datasets and quarantines, and taking it away.

Nothing that a snapshot in use needs is removed. A snapshot is in use when something was made from it (a training set,
a materialised view: any edge in the lineage that starts at it), when it is younger than ``keep``, or when it is the
newest of its dataset. Datasets only ever grow, so what is found are files that a compaction replaced or that a killed
writer left, and quarantined rows older than ``keep``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.storage.duck import connect

if TYPE_CHECKING:
    from loopwright.core.storage.stores import Stores
    from loopwright.data.versions.history import History

_MARGIN = timedelta(hours=1)  # a write under way is younger than this


@dataclass(frozen=True)
class Collectable:
    """What one table could give up: files that no kept version needs, and quarantined rows past their time."""

    table: str
    files: tuple[str, ...]
    rows: int


class Retention:
    """Finds and removes what nobody needs."""

    def __init__(self, stores: Stores, history: History) -> None:
        self._stores = stores
        self._history = history

    def collectable(self, keep: timedelta) -> list[Collectable]:
        """Return what could be removed, and remove nothing."""
        found = []
        for name in self._history.names():
            for table, held, rows in self._tables(name, keep):
                files = tuple(self._stores.tables.vacuum(table, held, dry_run=True))
                if files or rows:
                    found.append(Collectable(table, files, rows))
        return found

    def collect(self, keep: timedelta) -> list[Collectable]:
        """Remove what :meth:`collectable` finds, and return it."""
        found = self.collectable(keep)
        cut = (self._stores.clock.now() - keep).isoformat()
        for one in found:
            if one.rows:
                self._stores.tables.delete(one.table, f"_arrived_at < '{cut}'")
        for name in self._history.names():
            for table, held, _ in self._tables(name, keep):
                self._stores.tables.vacuum(table, held, dry_run=False)
        return found

    def _tables(self, name: str, keep: timedelta) -> list[tuple[str, timedelta, int]]:
        """Return a dataset's tables, how long their versions are held, and the rows past their time."""
        listed = []
        if self._history.latest(name) is not None:
            listed.append((f"datasets/{name}", max(keep, self._oldest_in_use(name)) + _MARGIN, 0))
        quarantine = f"quarantine/{name}"
        if self._stores.tables.exists(quarantine):
            listed.append((quarantine, keep + _MARGIN, self._old_rows(quarantine, keep)))
        return listed

    def _oldest_in_use(self, name: str) -> timedelta:
        now = self._stores.clock.now()
        used = [one for one in self._history.snapshots(name) if self._stores.lineage.descendants(one.ref, depth=1)]
        return max((now - one.created_at for one in used), default=timedelta(0))

    def _old_rows(self, table: str, keep: timedelta) -> int:
        cut = (self._stores.clock.now() - keep).isoformat()
        with connect() as con:
            self._stores.tables.attach(con, "kept_out", table)
            return int(con.execute(f"SELECT count(*) FROM kept_out WHERE _arrived_at < '{cut}'").fetchall()[0][0])
