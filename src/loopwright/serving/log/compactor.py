"""From segments to the lake: every frame becomes rows of the Delta table ``predictions/<model>``, exactly once.

Each append names the transaction ``(segment, end offset)``: what a killed compactor had committed is skipped by the
next, what it had not is read again. A segment is deleted when its writer is gone and its last whole frame is in the
lake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.storage.duck import connect
from loopwright.core.storage.file_lock import FileLock
from loopwright.core.storage.table_purge import purge_rows, values_where
from loopwright.serving.log.prediction_columns import frame_table, is_columnar
from loopwright.serving.log.prediction_log import SEGMENT_SUFFIX, segments_folder
from loopwright.serving.log.prediction_record import PREDICTION_SCHEMA, decode_records, to_table
from loopwright.serving.log.segment import is_finished, read_frames
from loopwright.serving.log.stream_records import has_records, move_to_lake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from loopwright.core.storage.stores import Stores
    from loopwright.serving.log.prediction_record import PredictionRecord

_ROWS_PER_COMMIT = 200_000
_BYTES_PER_COMMIT = 96 << 20  # of frames, whose rows take about as much in memory as columns
_RECORDS_AT_ONCE = 8_192  # records are several times as large in memory as columns
_TORN_SUFFIX = ".torn"
_COMMITS_PER_COMPACTION = 64


@dataclass(frozen=True)
class CompactionReport:
    """What one pass moved: rows into the lake, finished segments deleted."""

    rows: int
    segments_deleted: int


class PendingRows:
    """The rows of frames that are to become one commit, in the order of the frames, whatever their kind."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._records: list[PredictionRecord] = []
        self._rows = self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Tell whether they are enough for a commit."""
        return self._rows >= _ROWS_PER_COMMIT or self._bytes >= _BYTES_PER_COMMIT

    def add(self, payload: bytes) -> None:
        """Take a frame in."""
        before = len(self._records)
        self._bytes += len(payload)
        if is_columnar(payload):
            self._lay_out()
            self._tables.append(frame_table(payload))
            self._rows += self._tables[-1].num_rows
            return
        self._records += decode_records(payload)
        self._rows += len(self._records) - before
        if len(self._records) >= _RECORDS_AT_ONCE:
            self._lay_out()

    def taken(self) -> pa.Table:
        """Return the rows, and begin anew."""
        self._lay_out()
        tables, self._tables = self._tables, []
        self._rows = self._bytes = 0
        return pa.concat_tables([PREDICTION_SCHEMA.empty_table(), *tables])

    def _lay_out(self) -> None:
        if self._records:
            self._tables.append(to_table(self._records))
            self._records = []


def predictions_table(model: str) -> str:
    """Return the name of a model's table of predictions in the lake."""
    return f"predictions/{model}"


class PredictionTable:
    """Read a model's predictions, and bring what the servers have logged into the lake first.

    Any number of processes may call ``compact``; one works at a time on each machine, the others wait for it.
    """

    def __init__(self, stores: Stores, model: str) -> None:
        self.stores = stores
        self.model = model
        self.table = predictions_table(model)
        self._folder = segments_folder(stores.local, model)

    def compact(self) -> CompactionReport:
        """Move every whole frame that is not in the lake yet."""
        if not self._folder.is_dir() and not has_records(self.stores, self.model):
            return CompactionReport(0, 0)
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = deleted = 0
        with FileLock(self._folder / ".compaction.lock").hold():
            for path in sorted(self._folder.glob(f"*{SEGMENT_SUFFIX}")):
                finished = is_finished(path)  # before reading: what is read then is all there will ever be
                rows += self._consume(path)
                if finished:
                    self._put_away(path)
                    deleted += 1
            rows += move_to_lake(self.stores, self.model, self.table)
        if rows:
            self._merge_files()
        return CompactionReport(rows, deleted)

    def _merge_files(self) -> None:
        """Keep reads quick: small files become larger ones with their neighbours, so that rows stay in order."""
        tables = self.stores.tables
        if tables.location.folder is not None:
            tables.tidy(self.table)
        elif tables.version(self.table) % _COMMITS_PER_COMPACTION == _COMMITS_PER_COMPACTION - 1:
            tables.compact(self.table)

    def _consume(self, path: Path) -> int:
        """Commit what is new in a segment, in commits of a bounded size, and return the rows."""
        tables = self.stores.tables
        done = (tables.transaction(self.table, path.name) or 0) if tables.exists(self.table) else 0
        total = 0
        pending = PendingRows()
        for frame in read_frames(path, after=done):
            pending.add(frame.payload)
            if pending.is_full:
                total += self._commit(path, pending.taken(), frame.end)
            done = frame.end
        return total + self._commit(path, pending.taken(), done)

    def _put_away(self, path: Path) -> None:
        """Delete a segment that is wholly in the lake; one with bytes after its last whole frame is kept aside."""
        done = self.stores.tables.transaction(self.table, path.name) if self.stores.tables.exists(self.table) else 0
        if path.stat().st_size > (done or 0):
            path.rename(path.with_suffix(_TORN_SUFFIX))
        else:
            path.unlink()

    def _commit(self, path: Path, rows: pa.Table, end: int) -> int:
        if rows.num_rows:
            self.stores.tables.append(self.table, rows, transaction=(path.name, end))
        return int(rows.num_rows)

    def exists(self) -> bool:
        """Return whether any prediction has reached the lake."""
        return self.stores.tables.exists(self.table)

    def read(self, *, where: str | None = None, columns: list[str] | None = None) -> pa.Table:
        """Compact, then return predictions (`PREDICTION_SCHEMA`), those that ``where`` (SQL over the columns) keeps."""
        self.compact()
        if not self.stores.tables.exists(self.table):
            empty = PREDICTION_SCHEMA.empty_table()
            return empty if columns is None else empty.select(columns)
        return self.stores.tables.read(self.table, columns=columns, where=where)

    def scan_sql(self) -> str:
        """Return a DuckDB SELECT over what is in the lake now; call ``compact`` first for what was just served."""
        return self.stores.tables.scan_sql(self.table)

    def erase(self, condition: str, scratch: Path, before: Callable[[set[str]], None]) -> int:
        """Take predictions out of every version for good and return how many rows went; done again, it is completed.

        Args:
            condition: DuckDB SQL over `PREDICTION_SCHEMA`: which.
            scratch: A folder for copies.
            before: Told their ids while they are still there, to erase what only they lead to.
        """
        self.compact()
        if not self.exists():
            return 0
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / ".compaction.lock").hold(), connect() as con:
            before(values_where(con, self.stores.tables, self.table, condition, "prediction_id", scratch))
            return purge_rows(con, self.stores.tables, self.table, condition, scratch)

    def open_segments(self) -> list[str]:
        """Return the names of the log segments that a server still writes to; what they hold is in the lake as well."""
        paths = sorted(self._folder.glob(f"*{SEGMENT_SUFFIX}")) if self._folder.is_dir() else []
        return [path.name for path in paths if path.stat().st_size]

    def find(self, prediction_id: str) -> list[dict[str, object]]:
        """Return the records of one prediction: the answer's first, then its shadows; empty when there is none."""
        quoted = prediction_id.replace("'", "''")
        found: list[dict[str, object]] = self.read(where=f"prediction_id = '{quoted}'").to_pylist()
        return sorted(found, key=lambda record: record["route"] == "shadow")


def find_prediction(stores: Stores, prediction_id: str, *, models: Iterable[str]) -> list[dict[str, object]]:
    """Look for a prediction among models; empty when none of them made it."""
    for model in models:
        if found := PredictionTable(stores, model).find(prediction_id):
            return found
    return []
