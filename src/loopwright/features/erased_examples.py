"""Takes erased rows out of training sets: both files of each are written again without them, under the same name.

A training set is called by what it was made of, not by its bytes: models, runs and evaluations that name it go on to,
and training again learns from what is left. What is replaced is put on record before, so that a killed erasure deletes
it when it is done again. Training sets in the trash that have such rows are deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from loopwright.core.storage.trash import Trash
from loopwright.features.split import KEY
from loopwright.features.training_set import TrainingSetRecord, folder_of, list_records, training_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loopwright.core.ref import Ref
    from loopwright.core.storage.stores import Stores

    IsErased = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@dataclass(frozen=True)
class ErasedExamples:
    """What went.

    Attributes:
        rows: Rows of the files.
        closed: The training sets whose examples are the dataset's rows, which have none of the erased ones any more.
    """

    rows: int
    closed: tuple[Ref, ...]


def erase_examples(
    stores: Stores, dataset: str, is_erased: IsErased, *, replacing: Callable[[Sequence[str]], None]
) -> ErasedExamples:
    """Take the examples out of the training sets of a dataset's rows; done again, it is completed.

    Args:
        stores: The stores.
        dataset: Whose rows the examples are.
        is_erased: Says of the examples' keys, as training sets have them, which are erased.
        replacing: Told the blobs that are about to be replaced; the caller deletes them in the end.
    """
    rows = 0
    closed = []
    for record in list_records(stores):
        if record.label_field.source == dataset:
            rows += _rewrite(stores, record, is_erased, replacing)
            closed.append(record.ref)
    trash = Trash(stores)
    for collection, row in trash.rows(training_sets):
        record = TrainingSetRecord.from_json(row["record"])
        if dataset in record.snapshots:
            blobs = (record.train_digest, record.holdout_digest)
            below = str(folder_of(stores, record.digest).relative_to(stores.local))
            trash.forget([below, *(f"blobs/{digest[:2]}/{digest[2:]}" for digest in blobs)])
            trash.forget_row(collection, training_sets, record.digest)
    return ErasedExamples(rows, tuple(closed))


def _rewrite(
    stores: Stores, record: TrainingSetRecord, is_erased: IsErased, replacing: Callable[[Sequence[str]], None]
) -> int:
    new: dict[str, Path] = {}
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    rows = 0
    for part, path in (("train", record.train_path(stores)), ("holdout", record.holdout_path(stores))):
        target = path.with_name(f".{part}.{stores.ids.new()}.tmp")
        gone, left = _without(path, target, is_erased)
        if gone:
            new[part], counts[part], rows = target, left, rows + gone
        else:
            target.unlink()
    if not new:
        return 0
    old = {"train": record.train_digest, "holdout": record.holdout_digest}
    for part, path in new.items():
        digests[part] = stores.blobs.put_file(path)
    replacing([old[part] for part in new if old[part] != digests[part]])
    changed = replace(
        record,
        train_digest=digests.get("train", record.train_digest),
        holdout_digest=digests.get("holdout", record.holdout_digest),
        rows_train=counts.get("train", record.rows_train),
        rows_holdout=counts.get("holdout", record.rows_holdout),
    )
    with stores.facts.write() as connection:
        connection.execute(
            sa.update(training_sets)
            .where(training_sets.c.digest == record.digest)
            .values(record=changed.to_json(), rows_train=changed.rows_train, rows_holdout=changed.rows_holdout)
        )
    for part, path in new.items():
        path.replace(folder_of(stores, record.digest) / f"{part}.arrow")
    return rows


def _without(source: Path, target: Path, is_erased: IsErased) -> tuple[int, int]:
    """Write a file without the erased examples; return how many went, and how many are left."""
    gone = left = 0
    with pa.memory_map(str(source)) as mapped:
        reader = pa.ipc.open_file(mapped)
        with pa.ipc.new_file(str(target), reader.schema) as writer:
            for number in range(reader.num_record_batches):
                batch = pa.Table.from_batches([reader.get_batch(number)])
                kept = batch.filter(pc.invert(is_erased(batch.column(KEY))))
                writer.write_table(kept.combine_chunks())
                gone += batch.num_rows - kept.num_rows
                left += kept.num_rows
    return gone, left
