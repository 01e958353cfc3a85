"""Merges a table's small files, a bounded number at a time, so that reads stay quick after many small commits.

Files are merged with others of about their size: single commits of some thousand rows first, what became of these
later. So each row is written again once per step, and one call never takes long. Only files that follow on one another
are merged, so that rows stay in the order of their commits. A merge is a commit that says of
itself that it changed no data: the new file comes and the merged ones go, in one step or not at all. The merged files
stay on disk for older versions, until a vacuum. Whatever another writer commits meanwhile stays; where it took one of
the merged files away, the merge is given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa

from loopwright.core.storage.commits import note_texts
from loopwright.core.storage.parquet import ParquetFiles, described, is_flat, read_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopwright.core.clock import Clock
    from loopwright.core.storage.parquet import ParquetFile
    from loopwright.core.storage.table_handle import TableHandle
    from loopwright.core.storage.table_state import Action, TableState

_STEPS = ((16_384, 64), (262_144, 32))  # files of fewer rows than this, and how many larger than the step before's
_MOST_ROWS = 524_288  # of one merge
_LARGE_BYTES = 32 << 20  # a file of this size is left as it is
_END = ((0, ""), 1 << 62)


def unobserved(stage: str) -> None:
    """Take no notice."""
    del stage


class TableCompaction:
    """Compact one table of a local store; hold the handle's lock, and keep away who replaces its files.

    Args:
        handle: the open table.
        folder: the table's folder.
        clock: where commit times come from.
        on_stage: told ``merged`` when the new file is there, and ``compacted`` after the commit.
    """

    def __init__(
        self, handle: TableHandle, folder: Path, clock: Clock, on_stage: Callable[[str], None] = unobserved
    ) -> None:
        self._handle = handle
        self._folder = folder
        self._clock = clock
        self._on_stage = on_stage

    def step(self, *, is_final: bool = False) -> int:
        """Merge once, and return how many files went; 0 where there is nothing to do.

        Args:
            is_final: merge however few files there are, as when nothing will be added for a long time.
        """
        state = self._handle.state()
        if state is None or not is_flat(state.schema):
            return 0
        least = 0
        for most, count in _STEPS:
            chosen = self._chosen(state, 0 if is_final else least, most, 2 if is_final else count)
            least = most
            if chosen:
                return self._merge(state, chosen)
        return 0

    def _chosen(self, state: TableState, least: int, most: int, count: int) -> list[str]:
        """Choose files that follow on one another, the oldest such, as many as one merge may have.

        Each has below ``most`` rows, and ``count`` of those that follow on one another have ``least`` or more.
        """
        run: list[tuple[str, int]] = []
        for (_, path), rows in [*sorted(((time, path), rows) for path, (time, rows) in state.files.items()), _END]:
            if rows < most:
                run.append((path, rows))
                continue
            if sum(rows >= least for _, rows in run) >= count:
                break
            run.clear()
        while run and run[-1][1] < least:  # commits of late, whose turn comes when they are as many
            run.pop()
        chosen, total = [], 0
        for path, rows in run:
            if total + rows > _MOST_ROWS:
                break
            chosen.append(path)
            total += rows
        return chosen if len(chosen) > 1 else []

    def _merge(self, state: TableState, chosen: list[str]) -> int:
        paths = state.paths(self._folder)
        old = [described(paths[name]) for name in chosen]
        size = 0
        kept: list[tuple[str, ParquetFile]] = []
        for name, file in zip(chosen, old, strict=True):
            size += file.size_bytes
            if size > _LARGE_BYTES and len(kept) > 1:
                break
            kept.append((name, file))
        writer = ParquetFiles(self._folder, f"part-{state.version + 1:010d}-{uuid4()}", state.schema)
        try:
            for batch in read_files([file for _, file in kept], state.schema):
                writer.write(pa.Table.from_batches([batch]))
            new = writer.close()
            self._on_stage("merged")
        except BaseException:
            writer.abandon()
            raise
        removed = {name: file.size_bytes for name, file in kept}
        time = max(state.files[name][0] for name in removed)
        if self._handle.replace_files(removed, lambda: self._actions(removed, new, time)) is None:
            writer.abandon()
            return 0
        self._on_stage("compacted")
        return len(removed)

    def _actions(self, removed: dict[str, int], new: list[ParquetFile], time: int) -> list[Action]:
        now = self._clock.now()
        at_ms = int(now.timestamp() * 1000)
        info: dict[str, object] = {
            "timestamp": at_ms,
            "operation": "OPTIMIZE",
            "operationMetrics": {"numFilesAdded": len(new), "numFilesRemoved": len(removed)},
            "engineInfo": "loopwright",
        }
        actions: list[Action] = [{"commitInfo": info | dict(note_texts(now))}]
        for name, size in removed.items():
            gone: dict[str, object] = {"path": name, "deletionTimestamp": at_ms, "dataChange": False, "size": size}
            actions.append({"remove": gone | {"extendedFileMetadata": True, "partitionValues": {}}})
        for file in new:
            came: dict[str, object] = {"path": file.path.name, "partitionValues": {}, "size": file.size_bytes}
            actions.append({"add": came | {"modificationTime": time, "dataChange": False, "stats": file.stats}})
        return actions
