"""The reader of each kind of source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.core.errors import SourceError
from loopwright.data.sources.delta_reader import DeltaReader
from loopwright.data.sources.events_reader import EventsReader
from loopwright.data.sources.files_reader import FilesReader
from loopwright.data.sources.frame_reader import FrameReader
from loopwright.data.sources.http_reader import HttpReader
from loopwright.data.sources.kafka_reader import KafkaReader
from loopwright.data.sources.kinesis_reader import KinesisReader
from loopwright.data.sources.mongo_reader import MongoReader
from loopwright.data.sources.push_reader import PushReader
from loopwright.data.sources.sql_reader import SqlReader

if TYPE_CHECKING:
    from loopwright.data.sources.reader import Reader
    from loopwright.data.sources.source import Source

READERS: dict[str, Reader[Any]] = {
    "delta": DeltaReader(),
    "events": EventsReader(),
    "files": FilesReader(),
    "frame": FrameReader(),
    "kafka": KafkaReader(),
    "kinesis": KinesisReader(),
    "http": HttpReader(),
    "mongo": MongoReader(),
    "push": PushReader(),
    "sql": SqlReader(),
}


def reader_of(source: Source) -> Reader[Any]:
    """Return the reader of a source.

    Raises:
        SourceError: If no reader knows its kind.
    """
    try:
        return READERS[source.kind]
    except KeyError:
        raise SourceError(
            f"No reader knows the source '{source.kind}'.", hint=f"Known: {', '.join(sorted(READERS))}."
        ) from None
