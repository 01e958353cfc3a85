"""Tables as request bodies: Arrow IPC and Parquet, read for the columns that a model takes and within bounds.

What a body would become is known before anything is allocated for it: a few kilobytes may otherwise become gigabytes.
Columns that the model does not take are not read, and named in the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.error_text import short_text
from loopwright.core.errors import InvalidRequestError, TooLargeError
from loopwright.serving.bodies import arrow_message, parquet_pages
from loopwright.serving.bodies.parquet_footer import read_footer
from loopwright.serving.bodies.row_bounds import MAX_ROWS, check_rows
from loopwright.serving.http.message import BadFieldError

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_UNPACKED_BYTES = 128 << 20
_MAX_COLUMNS = 10_000
_MAX_BATCHES = 10_000
_FILE_MAGIC = b"ARROW1"
_NO_LISTS = "Send arrays as Arrow, or as JSON."


def read_arrow(body: bytes, names: Collection[str]) -> tuple[pa.Table, list[str]]:
    """Read the named columns of an Arrow IPC stream or file (a stream between two marks), and say which others it has.

    Raises:
        InvalidRequestError: When it is none, or a buffer does not hold what it says.
        TooLargeError: When it has more than 100,000 rows or would unpack to more than 128 MiB.
    """
    stream = pa.py_buffer(body)
    if body.startswith(_FILE_MAGIC):
        stream = _within_file(body)
    try:
        _measure(stream)
        with pa.ipc.open_stream(stream, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
            present = reader.schema.names
            check_names(present)
            table = reader.read_all().select([name for name in present if name in names])
        table.validate(full=True)  # a buffer that points elsewhere is never read
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"The body is no Arrow stream: {short_text(error)}.") from error
    return table, [name for name in present if name not in names]


def _within_file(body: bytes) -> pa.Buffer:
    """Return the stream that a file holds: after the first mark, before the footer."""
    footer = int.from_bytes(body[-10:-6], "little", signed=True)
    end = len(body) - 10 - footer
    if not body.endswith(_FILE_MAGIC) or footer < 0 or end < 8:
        raise InvalidRequestError("The body is no Arrow file: its end is missing.")
    return pa.py_buffer(body).slice(8, end - 8)


def _measure(stream: pa.Buffer) -> None:
    """See what the messages of a stream become."""
    total = rows = 0
    for number, message in enumerate(pa.ipc.MessageReader.open_stream(stream)):
        body = memoryview(message.body or b"")
        unpacked, count = arrow_message.unpacked_bytes(message.metadata.to_pybytes(), body)
        total += unpacked
        rows += count
        check_rows(rows)
        if number > _MAX_BATCHES:
            raise TooLargeError(f"The stream has more than {_MAX_BATCHES} batches.", hint="Send larger ones.")
        if total > MAX_UNPACKED_BYTES:
            raise _bomb()


def read_parquet(body: bytes, names: Collection[str]) -> tuple[pa.Table, list[str]]:
    """Read the named columns of a Parquet file, texts as dictionaries, and say which others it has.

    Raises:
        InvalidRequestError: When it is none, or a column has an encoding that is refused.
        TooLargeError: When it has more than 100,000 rows or would unpack to more than 128 MiB.
    """
    try:
        footer = read_footer(body, names)
        check_rows(footer.rows)
        check_names(footer.names)
        for name in footer.names:
            if name in names and name not in footer.wanted:
                raise BadFieldError(f"The column '{name}' is nested.", field=name, hint=_NO_LISTS)
        total = 0
        for chunk in footer.chunks:
            total += parquet_pages.unpacked_bytes(
                body, chunk.start, chunk.length, most=MAX_UNPACKED_BYTES, most_values=MAX_ROWS
            )
            if total > MAX_UNPACKED_BYTES:
                raise _bomb()
        content = pa.BufferReader(footer.replaced(body))
        table = pq.ParquetFile(content, pre_buffer=False, read_dictionary=footer.texts).read(use_threads=False)
        table.validate(full=True)
        return table, [name for name in footer.names if name not in names]
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"The body cannot be read as Parquet: {short_text(error)}.") from error


def check_names(names: list[str]) -> None:
    """Refuse a table with two columns of one name, or with more than 10,000.

    Raises:
        InvalidRequestError: When two have one name.
        TooLargeError: When there are too many.
    """
    if len(names) > _MAX_COLUMNS:
        raise _columns(len(names))
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadFieldError(f"The column '{name}' is there twice.", field=name)
        seen.add(name)


def _columns(count: int) -> TooLargeError:
    return TooLargeError(f"The table has {count} columns; at most {_MAX_COLUMNS} are accepted.")


def _bomb() -> TooLargeError:
    return TooLargeError(
        f"The body unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB.", hint="Send fewer rows at a time."
    )
