"""Prediction records of streams on their way to the lake: written with the answers, moved by the compactor once.

They wait in a topic of the event log, one frame per batch. Each append to the lake names the transaction ``(topic,
offset)``: what a killed compactor had committed is skipped by the next, what it had not is read again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from loopwright.core.errors import StoreError
from loopwright.core.storage.exchange import unpacked
from loopwright.serving.log.prediction_record import PredictionRecord, to_table

if TYPE_CHECKING:
    from loopwright.core.storage.events import EventLog
    from loopwright.core.storage.stores import Stores

_ROWS_PER_COMMIT = 100_000
_FRAMES_PER_READ = 32
_decoder = msgspec.msgpack.Decoder(list[PredictionRecord])


def records_topic(model: str) -> str:
    """Return the topic in which the records of a model's stream wait for the lake."""
    return f"_predictions/{model}"


def move_to_lake(stores: Stores, model: str, table: str) -> int:
    """Move every record that is not in the lake yet, and return how many there were.

    The caller holds the lock under which one process of this machine at a time writes to the table.
    """
    topic = records_topic(model)
    log = stores.events
    if not has_records(stores, model):
        return 0
    application = f"stream:{topic}"
    done = (stores.tables.transaction(table, application) or 0) if stores.tables.exists(table) else 0
    total = 0
    while (found := _rows(log, topic, done)) is not None:
        rows, done = found
        stores.tables.append(table, rows, transaction=(application, done))
        total += rows.num_rows
    _trim(log, topic, done)
    return total


def has_records(stores: Stores, model: str) -> bool:
    """Tell whether a stream has ever answered for the model."""
    return stores.events.end(records_topic(model)) > 0


def _rows(log: EventLog, topic: str, after: int) -> tuple[pa.Table, int] | None:
    """Return the records of the next frames as a table with the offset of the last frame, or None behind the end."""
    tables: list[pa.Table] = []
    while sum(table.num_rows for table in tables) < _ROWS_PER_COMMIT:
        events = log.read(topic, after=after, limit=_FRAMES_PER_READ)
        if not events:
            break
        tables += [to_table(_decoder.decode(unpacked(event.value).notes)) for event in events]
        after = events[-1].offset
    return (pa.concat_tables(tables), after) if tables else None


def _trim(log: EventLog, topic: str, done: int) -> None:
    """Remove what is in the lake, but for the last frame: on Kafka it says how far the stream has come."""
    if done > log.start(topic) + 1:
        with suppress(StoreError):  # a cluster may not allow it: the topic then ends by its own retention
            log.trim(topic, done - 1)
