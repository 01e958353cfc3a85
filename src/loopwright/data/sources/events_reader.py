"""Reads a topic of the workspace's event log, embedded or on Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.data.sources.records import Records
from loopwright.data.sources.stream_reader import Span, StreamPlan, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loopwright.core.storage.events import EventLog
    from loopwright.data.sources.plan import Plan
    from loopwright.data.sources.reader import Reading
    from loopwright.data.sources.stream import EventsSource

_PIECE = 20_000


class EventLogFeed:
    """A topic of the event log: one part, named ``0``."""

    def __init__(self, log: EventLog, topic: str, name: str) -> None:
        self._log = log
        self._topic = topic
        self._name = name
        self._reached: dict[str, int] = {}

    def bounds(self) -> Mapping[str, Span]:
        """Return the first offset behind what was trimmed, and the one behind the end."""
        return {"0": Span(self._log.start(self._topic) + 1, self._log.end(self._topic) + 1)}

    def sums(self, offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Read the record at the offset."""
        found = {}
        for part, offset in offsets.items():
            for event in self._log.read(self._topic, after=offset - 1, limit=1):
                if event.offset == offset:
                    time_ms = int(event.appended_at.timestamp() * 1000)
                    found[part] = checksum(_bytes(event.key), event.value, time_ms)
        return found

    def read(self, spans: Mapping[str, Span]) -> Iterator[Records]:
        """Read on from the first offset."""
        for part, span in spans.items():
            self._reached[part] = span.end  # the log reads on to its end: what it leaves out holds no event
            after = span.first - 1
            while after < span.end - 1:
                events = self._log.read(self._topic, after=after, limit=min(_PIECE, span.end - 1 - after))
                inside = [event for event in events if event.offset < span.end]
                if not inside:
                    break
                after = inside[-1].offset
                yield Records(
                    sources=[self._name] * len(inside),
                    parts=[part] * len(inside),
                    offsets=[event.offset for event in inside],
                    values=[event.value for event in inside],
                    keys=[_bytes(event.key) for event in inside],
                    times_ms=[int(event.appended_at.timestamp() * 1000) for event in inside],
                    headers=[event.headers or None for event in inside],
                )

    def reached(self) -> Mapping[str, int]:
        """Return the ends of the spans."""
        return self._reached

    def settle(self, positions: Mapping[str, int]) -> None:
        """Nobody watches the embedded log's groups: the marks say it all."""

    def close(self) -> None:
        """Leave the log open; it is the workspace's."""


class EventsReader:
    """Reads a topic of the workspace's event log."""

    def plan(self, source: EventsSource, reading: Reading) -> Plan:
        """Return what was appended since the last ingest."""
        return self._planned(source, reading).plan()

    def has_new(self, source: EventsSource, reading: Reading) -> bool:
        """Compare the topic's end with the mark."""
        return self._planned(source, reading).has_new()

    def _planned(self, source: EventsSource, reading: Reading) -> StreamPlan:
        feed = EventLogFeed(reading.events, source.topic, source.name)
        return StreamPlan(source.name, feed, reading, record=source.record, limits=source.bounds, what="part")


def _bytes(key: str | None) -> bytes | None:
    return None if key is None else key.encode()
