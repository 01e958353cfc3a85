"""Rows cut into parts: row groups of Parquet files in the order of the rows, the same whenever they are planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from loopwright.core.errors import SourceError
from loopwright.serving.scoring.job import RowSlice, ScorePart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from loopwright.serving.scoring.staging import RowFile


def plan_parts(files: Sequence[RowFile], part_rows: int) -> list[ScorePart]:
    """Cut files into parts of about ``part_rows`` rows.

    Small row groups, and small files, are put together; large groups are cut, and the parts after the first read past
    the rows before them.
    """
    parts: list[ScorePart] = []
    held: list[RowSlice] = []
    rows = done = 0

    def end() -> None:
        nonlocal rows, done
        if held:
            parts.append(ScorePart(len(parts), tuple(held), done))
            done += rows
            held.clear()
            rows = 0

    for file in files:
        with pq.ParquetFile(file.path) as opened:
            sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.metadata.num_row_groups)]
        stamp = _stamp(file.path)
        for group, size in enumerate(sizes):
            pieces = 1 if size <= part_rows * 3 // 2 else -(-size // part_rows)
            for piece in range(pieces):
                skip, stop = size * piece // pieces, size * (piece + 1) // pieces
                if rows + stop - skip > part_rows:
                    end()
                before = held[-1] if held else None
                if before is not None and before.path == str(file.path) and pieces == 1 and before.groups[1] == group:
                    held[-1] = replace(before, groups=(before.groups[0], group + 1), rows=before.rows + size)
                elif stop > skip:
                    held.append(RowSlice(str(file.path), file.source, (group, group + 1), skip, stop - skip, stamp))
                rows += stop - skip
    end()
    return parts


def read_slice(rows: RowSlice, columns: Sequence[str], *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Give rows in their order, those of ``columns`` that their file has, at most ``batch_rows`` at a time.

    Raises:
        SourceError: If the file is another one than when the job was planned.
    """
    path = Path(rows.path)
    if not path.is_file() or _stamp(path) != rows.stamp:
        state = "changed" if path.is_file() else "went away"
        raise SourceError(
            f"{rows.source} {state} since the job was planned.", hint="Give the job up (loopwright score cancel)."
        )
    with pq.ParquetFile(path, pre_buffer=False) as file:
        there = set(file.schema_arrow.names)
        kept = [name for name in dict.fromkeys(columns) if name in there]
        if not kept:
            kept = file.schema_arrow.names[:1]  # rows are counted by some column
        skip, left = rows.skip, rows.rows
        for batch in file.iter_batches(batch_rows, row_groups=range(*rows.groups), columns=kept, use_threads=False):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            found = batch.slice(skip, left)
            skip = 0
            left -= found.num_rows
            yield found
            if not left:
                return


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
