"""Reads collections of MongoDB, in batches, past a watermark or whole."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loopwright.core.error_text import short_text
from loopwright.core.errors import MissingExtraError, SourceError
from loopwright.data.sources.documents import rows_of
from loopwright.data.sources.fetched import mark_of, plan_whole, plan_window, whole_has_new
from loopwright.data.sources.secret import connection, masked, scrubbed
from loopwright.data.sources.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopwright.data.sources.mongo import MongoSource
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading
    from loopwright.data.sources.rows import Rows

BATCH_ROWS = 5_000
_PATIENCE_MS = 10_000  # until a server is said not to answer
_OBJECT_ID = "ObjectId"


def _connect(url: str) -> Any:  # noqa: ANN401 - pymongo's client, which ships no types to rely on here
    try:
        from pymongo import MongoClient  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise MissingExtraError("pymongo", extra="mongo") from None
    return MongoClient(url, serverSelectionTimeoutMS=_PATIENCE_MS, connectTimeoutMS=_PATIENCE_MS)


class MongoReader:
    """Reads documents past a watermark, or everything.

    Args:
        connect: Makes a client from a URL.
    """

    def __init__(self, connect: Callable[[str], Any] = _connect) -> None:
        self._connect = connect

    def plan(self, source: MongoSource, reading: Reading) -> Plan:
        """Fetch what is new.

        Raises:
            SourceError: If the server cannot be reached or has no such collection; nothing was stored.
            MissingExtraError: If pymongo is not installed.
        """
        with self._opened(source, reading) as collection:
            if source.watermark is None:
                return plan_whole(_rows(source, collection), reading, name=source.name, has_header=False)
            part = f"{source.name}:{source.watermark}"
            before = mark_of(reading, part, source.name)
            newest = _newest(source, collection)
            window = Window(
                before,
                column=source.watermark,
                overlap=source.overlap,
                now=reading.now,
                has_key=reading.has_key,
                where=source.name,
                newest=_plain(newest),
            )
            low = None if before is None else _bound(before.low, newest)
            batches = iter(()) if newest is None else _rows(source, collection, low)
            plan = plan_window(window, batches, before, reading, name=source.name, part=part, has_header=False)
            if collection.find_one({source.watermark: None}) is not None:
                plan.warnings.append(
                    f"{source.name} has documents without a value in '{source.watermark}'; they are not read."
                )
            return plan

    def has_new(self, source: MongoSource, reading: Reading) -> bool:
        """Compare the largest watermark and the number of documents near it; without a watermark, read everything."""
        with self._opened(source, reading) as collection:
            if source.watermark is None:
                known = reading.known.get(source.name)
                return whole_has_new(_rows(source, collection), known)
            before = mark_of(reading, f"{source.name}:{source.watermark}", source.name)
            newest = _newest(source, collection)
            if before is None or newest is None:
                return newest is not None
            near = {source.watermark: {"$gte": _bound(before.low, newest)}}
            return before.is_behind(_plain(newest), collection.count_documents(near))

    @contextlib.contextmanager
    def _opened(self, source: MongoSource, reading: Reading) -> Iterator[Any]:
        url = source.url if "://" in source.url else connection(source.url, reading.connections)
        where = f"{source.name} at {masked(url)}"
        client: Any = None
        try:
            try:
                client = self._connect(url)
            except ValueError as error:
                hint = "Write mongodb://user:password@host:port."
                raise SourceError(f"{where}: {scrubbed(short_text(error), [url])}.", hint=hint) from None
            yield client[source.database][source.collection]
        except (SourceError, MissingExtraError):
            raise
        except Exception as error:
            if not _is_of_driver(error):
                raise
            said = scrubbed(short_text(error), [url])
            hint = "Run again when the server answers; nothing of this ingest was stored."
            if "auth" in said.lower():
                hint = "Correct the user and password of the connection."
            raise SourceError(f"{where}: {said}.", hint=hint) from None
        finally:
            if client is not None:
                client.close()


def _is_of_driver(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in {"pymongo", "bson", "mongomock"}


def _newest(source: MongoSource, collection: Any) -> object:  # noqa: ANN401 - as above
    """Return the largest watermark as the server has it; dates sort behind numbers and texts there."""
    there = {source.watermark: {"$ne": None}}
    found = list(collection.find(there, {source.watermark: 1}).sort(source.watermark, -1).limit(1))
    return found[0].get(source.watermark) if found else None


def _rows(source: MongoSource, collection: Any, low: object = None) -> Iterator[Rows]:  # noqa: ANN401 - as above
    chosen = {} if source.watermark is None else {source.watermark: {"$ne": None} if low is None else {"$gte": low}}
    listed = {path.partition(".")[0]: 1 for _, path in source.fields} | dict.fromkeys(source.columns, 1)
    shown = ({"_id": 0} | listed) if source.columns else None
    cursor = collection.find(chosen, shown)
    cursor = cursor.sort(source.watermark or "_id", 1).batch_size(BATCH_ROWS)
    batch: list[object] = []
    for document in cursor:
        batch.append(_plain(document))
        if len(batch) >= BATCH_ROWS:
            yield rows_of(batch, source.name, fields=dict(source.fields), watermark=source.watermark)
            batch = []
    if batch:
        yield rows_of(batch, source.name, fields=dict(source.fields), watermark=source.watermark)


def _bound(low: object, newest: Any) -> object:  # noqa: ANN401 - as above
    """Return the mark's value as the server compares it."""
    if type(newest).__name__ != _OBJECT_ID or not isinstance(low, str):
        return low
    return type(newest)(low)


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON and a few more
    """Bring BSON's values into Python's: what rows are made of."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    kind = type(value).__name__
    if kind == "Decimal128":
        return value.to_decimal()  # type: ignore[attr-defined]
    if kind == "Int64":
        return int(value)  # type: ignore[call-overload]
    if kind in {"Binary", "bytes"}:
        return bytes(value)  # type: ignore[call-overload]
    if value is None or isinstance(value, (str, bool, int, float, datetime)):
        return value
    return str(value)
