"""Columns of a table as the values of request fields: numbers, times and texts as JSON would have given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.serving.http.message import BadFieldError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_LISTED = 1_000_000  # numbers that are taken out one by one

Values: TypeAlias = "list[object] | NDArray[np.generic]"


def column_values(name: str, column: pa.ChunkedArray, *, is_array: bool = False) -> Values:
    """Return the values of a column: an array where none is missing, otherwise a list with None.

    Args:
        name: What an error calls it.
        column: A column of numbers, truth values, times, texts or bytes; dictionaries of them too.
        is_array: Whether the field takes an array per row, which is a list of numbers, perhaps of lists.

    Raises:
        BadFieldError: When it holds anything else (lists, structs, durations).
    """
    parts = [_arrays(name, chunk) if is_array else _part(name, chunk) for chunk in column.chunks]
    if len(parts) == 1:
        return parts[0]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if arrays and len(arrays) == len(parts) and len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    return [value for part in parts for value in (part.tolist() if isinstance(part, np.ndarray) else part)]


def text_bytes(column: pa.ChunkedArray) -> int:
    """Return how long the texts of a column are when each is written out.

    A dictionary of one long text may name it in every row; views may do so too.
    """
    total = 0
    for chunk in column.chunks:
        texts = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        if pa.types.is_dictionary(texts.type):
            if _is_text(texts.type.value_type):
                lengths = np.append(_lengths(texts.dictionary), 0)
                total += int(lengths[_places(texts)].sum())
        elif _is_text(texts.type):
            total += int(_lengths(texts).sum())
    return total


def _part(name: str, chunk: pa.Array) -> Values:
    if isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        return _entries(name, chunk)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _plain(chunk)
    if _is_text(kind):
        return cast("list[object]", chunk.to_pylist())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moments(name, chunk)
    if pa.types.is_decimal(kind):
        return _plain(chunk.cast(pa.float64(), safe=False))
    if pa.types.is_null(kind):
        return [None] * len(chunk)
    raise BadFieldError(f"The column '{name}' has the type {kind}, which no field takes.", field=name)


def _arrays(name: str, chunk: pa.Array) -> Values:
    """Return rows of lists as a matrix, one flat row each; as lists where they are not alike, for the words of why."""
    if isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    leaf, are_alike = chunk, True
    while pa.types.is_list(leaf.type) or pa.types.is_large_list(leaf.type) or pa.types.is_fixed_size_list(leaf.type):
        are_alike &= leaf.null_count == 0 and len(pc.unique(pc.list_value_length(leaf))) <= 1
        leaf = leaf.flatten()
    kind = leaf.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise BadFieldError(f"The column '{name}' has the type {chunk.type}, which is no array of numbers.", field=name)
    if are_alike and leaf.null_count == 0 and len(chunk):
        flat = cast("NDArray[np.generic]", leaf.to_numpy(zero_copy_only=False))
        return flat.reshape(len(chunk), -1)
    if len(leaf) > _MOST_LISTED:
        raise BadFieldError(f"The rows of the column '{name}' are not of one shape.", field=name)
    return cast("list[object]", chunk.to_pylist())


def _plain(chunk: pa.Array) -> Values:
    if chunk.null_count:
        return cast("list[object]", chunk.to_pylist())
    return cast("NDArray[np.generic]", chunk.to_numpy(zero_copy_only=False))


def _moments(name: str, chunk: pa.Array) -> Values:
    """Return times in microseconds; what has a zone is UTC in Arrow."""
    try:
        moments = chunk.cast(pa.timestamp("us"), safe=False) if pa.types.is_date(chunk.type) else _micros(chunk)
    except pa.ArrowException as error:
        raise BadFieldError(f"The column '{name}' holds a time that is out of range.", field=name) from error
    values = cast("NDArray[np.generic]", moments.to_numpy(zero_copy_only=False)).astype("datetime64[us]")
    if not chunk.null_count:
        return values
    result = cast("list[object]", values.tolist())
    for row in np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False)):
        result[row] = None
    return result


def _micros(chunk: pa.Array) -> pa.Array:
    return chunk.cast(pa.timestamp("us", tz=chunk.type.tz), safe=False).cast(pa.int64()).cast(pa.timestamp("us"))


def _entries(name: str, chunk: pa.DictionaryArray) -> Values:
    """Return the entries that the indices name; equal texts are one object."""
    known = _part(name, chunk.dictionary)
    entries = np.empty(len(known) + 1, dtype=object)
    entries[:-1] = known if isinstance(known, list) else known.tolist()
    if isinstance(known, np.ndarray) and known.dtype.kind == "M":
        entries[:-1] = list(known)
    entries[-1] = None
    return cast("list[object]", entries[_places(chunk)].tolist())


def _places(chunk: pa.DictionaryArray) -> NDArray[np.int64]:
    """Return the entry of each row; the one after the last where there is none."""
    places = chunk.indices.cast(pa.int64()).fill_null(len(chunk.dictionary))
    return cast("NDArray[np.int64]", places.to_numpy(zero_copy_only=False))


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
            *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary),
        )
    )


def _lengths(texts: pa.Array) -> NDArray[np.int64]:
    """Return the bytes of each text; 0 where it is missing."""
    if pa.types.is_fixed_size_binary(texts.type):
        return np.full(len(texts), texts.type.byte_width, dtype=np.int64)
    if pa.types.is_string_view(texts.type) or pa.types.is_binary_view(texts.type):
        views = np.frombuffer(texts.buffers()[1] or b"", dtype=np.int32)[4 * texts.offset :: 4][: len(texts)]
        return np.where(texts.is_valid().to_numpy(zero_copy_only=False), views, 0).astype(np.int64)
    return cast("NDArray[np.int64]", pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False)).astype(
        np.int64
    )
