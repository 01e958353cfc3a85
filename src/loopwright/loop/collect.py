"""Garbage collection across the rooms: what could go, how many bytes it is, and taking it away.

Only what nothing needs is found: no version that is not archived, no alias, open release, unfinished turn, tag, hold or
lineage of a kept version loses a byte. What goes, goes to the trash (:mod:`loopwright.core.storage.trash`) and can be
brought back for as long as the policy says; a later collection empties it. Facts are changed before bytes go, and each
thing goes by itself, so a collection that is killed leaves less garbage and a whole store. What cannot be decided is
left alone, and said.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from loopwright.core.storage.location import Location
from loopwright.core.storage.trash import Trash
from loopwright.data.ingest.lock import dataset_lock
from loopwright.data.versions.policy import RetentionPolicy
from loopwright.features.online_stores import online_is_there
from loopwright.features.training_set import folder_of, training_sets
from loopwright.loop.dead_payloads import dead_payloads, take_payloads
from loopwright.loop.erase import complete_erasures
from loopwright.loop.live_views import unneeded_online
from loopwright.loop.lock import is_turning, turn_lock
from loopwright.loop.needed import Needed
from loopwright.loop.served_tables import served_tables, watched_versions
from loopwright.loop.turn import TURN_LOCK
from loopwright.loop.turn_log import turn_steps
from loopwright.serving.log.compactor import PredictionTable, predictions_table
from loopwright.serving.log.prediction_log import SEGMENT_SUFFIX, segments_folder
from loopwright.serving.log.segment import is_finished
from loopwright.training.run_folder import folders_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopwright.workspace import Workspace

Kind = Literal[
    "archived version", "training set", "table files", "quarantined rows", "unnamed blob", "run folder", "local copy",
    "log segment", "online view", "predictions", "payloads", "trash",
]  # fmt: skip
LEAST_AGE = timedelta(hours=1)  # a blob is put before the fact that names it; no write is under way for longer
_COPIES = ("fetched", "rebuilt", "cache", "tmp")  # folders on this machine that are filled again when they are needed


@dataclass(frozen=True)
class Garbage:
    """One thing that could go.

    Attributes:
        kind: What sort of thing it is.
        name: Which one.
        size_bytes: What it takes; None where only removing it would tell.
        items: The blobs, files or rows that it is.
        why: Why it may go.
    """

    kind: Kind
    name: str
    size_bytes: int | None
    items: int
    why: str = ""


@dataclass(frozen=True)
class Collection:
    """What a look found.

    Attributes:
        keep: Younger things were not looked at.
        removed: Whether it was taken away.
        found: What could go, or went.
        left_alone: What could not be decided, in sentences.
        id: By which what went can be brought back; empty where nothing went.
    """

    keep: timedelta
    removed: bool
    found: tuple[Garbage, ...]
    left_alone: tuple[str, ...]
    id: str = ""

    @property
    def size_bytes(self) -> int:
        """The bytes of all that is found, as far as they are known."""
        return sum(one.size_bytes or 0 for one in self.found)

    def to_json(self) -> dict[str, object]:
        """Give plain JSON values."""
        return {
            "keep_seconds": self.keep.total_seconds(),
            "removed": self.removed,
            "size_bytes": self.size_bytes,
            "found": [vars(one) for one in self.found],
            "left_alone": list(self.left_alone),
            "id": self.id,
        }


class Collector:
    """Finds and removes what nothing needs.

    Args:
        workspace: The rooms.
        keep: How long everything is kept at least, in place of what the settings say.
        restore: How long what goes can be brought back, in place of what the settings say.
    """

    def __init__(self, workspace: Workspace, keep: timedelta | None = None, restore: timedelta | None = None) -> None:
        self._workspace = workspace
        self._stores = workspace.stores
        self._policy = RetentionPolicy.of(self._stores.settings, keep=keep, restore=restore)
        self._keep = self._policy.keep
        self._before = self._stores.clock.now() - self._keep
        self._removing = False
        self._trash = Trash(self._stores)
        self._id = ""

    def look(self) -> Collection:
        """Say what could go; changes nothing."""
        return self._run()

    def collect(self) -> Collection:
        """Take away what ``look`` finds.

        Raises:
            TurnInProgressError: If a turn or an ingest is running; nothing was removed.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(turn_lock(self._stores.local / TURN_LOCK))
            for name in self._workspace.data.names():
                held.enter_context(dataset_lock(self._stores.local / "locks", name, wait=False))
            for name in self._workspace.data.names():
                complete_erasures(self._workspace, name)
            self._removing = True
            self._id = self._trash.begin(restore_window=self._policy.restore)
            made = self._run()
            if not any(one.kind not in {"trash", "log segment", "local copy"} for one in made.found):
                self._trash.cancel(self._id)
                made = replace(made, id="")
            return made

    def _run(self) -> Collection:
        found: list[Garbage] = [*self._emptied()]
        left = self._undecided()
        turning = not self._removing and is_turning(self._stores.local / TURN_LOCK)
        if turning:
            left.append(
                "A turn is running: what it needs is known when it ends; only this machine's logs were looked at."
            )
        decides = not turning and not self._is_shared()
        needed = Needed(self._workspace, self._before, is_final=decides)
        if decides:
            found += self._versions(needed)
            found += self._training_sets(needed)
            found += self._unnamed(needed)
            found += self._payloads()
        if not turning:
            found += self._tables(needed)
            found += self._copies()
            found += self._run_folders()
            found += self._online_views()
        found += self._segments()
        return Collection(self._keep, self._removing, tuple(found), tuple(left), self._id)

    def _emptied(self) -> Iterator[Garbage]:
        for one in self._trash.over():
            if self._removing:
                self._trash.empty(one.id)
            yield Garbage("trash", one.id, one.size_bytes, one.items, "its time to be restored is over")

    def _online_views(self) -> Iterator[Garbage]:
        if not online_is_there(self._stores.settings.online_url):
            return
        online = self._workspace.features.online
        for name in unneeded_online(self._workspace):
            rows = online.count(name)
            if self._removing:
                online.drop(name)
            yield Garbage("online view", name, None, rows)

    def _is_shared(self) -> bool:
        settings = self._stores.settings
        return Location.parse(settings.store_url).folder is None or not settings.metadata_url.startswith("sqlite")

    def _undecided(self) -> list[str]:
        left = []
        if self._is_shared():
            left.append(
                f"Blobs in {self._stores.settings.store_url}: other machines may be turning on the same stores, and a "
                "turn's lock is one machine's."
            )
        torn = sorted((self._stores.local / "predictions").glob("*/*.torn"))
        if torn:
            left.append(
                f"{len(torn)} log segments with a torn end, such as {torn[0]}: what was acknowledged is in the lake; "
                "look at them and delete them by hand."
            )
        return left

    def _versions(self, needed: Needed) -> Iterator[Garbage]:
        for version in needed.gone_versions:
            blobs = {digest: self._stores.blobs.size(digest) for digest in self._there(needed.version_blobs(version))}
            if not blobs:
                continue
            if self._removing:
                self._forget_steps(version.run_id)
                self._take(blobs, "archived version", version.id)
            why = "archived, and no alias, release, turn or hold keeps it"
            yield Garbage("archived version", version.id, sum(blobs.values()), len(blobs), why)

    def _training_sets(self, needed: Needed) -> Iterator[Garbage]:
        for record in needed.gone_training_sets:
            blobs = {d: self._stores.blobs.size(d) for d in self._there(needed.training_set_blobs(record))}
            folder = folder_of(self._stores, record.digest)
            size = sum(blobs.values()) + _size_of(folder)
            name = f"{record.name} {record.digest[:12]}"
            if self._removing:
                this = training_sets.c.digest == record.digest
                self._trash.take_row(self._id, training_sets, this, kind="training set", name=record.digest)
                self._take(blobs, "training set", name)
                self._trash.take_path(self._id, folder, _size_of(folder), kind="training set")
            yield Garbage("training set", name, size, len(blobs), "no kept version or running turn was made of it")

    def _unnamed(self, needed: Needed) -> Iterator[Garbage]:
        before = min(self._before, self._stores.clock.now() - LEAST_AGE)
        named = needed.named()
        old = {
            blob.digest: blob.size_bytes
            for blob in self._stores.blobs.listed()
            if blob.modified_at < before and blob.digest not in named
        }
        if old:
            if self._removing:
                self._take(old, "unnamed blob", "blobs that no fact names")
            yield Garbage("unnamed blob", "blobs that no fact names", sum(old.values()), len(old), "nothing names them")

    def _tables(self, needed: Needed) -> Iterator[Garbage]:
        retention = self._workspace.data.retention
        quarantine = f"_arrived_at < '{(self._stores.clock.now() - self._policy.quarantine).isoformat()}'"
        found = [
            (one, quarantine, "quarantined rows")
            for one in retention.collectable(self._policy, also=watched_versions(self._stores), is_gone=needed.is_gone)
        ]
        found += [(one, condition, "predictions") for one, condition in served_tables(self._stores, self._policy)]
        for one, condition, kind in found:
            if self._removing:
                retention.take(one, self._trash, self._id, condition)
            if one.files:
                lost = f"; versions {_ranges(one.snapshots)} go with them" if one.snapshots else ""
                yield Garbage("table files", one.table, one.size_bytes, len(one.files), one.why + lost)
            if one.rows:
                yield Garbage(kind, one.table, None, one.rows, "older than the policy keeps")  # type: ignore[arg-type]

    def _payloads(self) -> Iterator[Garbage]:
        found = dead_payloads(self._stores, before=min(self._before, self._stores.clock.now() - LEAST_AGE))
        for shard in found:
            yield Garbage("payloads", shard.digest, shard.dead_bytes, len(shard.dead), "no row of any version has them")
        if found and self._removing:
            take_payloads(self._stores, self._trash, self._id, found)

    def _run_folders(self) -> Iterator[Garbage]:
        if self._is_training():
            return
        for folder in folders_in(self._stores.local):
            if folder.synced.exists() and self._is_old(folder.synced):
                yield self._local("run folder", folder.path)

    def _copies(self) -> Iterator[Garbage]:
        for name in _COPIES if not self._is_training() else ():
            for path in sorted((self._stores.local / name).glob("*")):
                if self._is_old(path):
                    yield self._local("local copy", path)
        kept = {version.model_file.digest for version in self._workspace.registry.versions()}
        for path in sorted((self._stores.local / "models").glob("*")):
            if path.name not in kept and self._is_old(path):
                yield self._local("local copy", path)

    def _segments(self) -> Iterator[Garbage]:
        tables = self._stores.tables
        for folder in sorted((self._stores.local / "predictions").glob("*")):
            table = predictions_table(folder.name)
            if not tables.exists(table):
                continue
            for path in sorted(segments_folder(self._stores.local, folder.name).glob(f"*{SEGMENT_SUFFIX}")):
                if (
                    is_finished(path)
                    and path.exists()
                    and (tables.transaction(table, path.name) or 0) >= _size_of(path)
                ):
                    yield Garbage("log segment", f"{folder.name}/{path.name}", _size_of(path), 1)
            if self._removing:
                PredictionTable(self._stores, folder.name).compact()

    def _local(self, kind: Kind, path: Path) -> Garbage:
        made = Garbage(kind, str(path.relative_to(self._stores.local)), _size_of(path), 1)
        if self._removing and kind == "local copy":  # filled again when it is needed; an erasure shall not look for it
            _delete(path)
        elif self._removing:
            self._trash.take_path(self._id, path, made.size_bytes or 0, kind=kind)
        return made

    def _there(self, digests: set[str]) -> list[str]:
        return sorted(digest for digest in digests if self._stores.blobs.exists(digest))

    def _take(self, sizes: dict[str, int], kind: Kind, name: str) -> None:
        paths = {f"blobs/{digest[:2]}/{digest[2:]}": size for digest, size in sizes.items()}
        self._trash.take_objects(self._id, paths, kind=kind, name=name)

    def _forget_steps(self, run_id: str) -> None:
        """Let no later turn take a finished training for one whose model file is there."""
        with self._stores.facts.write() as connection:
            rows = connection.execute(sa.select(turn_steps).where(turn_steps.c.key.is_not(None))).all()
            for row in rows:
                if run_id in str(row.output):
                    this = sa.and_(turn_steps.c.turn_id == row.turn_id, turn_steps.c.name == row.name)
                    connection.execute(sa.update(turn_steps).where(this).values(key=None))

    def _is_training(self) -> bool:
        """Say whether a run is under way, such as a reproduction, which needs no turn."""
        return bool(self._workspace.runs.list(status="running", limit=1))

    def _is_old(self, path: Path) -> bool:
        before = min(self._before, self._stores.clock.now() - LEAST_AGE)
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) < before


def _ranges(versions: tuple[int, ...]) -> str:
    return str(versions[0]) if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size if path.exists() else 0
