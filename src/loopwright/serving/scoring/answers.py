"""The answers of some rows as the columns that go to the lake or to files, and those that go to the prediction log."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.errors import UsageError
from loopwright.features.served_struct import served_struct
from loopwright.serving.log.prediction_columns import encode_table, frame_table, records_table
from loopwright.serving.log.prediction_record import unfound_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopwright.evaluation.outputs import Outputs
    from loopwright.features.assembly import Assembled
    from loopwright.serving.scoring.job import ScoreJob
    from loopwright.serving.scoring.row_columns import Fault

ROUTE = "batch"
ROW = "row"
PREDICTION = "prediction"
PREDICTION_ID = "prediction_id"
OWN = frozenset({ROW, PREDICTION, PREDICTION_ID, "model", "version", "scored_at", "job_id"})
_PROBABILITY = "probability_"
_MOMENT = pa.timestamp("us", tz="UTC")
REJECT_SCHEMA = pa.schema(
    [
        pa.field("job_id", pa.string()),
        pa.field(ROW, pa.int64()),
        pa.field("source", pa.string()),
        pa.field("source_row", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("field", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("scored_at", _MOMENT),
    ]
)


def check_names(handed_on: Sequence[str]) -> None:
    """Refuse columns whose names the answers' own columns have.

    Raises:
        UsageError: As above.
    """
    taken = [name for name in handed_on if name in OWN or name.startswith(_PROBABILITY)]
    if taken:
        raise UsageError(
            f"The answers have a column '{taken[0]}' of their own, and the rows' cannot be handed on beside it.",
            hint="Name other columns with --columns and --key, or rename it in a query.",
        )


def prediction_ids(job_id: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    """Return the ids of a job's predictions, UUIDs of version 7: the job's time and salt, and the number of the row.

    Scoring a row again gives its id again, and ids sort as rows do.

    >>> prediction_ids("01900000-0000-7abc-8def-0123456789ab", np.array([0, 17])).to_pylist()
    ['01900000-0000-7abc-8def-000000000000', '01900000-0000-7abc-8def-000000000011']
    """
    digits = np.frombuffer(rows.astype(">u8").tobytes().hex().encode(), dtype=np.uint8).reshape(-1, 16)
    texts = np.empty((len(rows), 36), dtype=np.uint8)
    texts[:, :24] = np.frombuffer(job_id[:24].encode(), dtype=np.uint8)
    texts[:, 24:] = digits[:, 4:]
    offsets = np.arange(0, 36 * (len(rows) + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(texts))


def key_texts(batch: pa.RecordBatch, key: Sequence[str]) -> pa.Array:
    """Write the key of each row as one text, as the prediction log has it: ``7|Oslo``; null without a key."""
    there = [name for name in key if name in batch.schema.names]
    if not there or len(there) < len(key):
        return pa.nulls(batch.num_rows, pa.string())
    parts = [batch.column(name).cast(pa.string()) for name in there]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "|")


def answer_table(
    job: ScoreJob,
    batch: pa.RecordBatch,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    outputs: Outputs,
    *,
    handed_on: Sequence[str],
    with_ids: bool,
) -> pa.Table:
    """Lay answers out: what is handed on of each row, its number, the prediction, probabilities, and who answered.

    Args:
        job: The job.
        batch: The rows that were scored.
        rows: Their numbers in the job.
        outputs: Their answers.
        handed_on: Columns of ``batch`` to keep.
        with_ids: Whether the answers are in the prediction log too, under these ids.
    """
    count = batch.num_rows
    columns: dict[str, pa.Array] = {}
    for name in handed_on:
        if name in batch.schema.names:
            column = batch.column(name)
            columns[name] = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    columns[ROW] = pa.array(rows)
    if with_ids:
        columns[PREDICTION_ID] = prediction_ids(job.id, rows)
    columns[PREDICTION] = pa.array(outputs.values)
    if outputs.probabilities is not None:
        for place, label in enumerate(cast("tuple[object, ...]", outputs.classes)):
            columns[f"{_PROBABILITY}{label}"] = pa.array(np.ascontiguousarray(outputs.probabilities[:, place]))
    columns["model"] = pa.repeat(pa.scalar(job.model), count)
    columns["version"] = pa.repeat(pa.scalar(job.version, pa.int64()), count)
    columns["scored_at"] = pa.repeat(pa.scalar(job.at, _MOMENT), count)
    columns["job_id"] = pa.repeat(pa.scalar(job.id), count)
    return pa.table(columns)


def log_table(
    job: ScoreJob,
    batch: pa.RecordBatch,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    assembled: Assembled,
    outputs: Outputs,
    *,
    key: Sequence[str],
    with_features: bool,
    latency_us: int,
) -> pa.Table:
    """Lay answers out as the prediction log has them, with the route ``batch``."""
    features = served_struct(assembled.columns, assembled.fields) if with_features else None
    table = records_table(
        prediction_ids=prediction_ids(job.id, rows),
        request_id=job.id,
        ts_us=round(job.at.timestamp() * 1_000_000),
        model=job.model,
        version=job.version,
        route=ROUTE,
        experiment=None,
        propensity=1.0,
        unit_hash=0,
        latency_us=latency_us,
        keys=key_texts(batch, key).to_pylist() if key else None,
        features=features,
        values=outputs.values,
        classifies=outputs.kind != "regression",
        probabilities=outputs.probabilities,
        unfound=unfound_views(assembled.lookups, batch.num_rows) if assembled.lookups else None,
    )
    return frame_table(encode_table(table))


def reject_table(
    job: ScoreJob,
    source: str,
    batch: pa.RecordBatch,
    first_row: int,
    faults: dict[int, Fault],
    key: Sequence[str],
) -> pa.Table:
    """Lay rows out that cannot be scored: where each lies, its key, and why.

    Args:
        job: The job.
        source: What people know the rows by.
        batch: All rows of the batch.
        first_row: The number in the job of the batch's first row.
        faults: Which of them, by place.
        key: The columns that name a row.
    """
    places = sorted(faults)
    bad = batch.take(pa.array(places))
    names = set(batch.schema.names)
    sources = bad.column("_source").cast(pa.string()) if "_source" in names else pa.repeat(source, len(places))
    numbers = [first_row + place for place in places]
    of_source = bad.column("_source_row").cast(pa.int64()) if "_source_row" in names else pa.array(numbers)
    columns = [
        pa.repeat(pa.scalar(job.id), len(places)),
        pa.array(numbers, pa.int64()),
        sources,
        of_source,
        key_texts(bad, key),
        pa.array([faults[place].field for place in places], pa.string()),
        pa.array([faults[place].reason for place in places], pa.string()),
        pa.repeat(pa.scalar(job.at, _MOMENT), len(places)),
    ]
    return pa.Table.from_arrays(columns, schema=REJECT_SCHEMA)
