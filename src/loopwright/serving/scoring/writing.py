"""Commits a part: its rejects, its records of the prediction log, its answers, each exactly once, in this order.

A table of the lake takes each under the part's transaction, so that doing it again adds nothing. A folder has one file
per part, written beside it and moved into its place: doing it again replaces it by the same rows.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Protocol, assert_never

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from loopwright.core.errors import StoreFullError, UsageError
from loopwright.core.storage.parquet import synced
from loopwright.serving.scoring.destination import Folder, LakeTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopwright.core.storage.tables import TableStore
    from loopwright.serving.scoring.destination import Destination
    from loopwright.serving.scoring.job import PartCounts, ScoreJob, ScorePart

JOB_FILE = "_job.json"
MANIFEST = "_manifest.json"
_FULL_DISK = {28, 122, 27}  # ENOSPC, EDQUOT, EFBIG


def part_transaction(job: ScoreJob, part: ScorePart) -> tuple[str, int]:
    """Return the transaction under which a part's rows are in a table."""
    return f"score:{job.id}:{part.number}", 1


class PartWriter(Protocol):
    """Where the answers of parts go."""

    def begin(self, job: ScoreJob) -> None:
        """Make sure that the destination can take the job.

        Raises:
            UsageError: If something else is there.
        """
        ...

    def rejects(self, job: ScoreJob, part: ScorePart, rows: pa.Table) -> None:
        """Commit the rows of a part that cannot be scored."""
        ...

    def answers(self, job: ScoreJob, part: ScorePart, rows: pa.Table) -> None:
        """Commit the answers of a part."""
        ...

    def finish(self, job: ScoreJob, parts: Sequence[ScorePart], counts: dict[int, PartCounts]) -> None:
        """Close the destination once all parts are committed."""
        ...


class LakeWriter:
    """Writes into tables of the lake.

    Args:
        destination: Which.
        tables: The lake.
    """

    def __init__(self, destination: LakeTable, tables: TableStore) -> None:
        self._to = destination
        self._tables = tables

    def begin(self, job: ScoreJob) -> None:
        """Nothing has to be made ready."""

    def rejects(self, job: ScoreJob, part: ScorePart, rows: pa.Table) -> None:
        """Append to the table of rejects."""
        self._tables.append(self._to.rejects, rows, transaction=part_transaction(job, part))

    def answers(self, job: ScoreJob, part: ScorePart, rows: pa.Table) -> None:
        """Append to the table of scores."""
        self._tables.append(self._to.table, rows, transaction=part_transaction(job, part))

    def finish(self, job: ScoreJob, parts: Sequence[ScorePart], counts: dict[int, PartCounts]) -> None:
        """Nothing is left to be done."""


class FolderWriter:
    """Writes files: ``part-00000.parquet`` and, where there are any, ``rejects-00000.parquet``; or CSV.

    ``_job.json`` says whose the folder is from the start, ``_manifest.json`` names the files at the end: a reader that
    waits for it sees a job that is done.
    """

    def __init__(self, destination: Folder) -> None:
        self._folder = destination.path
        self._format = destination.format

    def begin(self, job: ScoreJob) -> None:
        """Make the folder this job's.

        Raises:
            UsageError: If it holds something else.
        """
        if self._folder.exists() and not self._folder.is_dir():
            raise UsageError(f"{self._folder} is a file.", hint="Name a folder.")
        mark = self._folder / JOB_FILE
        if mark.is_file():
            other = json.loads(mark.read_text(encoding="utf-8")).get("job_id")
            if other != job.id:
                raise UsageError(
                    f"{self._folder} holds the answers of another job ({other}).",
                    hint="Name another folder, or remove this one.",
                )
            return
        if self._folder.is_dir() and any(self._folder.iterdir()):
            raise UsageError(f"{self._folder} is not empty.", hint="Name a folder that is empty or not there yet.")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._put(JOB_FILE, json.dumps({"job_id": job.id, "model": job.model, "version": job.version}))

    def rejects(self, job: ScoreJob, part: ScorePart, rows: pa.Table) -> None:  # noqa: ARG002 - the folder is a job's
        """Write the file of a part's rejects."""
        self._table(self._name("rejects", part), rows)

    def answers(self, job: ScoreJob, part: ScorePart, rows: pa.Table) -> None:  # noqa: ARG002 - as above
        """Write the file of a part's answers."""
        self._table(self._name("part", part), rows)

    def finish(self, job: ScoreJob, parts: Sequence[ScorePart], counts: dict[int, PartCounts]) -> None:
        """Write the manifest, and remove what killed workers left half-written."""
        for left in self._folder.glob(".*.tmp"):
            left.unlink(missing_ok=True)
        files = []
        for part in parts:
            done = counts[part.number]
            for kind, rows in (("part", done.scored), ("rejects", done.rejected)):
                if rows:
                    path = self._folder / self._name(kind, part)
                    files.append({"name": path.name, "rows": rows, "bytes": path.stat().st_size})
        manifest = {
            "job_id": job.id,
            "model": job.model,
            "version": job.version,
            "scored_at": job.at.isoformat(),
            "rows": job.rows,
            "scored": sum(one.scored for one in counts.values()),
            "rejected": sum(one.rejected for one in counts.values()),
            "files": files,
        }
        self._put(MANIFEST, json.dumps(manifest, indent=2))

    def _name(self, kind: str, part: ScorePart) -> str:
        return f"{kind}-{part.number:05d}.{self._format}"

    def _table(self, name: str, rows: pa.Table) -> None:
        unborn = self._folder / f".{name}.{os.getpid()}.tmp"
        try:
            if self._format == "parquet":
                pq.write_table(rows, unborn, compression="zstd", row_group_size=122_880)
            else:
                pyarrow.csv.write_csv(rows, unborn)
        except pa.ArrowException as error:
            unborn.unlink(missing_ok=True)
            said = str(error).splitlines()[0]
            raise UsageError(f"The answers cannot be written as {self._format}: {said}", hint="Use parquet.") from error
        except OSError as error:
            unborn.unlink(missing_ok=True)
            if error.errno in _FULL_DISK:
                raise StoreFullError(
                    f"There is no space left in {self._folder}.", hint="Free some, run again."
                ) from error
            raise
        self._move(unborn, name)

    def _put(self, name: str, text: str) -> None:
        unborn = self._folder / f".{name}.{os.getpid()}.tmp"
        unborn.write_text(text, encoding="utf-8")
        self._move(unborn, name)

    def _move(self, unborn: Path, name: str) -> None:
        synced(unborn)
        unborn.replace(self._folder / name)
        synced(self._folder)


def writer_of(destination: Destination, tables: TableStore) -> PartWriter:
    """Return what writes to a destination."""
    match destination:
        case LakeTable():
            return LakeWriter(destination, tables)
        case Folder():
            return FolderWriter(destination)
        case _:
            assert_never(destination)
