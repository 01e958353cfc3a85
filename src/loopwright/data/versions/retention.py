"""What a garbage collection could take from datasets and quarantines: files that no needed snapshot has, old bad rows.

A snapshot is needed when it is the newest of its dataset, younger than the policy keeps, the one that was the newest
where the policy's time begins, when something that is still there was made from it (an edge in the lineage that starts
at it), when a tag names it, or when a hold is on it or its dataset. Every needed snapshot stays readable whole; what
only others have goes to the trash, as do files that a compaction replaced or a killed writer left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from loopwright.core.errors import StoreError
from loopwright.core.storage.duck import connect
from loopwright.core.storage.table_log import TableLog, needed_files
from loopwright.data.versions.hold import Holds
from loopwright.data.versions.tag import Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores
    from loopwright.core.storage.trash import Trash
    from loopwright.data.versions.history import History
    from loopwright.data.versions.policy import RetentionPolicy

MARGIN = timedelta(hours=1)  # a write under way is younger than this


@dataclass(frozen=True)
class Collectable:
    """What one table could give up: files that no kept version needs, and rows past their time.

    Attributes:
        table: The table.
        files: The files, by name below the table.
        rows: Rows past their time.
        sizes: The files' bytes.
        snapshots: Versions that cannot be read any more once the files are gone.
        why: In words.
    """

    table: str
    files: tuple[str, ...]
    rows: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    snapshots: tuple[int, ...] = ()
    why: str = ""

    @property
    def size_bytes(self) -> int:
        """The bytes of the files."""
        return sum(self.sizes.values())


class Retention:
    """Finds what nobody needs, and moves it to the trash."""

    def __init__(self, stores: Stores, history: History) -> None:
        self._stores = stores
        self._history = history

    def collectable(
        self,
        policy: RetentionPolicy,
        *,
        also: Mapping[str, Collection[int]] | None = None,
        is_gone: Callable[[Ref], bool] = lambda _: False,
    ) -> list[Collectable]:
        """Return what could go, and change nothing.

        Args:
            policy: How long things are kept.
            also: Further versions of datasets that are needed.
            is_gone: Says of a thing that was made from a snapshot that it is there no more, and needs nothing.
        """
        found = []
        for name in self._history.names():
            if self._history.latest(name) is not None:
                found.append(self._of_dataset(name, policy, set((also or {}).get(name, ())), is_gone))
            if self._stores.tables.exists(f"quarantine/{name}"):
                found.append(self._of_quarantine(name, policy))
        return [one for one in found if one.files or one.rows]

    def collect(self, policy: RetentionPolicy, trash: Trash, identity: str) -> list[Collectable]:
        """Move what :meth:`collectable` finds to the trash, and return it."""
        found = self.collectable(policy)
        for one in found:
            self.take(one, trash, identity, f"_arrived_at < '{self._cut(policy.quarantine)}'")
        return found

    def take(self, one: Collectable, trash: Trash, identity: str, condition: str) -> None:
        """Move one table's files to the trash; rows past their time are taken out of its newest version."""
        if one.rows:
            self._stores.tables.delete(one.table, condition)
        if one.files:
            dataset = one.table.removeprefix("datasets/")
            trash.name_snapshots(identity, [f"{dataset}@{version}" for version in one.snapshots])
            sizes = {f"tables/{one.table}/{name}": size for name, size in one.sizes.items()}
            trash.take_objects(identity, sizes, kind="table files", name=one.table)
            self._stores.tables.forget(one.table)

    def files_of(self, table: str, keep: timedelta, versions: Collection[int] = (), *, since: int = 0) -> Collectable:
        """Find the files of a table that neither some versions, nor any that is younger, nor the newest has.

        Args:
            table: The table.
            keep: Versions that were current within this time count.
            versions: Versions that are needed whatever their age.
            since: With a version above 0, every version from it on is needed.
        """
        log = TableLog(self._stores.tables.location.child(table))
        now = self._stores.clock.now()
        try:
            lifespans = log.lifespans()
            commits = list(log.commits())
        except StoreError:  # another writer cleaned the log: which version has which file cannot be told
            return Collectable(table, (), 0)
        wanted = set(versions)
        for commit, after in zip(commits, [*commits[1:], None], strict=True):
            if after is None or after.committed_at >= now - keep or 0 < since <= commit.version:
                wanted.add(commit.version)
        needed = needed_files(lifespans, wanted, commits[-1].version) if commits else set()
        there = log.files()
        gone = {
            name: one.size_bytes
            for name, one in there.items()
            if name not in needed and (name in lifespans or one.modified_at < now - max(keep, MARGIN))
        }
        whole = {name for name, spans in lifespans.items() if name in there}
        lost = tuple(sorted(commit.version for commit in commits if commit.version not in wanted))
        unreadable = _versions_with(lifespans, {name for name in gone if name in whole}, lost)
        return Collectable(table, tuple(sorted(gone)), 0, gone, unreadable, "no needed version has them")

    def _of_dataset(
        self, name: str, policy: RetentionPolicy, also: set[int], is_gone: Callable[[Ref], bool]
    ) -> Collectable:
        holds = Holds(self._stores.facts, self._stores.clock).on_dataset(name)
        snapshots = self._history.snapshots(name)
        tagged = {one.version for one in Tags(self._stores.facts, self._stores.clock).all(name)}
        held = {one.subject.id.rpartition("@")[2] for one in holds if one.subject.kind == "snapshot"}
        keep = policy.of_dataset(name)
        cut = self._stores.clock.now() - keep
        whole = any(one.subject.kind == "dataset" for one in holds)
        older = [one for one in snapshots if one.created_at <= cut]
        needed = {
            one.version
            for one in snapshots
            if whole
            or one in (snapshots[0], *older[:1])
            or one.created_at > cut
            or one.version in tagged
            or str(one.version) in held
            or not all(is_gone(edge.target) for edge in self._stores.lineage.descendants(one.ref, depth=1))
        }
        found = self.files_of(f"datasets/{name}", keep, needed | also)
        visible = {one.version for one in snapshots}
        return Collectable(
            found.table, found.files, 0, found.sizes, tuple(v for v in found.snapshots if v in visible), found.why
        )

    def _of_quarantine(self, name: str, policy: RetentionPolicy) -> Collectable:
        table = f"quarantine/{name}"
        if any(one.subject.kind == "dataset" for one in Holds(self._stores.facts, self._stores.clock).on_dataset(name)):
            return Collectable(table, (), 0)
        found = self.files_of(table, policy.quarantine)
        with connect() as con:
            self._stores.tables.attach(con, "kept_out", table)
            where = f"_arrived_at < '{self._cut(policy.quarantine)}'"
            rows = int(con.execute(f"SELECT count(*) FROM kept_out WHERE {where}").fetchall()[0][0])
        why = "quarantined longer ago than the policy keeps" if rows else found.why
        return Collectable(table, found.files, rows, found.sizes, (), why)

    def _cut(self, keep: timedelta) -> str:
        return (self._stores.clock.now() - keep).isoformat()


def _versions_with(
    lifespans: Mapping[str, list[tuple[int, int | None]]], files: Collection[str], versions: Collection[int]
) -> tuple[int, ...]:
    """Return those of some versions that have one of the files."""
    spans = [span for name in files for span in lifespans[name]]
    return tuple(
        version
        for version in versions
        if any(start <= version and (end is None or version < end) for start, end in spans)
    )
