"""The record of one answered row: what is kept of every prediction, and its columns in the lake."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loopwright.features.lookup import LookupResult

Cell: TypeAlias = float | int | str | bool | None


class PredictionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row that was asked for and answered, or failed.

    Attributes:
        prediction_id: UUIDv7, returned to the caller; a shadow's record has the id of the answer it shadows.
        request_id: Groups the rows of one request.
        ts_us: When the request was accepted, microseconds since 1970 UTC.
        model: Name of the model.
        version: Number of the version that computed the answer.
        route: ``champion``, ``canary``, ``pinned`` or ``shadow``.
        experiment: Release and step (``<release id>/<step>``) that this traffic belongs to, or None.
        propensity: Probability with which the unit was sent this way.
        unit_hash: The unit's salted place in [0, 2^63).
        key: The caller's key of the row, or None.
        features: The features as served, a JSON object; empty where payloads are not kept.
        output_number: The answer as a number, where it is one.
        output_text: The class as text, for classifiers; several named outputs as a JSON object.
        probabilities: Class probabilities in the model's class order, or None.
        latency_us: From acceptance to answer, microseconds.
        batch_rows: Rows computed in the same call.
        status: HTTP status of the request, 200 for an answer.
        error_class: Name of the error, or None.
        unfound: The feature views for which the online store had no value for this row, separated by commas; behind a
            name ``:expired`` where there was one past its time to live. None where all were found.
    """

    prediction_id: str
    request_id: str
    ts_us: int
    model: str
    version: int
    route: str
    experiment: str | None
    propensity: float
    unit_hash: int
    key: str | None
    features: str
    output_number: float | None
    output_text: str | None
    probabilities: list[float] | None
    latency_us: int
    batch_rows: int
    status: int
    error_class: str | None
    unfound: str | None = None


PREDICTION_SCHEMA = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("request_id", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("model", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("route", pa.string()),
        pa.field("experiment", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("unit_hash", pa.int64()),
        pa.field("key", pa.string()),
        pa.field("features", pa.string()),
        pa.field("output_number", pa.float64()),
        pa.field("output_text", pa.string()),
        pa.field("probabilities", pa.list_(pa.float64())),
        pa.field("latency_us", pa.int64()),
        pa.field("batch_rows", pa.int64()),
        pa.field("status", pa.int64()),
        pa.field("error_class", pa.string()),
        pa.field("unfound", pa.string()),
    ]
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[PredictionRecord])


def encode_records(records: list[PredictionRecord]) -> bytes:
    """Pack the records of one request into a frame's payload."""
    return _encoder.encode(records)


def decode_records(payload: bytes) -> list[PredictionRecord]:
    """Read a frame's payload back."""
    return _decoder.decode(payload)


def to_table(records: Iterable[PredictionRecord]) -> pa.Table:
    """Lay records out as the lake's columns (`PREDICTION_SCHEMA`)."""
    columns = list(zip(*map(msgspec.structs.astuple, records), strict=True)) or [()] * len(PREDICTION_SCHEMA)
    arrays = [
        pa.array(values, type=field.type) for field, values in zip(PREDICTION_SCHEMA, columns, strict=True)
    ]  # the fields of a record are in the order of the columns
    return pa.Table.from_arrays(arrays, schema=PREDICTION_SCHEMA)


def _plain(value: object) -> object:
    """Turn what JSON has no form for into what it has: arrays to lists, NumPy's scalars to Python's, others to text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)


_json = msgspec.json.Encoder(enc_hook=_plain)


def features_json(features: Mapping[str, object]) -> str:
    """Write features as served (plain values, by name) as a JSON object; missing values (None, NaN) are null.

    >>> features_json({"distance_km": 3.5, "city": "Oslo", "pace": float("nan")})
    '{"distance_km":3.5,"city":"Oslo","pace":null}'
    """
    return _json.encode(features).decode()


def unfound_views(lookups: Sequence[LookupResult], rows: int) -> list[str | None]:
    """Return, for each row of a request, the views for which nothing was found, as the record has them."""
    found: list[str | None] = [None] * rows
    for lookup in lookups:
        for places, name in ((lookup.missing, lookup.view), (lookup.expired, f"{lookup.view}:expired")):
            for place in places:
                before = found[place]
                found[place] = name if before is None else f"{before},{name}"
    return found


def output_cells(value: object, *, classifies: bool) -> tuple[float | None, str | None]:
    """Split an answer into its number and its text: a class, or several named outputs as a JSON object.

    >>> output_cells(7, classifies=True), output_cells(3.5, classifies=False), output_cells("cat", classifies=True)
    ((7.0, '7'), (3.5, None), (None, 'cat'))
    """
    if isinstance(value, dict):
        return None, features_json(value)
    number = float(value) if isinstance(value, bool | int | float) else None
    if number is not None and not math.isfinite(number):
        number = None
    return number, str(value) if classifies else None
