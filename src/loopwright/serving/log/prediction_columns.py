"""The records of a large request as columns, and what a frame of the log holds.

One row costs a record (`loopwright.serving.log.prediction_record`); thousands of rows at once are laid out as one Arrow
table and logged as Arrow's stream format, which costs a fraction of a microsecond per row. Both kinds of frames are
told apart by their first byte and read by `frame_table`: a list of records never begins with the byte 0xFF with which
every Arrow stream does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.storage.duck import borrowed, quote_name, to_arrow
from loopwright.serving.log.prediction_record import (
    PREDICTION_SCHEMA,
    decode_records,
    features_json,
    output_cells,
    to_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COLUMNAR_ROWS = 64
"""From so many rows on a request is cheaper to log as a table than as records."""
_ARROW_STREAM = 0xFF
_FEATURES = PREDICTION_SCHEMA.get_field_index("features")


def records_table(  # noqa: D417 - the others are those of PredictionRecord
    *,
    prediction_ids: Sequence[str] | pa.Array,
    request_id: str,
    ts_us: int,
    model: str,
    version: int,
    route: str,
    experiment: str | None,
    propensity: float,
    unit_hash: int,
    latency_us: int,
    keys: Sequence[str | None] | None = None,
    features: pa.StructArray | Sequence[str] | None = None,
    values: Sequence[object] | NDArray[np.generic] | None = None,
    classifies: bool = False,
    probabilities: Sequence[Sequence[float]] | NDArray[np.floating] | None = None,
    batch_rows: int | None = None,
    status: int = 200,
    error_class: str | None = None,
    unfound: Sequence[str | None] | None = None,
) -> pa.Table:
    """Lay the rows of one request out for `PredictionLog.write_table`; use it from `COLUMNAR_ROWS` rows on.

    What the rows share is given once; the other arguments have one entry per row, n in all. The arguments are the
    attributes of `PredictionRecord`, with two differences: ``values`` are the answers as the model gave them (shape
    (n,)), and ``features`` may be columns::

        table = records_table(
            prediction_ids=ids,
            request_id=ids[0],
            ts_us=at_us,
            model="eta",
            version=3,
            route="champion",
            experiment=None,
            propensity=1.0,
            unit_hash=unit,
            latency_us=870,
            features=served_struct(assembled.columns, assembled.fields),  # None where payloads are not kept
            values=answers.values,
            classifies=answers.classifies,
            probabilities=answers.probabilities,
        )
        log.write_table(table)

    Args:
        prediction_ids: `Ids.many` makes them.
        features: A structure as `loopwright.features.served_struct.served_struct` makes it, JSON texts, or None.
        values: None where the rows failed; ``status`` and ``error_class`` then say how.
        probabilities: Shape (n, classes).
        batch_rows: Rows computed in the same call; n by default.

    >>> table = records_table(
    ...     prediction_ids=["a", "b"],
    ...     request_id="r",
    ...     ts_us=0,
    ...     model="m",
    ...     version=1,
    ...     route="champion",
    ...     experiment=None,
    ...     propensity=1.0,
    ...     unit_hash=7,
    ...     latency_us=90,
    ...     values=[1.5, 2.5],
    ... )
    >>> table.num_rows, table["output_number"].to_pylist()
    (2, [1.5, 2.5])
    """
    rows = len(prediction_ids)
    numbers, texts = _outputs(values, rows, classifies=classifies)
    columns: dict[str, object] = {
        "prediction_id": prediction_ids,
        "request_id": request_id,
        "at": ts_us,
        "model": model,
        "version": version,
        "route": route,
        "experiment": experiment,
        "propensity": propensity,
        "unit_hash": unit_hash,
        "output_number": numbers,
        "output_text": texts,
        "probabilities": _lists(probabilities),
        "latency_us": latency_us,
        "batch_rows": rows if batch_rows is None else batch_rows,
        "status": status,
        "error_class": error_class,
        "key": _per_row(keys),
        "unfound": _per_row(unfound),
        "features": "" if features is None else features,
    }
    arrays = [_column(columns[field.name], field.type, rows) for field in PREDICTION_SCHEMA]
    schema = PREDICTION_SCHEMA.set(_FEATURES, pa.field("features", arrays[_FEATURES].type))
    return pa.Table.from_arrays(arrays, schema=schema)


def encode_table(table: pa.Table) -> pa.Buffer:
    """Pack the rows of one request into a frame's payload."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def is_columnar(payload: bytes) -> bool:
    """Tell whether a frame holds columns, and not a list of records."""
    return payload[0] == _ARROW_STREAM


def frame_table(payload: bytes) -> pa.Table:
    """Read a frame of either kind as the lake's columns (`PREDICTION_SCHEMA`)."""
    if not is_columnar(payload):
        return to_table(decode_records(payload))
    with pa.ipc.open_stream(payload) as reader:
        table = reader.read_all()
    features = table.column(_FEATURES)
    if pa.types.is_struct(features.type):
        texts = _json_texts(pa.table({"features": features}))
        table = table.set_column(_FEATURES, PREDICTION_SCHEMA.field(_FEATURES), texts)
    return table.cast(PREDICTION_SCHEMA)


def _json_texts(features: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Write structures as JSON objects."""
    kind = features.schema.field(0).type
    names = [kind.field(index).name for index in range(kind.num_fields)]
    if len({name.casefold() for name in names}) < len(names) or "" in names:  # SQL does not tell such names apart
        return pa.array([features_json(row) for row in features.column(0).to_pylist()], pa.string())
    with borrowed() as con:
        con.register("frame", features)
        rows = to_arrow(con.sql(f"SELECT to_json({quote_name('features')})::VARCHAR AS features FROM frame"))
    return rows.column(0)


def _outputs(
    values: Sequence[object] | NDArray[np.generic] | None, rows: int, *, classifies: bool
) -> tuple[pa.Array, pa.Array]:
    if values is None:
        return pa.nulls(rows, pa.float64()), pa.nulls(rows, pa.string())
    kinds = {values.dtype.kind} if isinstance(values, np.ndarray) else set(map(type, values))
    if len(kinds) == 1 and kinds <= {int, float, bool, "i", "u", "f", "b"}:
        array = np.asarray(values)
        if array.dtype.kind in "iufb":
            floats = array.astype(np.float64)
            finite = np.isfinite(floats)
            numbers = pa.array(floats) if finite.all() else pa.array(floats, mask=~finite)
            return numbers, _class_texts(array) if classifies else pa.nulls(rows, pa.string())
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    cells = [output_cells(value, classifies=classifies) for value in plain]
    return pa.array([one[0] for one in cells], pa.float64()), pa.array([one[1] for one in cells], pa.string())


def _class_texts(values: NDArray[np.generic]) -> pa.Array:
    classes, places = np.unique(values, return_inverse=True)
    return pa.array([str(value) for value in classes.tolist()], pa.string()).take(pa.array(places.ravel()))


def _lists(values: Sequence[Sequence[float]] | NDArray[np.floating] | None) -> object:
    if not isinstance(values, np.ndarray):
        return values
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    width = values.shape[1]
    offsets = np.arange(0, len(flat) + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def _per_row(values: Sequence[str | None] | None) -> pa.Array | None:
    return None if values is None else pa.array(values, pa.string())


def _column(value: object, kind: pa.DataType, rows: int) -> pa.Array:
    if isinstance(value, pa.Array):
        return value
    if value is None:
        return pa.nulls(rows, kind)
    if isinstance(value, str | int | float):
        return pa.repeat(pa.scalar(value, kind), rows)
    return pa.array(value, kind)
