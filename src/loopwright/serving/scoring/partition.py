"""Rows cut into parts: row groups of Parquet files in the order of the rows, the same whenever they are planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from loopwright.core.errors import SourceError
from loopwright.serving.scoring.job import ScorePart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from loopwright.serving.scoring.staging import RowFile


def plan_parts(files: Sequence[RowFile], part_rows: int) -> list[ScorePart]:
    """Cut files into parts of about ``part_rows`` rows.

    Small row groups are put together, within their file; large ones are cut, and the parts after the first read past
    the rows before them.
    """
    parts: list[ScorePart] = []
    done = 0

    def add(file: RowFile, groups: tuple[int, int], skip: int, rows: int) -> None:
        nonlocal done
        stamp = _stamp(file.path)
        parts.append(ScorePart(len(parts), str(file.path), file.source, groups, skip, rows, done, stamp))
        done += rows

    for file in files:
        with pq.ParquetFile(file.path) as opened:
            sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.metadata.num_row_groups)]
        first = held = 0
        for group, size in enumerate(sizes):
            if held and held + size > part_rows:
                add(file, (first, group), 0, held)
                first, held = group, 0
            if size > part_rows * 3 // 2:
                pieces = -(-size // part_rows)
                for piece in range(pieces):
                    skip, end = size * piece // pieces, size * (piece + 1) // pieces
                    add(file, (group, group + 1), skip, end - skip)
                first = group + 1
                continue
            held += size
        if held:
            add(file, (first, len(sizes)), 0, held)
    return parts


def read_part(part: ScorePart, columns: Sequence[str], *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Give a part's rows in their order, those of ``columns`` that its file has, at most ``batch_rows`` at a time.

    Raises:
        SourceError: If the file is another one than when the part was planned.
    """
    path = Path(part.path)
    if not path.is_file() or _stamp(path) != part.stamp:
        state = "changed" if path.is_file() else "went away"
        raise SourceError(
            f"{part.source} {state} since the job was planned.", hint="Give the job up (loopwright score cancel)."
        )
    with pq.ParquetFile(part.path, pre_buffer=False) as file:
        there = set(file.schema_arrow.names)
        kept = [name for name in dict.fromkeys(columns) if name in there]
        if not kept:
            kept = file.schema_arrow.names[:1]  # rows are counted by some column
        skip, left = part.skip, part.rows
        for batch in file.iter_batches(batch_rows, row_groups=range(*part.groups), columns=kept, use_threads=False):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            rows = batch.slice(skip, left)
            skip = 0
            left -= rows.num_rows
            yield rows
            if not left:
                return


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
