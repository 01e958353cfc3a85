"""The features as they were served, read back from the prediction log into one column per watched feature.

The log keeps a JSON object per row. Numbers and classes are one column each. Vectors are watched through four summaries
per row (mean, standard deviation, smallest and largest element): the same four that the log keeps of long vectors, and
the same four that were frozen on the training rows.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.core.storage.duck import borrowed, quote_text, to_arrow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from loopwright.features.field import Field

Summary: TypeAlias = Literal["mean", "std", "min", "max"]
SUMMARIES: Final[tuple[Summary, ...]] = get_args(Summary)


def summarise(vectors: NDArray[np.generic]) -> dict[Summary, NDArray[np.float64]]:
    """Compute the four summaries of each row, each of shape (n,).

    Args:
        vectors: Shape (n, width), width at least 1.

    >>> {name: float(values[0]) for name, values in summarise(np.array([[0.0, 2.0]])).items()}
    {'mean': 1.0, 'std': 1.0, 'min': 0.0, 'max': 2.0}
    """
    numbers = vectors.astype(np.float64, copy=False)
    return {
        "mean": numbers.mean(axis=1),
        "std": numbers.std(axis=1),
        "min": numbers.min(axis=1),
        "max": numbers.max(axis=1),
    }


def is_watched(field: Field) -> bool:
    """Say whether a feature has a distribution to watch: every one but moments in time, which only ever move."""
    return field.dtype != "timestamp"


def is_category(field: Field) -> bool:
    """Say whether a feature is counted by name: classes, text and truth values."""
    return not field.is_vector and field.dtype in {"string", "category", "bool"}


def training_columns(table: pa.Table, fields: Iterable[Field]) -> dict[str, pa.Array]:
    """Lay out a training table as the watched columns: name of a feature, or ``<name>.mean`` and so on for a vector."""
    columns: dict[str, pa.Array] = {}
    for field in fields:
        if is_watched(field):
            values = table.column(field.name).combine_chunks()
            columns |= _vector_columns(field.name, values) if field.is_vector else {field.name: _scalar(field, values)}
    return columns


def served_columns(features: pa.Array | pa.ChunkedArray, fields: Sequence[Field]) -> dict[str, pa.Array]:
    """Read the log's JSON objects into the watched columns, one value per row; a missing or unreadable value is null.

    Args:
        features: Strings, shape (n,); an empty or null one is a row whose features were not kept.
        fields: The model's inputs.
    """
    watched = [field for field in fields if is_watched(field)]
    if not len(features) or not watched:
        return {}
    kinds = {name: kind for field in watched for name, kind in _sql_types(field).items()}
    if len({name.casefold() for name in kinds}) == len(kinds):  # SQL does not tell other names apart
        with suppress(duckdb.Error):
            return _parse(features, kinds)
    return _parse_loosely([text or "{}" for text in features.to_pylist()], watched)


def _parse(features: pa.Array | pa.ChunkedArray, kinds: Mapping[str, str]) -> dict[str, pa.Array]:
    """Parse all rows in one vectorised pass; raises DuckDB's error where a row is not JSON."""
    with borrowed() as con:
        con.register("served", pa.table({"features": features}))
        query = f"SELECT unnest(from_json(nullif(features, ''), {quote_text(json.dumps(kinds))})) FROM served"
        table = to_arrow(con.sql(query))
    return {name: table.column(place).combine_chunks() for place, name in enumerate(kinds)}


def _sql_types(field: Field) -> dict[str, str]:
    if field.is_vector:
        return {f"{field.name}.{summary}": "DOUBLE" for summary in SUMMARIES}
    return {field.name: "VARCHAR" if is_category(field) else "DOUBLE"}


def _scalar(field: Field, values: pa.Array) -> pa.Array:
    if not is_category(field):
        return values.cast(pa.float64())
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string())


def _vector_columns(name: str, values: pa.Array) -> dict[str, pa.Array]:
    """Summarise a list column; an empty or missing vector has missing summaries."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
    flat = np.asarray(values.flatten().cast(pa.float64()))
    found = {summary: np.full(len(values), math.nan) for summary in SUMMARIES}
    filled = lengths > 0
    if filled.any():
        widths = np.unique(lengths[filled])
        if len(widths) == 1:
            parts = summarise(flat.reshape(-1, int(widths[0])))
        else:
            rows = [summarise(row[None, :]) for row in np.split(flat, np.cumsum(lengths[filled])[:-1])]
            parts = {summary: np.concatenate([row[summary] for row in rows]) for summary in SUMMARIES}
        for summary in SUMMARIES:
            found[summary][filled] = parts[summary]
    return {f"{name}.{summary}": pa.array(found[summary], mask=np.isnan(found[summary])) for summary in SUMMARIES}


def _parse_loosely(texts: list[str], fields: Sequence[Field]) -> dict[str, pa.Array]:
    """Read row by row what the strict pass refused, such as a number served as text."""
    rows: list[Mapping[str, object]] = []
    decoder = msgspec.json.Decoder()
    for text in texts:
        try:
            row = decoder.decode(text)
        except msgspec.DecodeError:
            row = {}
        rows.append(row if isinstance(row, dict) else {})
    columns: dict[str, pa.Array] = {}
    for field in fields:
        if field.is_vector:
            found = [_loose_summaries(field.name, row) for row in rows]
            columns |= {f"{field.name}.{name}": _float_array([one.get(name) for one in found]) for name in SUMMARIES}
        elif is_category(field):
            columns[field.name] = pa.array([_loose_text(row.get(field.name)) for row in rows], pa.string())
        else:
            columns[field.name] = _float_array([_loose_number(row.get(field.name)) for row in rows])
    return columns


def _loose_summaries(name: str, row: Mapping[str, object]) -> Mapping[Summary, float | None]:
    return {summary: _loose_number(row.get(f"{name}.{summary}")) for summary in SUMMARIES}


def _loose_number(value: object) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _loose_text(value: object) -> str | None:
    if value is None:
        return None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _float_array(values: list[float | None]) -> pa.Array:
    return pa.array(values, pa.float64())
