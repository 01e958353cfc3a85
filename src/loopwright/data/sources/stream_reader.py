"""Reads streams: what was appended since the last finished ingest, part by part, each record once.

A part is a partition. How far each was read is a mark, made durable in the transaction that makes the rows visible; the
stream's own bookkeeping of groups is only told afterwards, for those who watch it. The end of each part is fixed when
the ingest is planned, so that one ingest ends however fast others write.

What can have happened to a part since its mark:

- *it grew*: the records behind the mark are read;
- *it is new*: it is read from its oldest record;
- *it was trimmed beyond the mark* (retention): reading goes on with the oldest record that is left, and a warning says
  how many are gone;
- *it was made anew* (the topic was deleted and created): its end lies before the mark, or the record just before the
  mark is another one than was read there; it is read from its oldest record, with a warning.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loopwright.data.sources.plan import Plan
from loopwright.data.sources.records import Records, decoder_of, rows_of
from loopwright.data.sources.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from loopwright.data.sources.reader import Reading
    from loopwright.data.sources.record_format import RecordFormat
    from loopwright.data.sources.stream import StreamBounds

_GUESSED_BYTES = 500  # of a record, to choose how an ingest is judged


@dataclass(frozen=True)
class Span:
    """Offsets of one part: the first, and the one behind the last."""

    first: int
    end: int

    @property
    def count(self) -> int:
        """How many offsets it has."""
        return max(0, self.end - self.first)


class Feed(Protocol):
    """A stream with parts whose records have growing offsets."""

    def bounds(self) -> Mapping[str, Span]:
        """Return, for each part, the oldest offset that is there and the one behind the newest."""
        ...

    def sums(self, offsets: Mapping[str, int]) -> Mapping[str, int]:
        """Return :func:`checksum` of the record at an offset of each part, of those that are there."""
        ...

    def read(self, spans: Mapping[str, Span]) -> Iterator[Records]:
        """Give the records of the spans in pieces; those of a part in their order."""
        ...

    def reached(self) -> Mapping[str, int]:
        """Return how far each part was read to its span's end, or to where nothing more can be had before it."""
        ...

    def settle(self, positions: Mapping[str, int]) -> None:
        """Tell the stream, for those who watch it, how far the parts were read; never fails."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


def checksum(key: bytes | None, value: bytes | None, time_ms: int | None) -> int:
    """Return a short fingerprint of a record, by which one of another stream at the same offset is told."""
    return zlib.crc32(b"%b\x00%b\x00%d" % (key or b"", value or b"", time_ms or 0))


class StreamPlan:
    """Plans the reading of a feed.

    Args:
        name: What rows carry as ``_source``, and the name of the unit.
        feed: The stream.
        reading: What the ingest knows.
        record: How values are read.
        limits: How much is taken.
        what: What a part is, for messages.
    """

    def __init__(
        self, name: str, feed: Feed, reading: Reading, *, record: RecordFormat, limits: StreamBounds, what: str
    ) -> None:
        self._name = name
        self._feed = feed
        self._reading = reading
        self._record = record
        self._limits = limits
        self._what = what
        self._next: dict[str, int] = {}
        self._sums: dict[str, int] = {}

    def has_new(self) -> bool:
        """Tell whether there is anything behind the marks."""
        spans = self._spans(self._feed.bounds(), [])
        return any(span.count for span in spans.values()) or self._is_unmarked()

    def plan(self) -> Plan:
        """Return one unit with what is new."""
        plan = Plan()
        spans = self._spans(self._feed.bounds(), plan.warnings)
        begins = self._is_unmarked()
        if not (any(span.count for span in spans.values()) or begins):
            self._feed.settle({part: span.end for part, span in spans.items()})
            self._feed.close()
            return plan
        decoder = decoder_of(self._record, self._reading.project)
        taken = self._within(spans)

        def batches() -> Iterator[pa.Table]:
            self._next = {part: span.first for part, span in taken.items()}
            left_bytes = self._limits.max_bytes
            wanted = {part: span for part, span in taken.items() if span.count}
            for piece in self._feed.read(wanted) if wanted else ():
                left_bytes -= self._note(piece, left_bytes)
                if len(piece):
                    yield rows_of(piece, decoder, self._record)
                if left_bytes <= 0:
                    return
            if wanted:
                self._next.update(self._feed.reached())

        count = sum(span.count for span in taken.values())
        size = min(count * _GUESSED_BYTES, self._limits.max_bytes)
        is_text, has_header = self._record.format == "json", False
        plan.units = [Unit(self._name, "", size, 0, batches, is_text, has_header, is_recorded=False)]
        plan.marks = self._marks
        plan.settled = self._settled
        return plan

    def _is_unmarked(self) -> bool:
        """Tell whether the first ingest has to note where the stream ended, so that what comes behind it is new."""
        return self._limits.start == "latest" and not self._known()

    def _known(self) -> dict[str, dict[str, int]]:
        begin = f"{self._name}/"
        return {
            part.removeprefix(begin): position
            for part, position in self._reading.marks.items()
            if part.startswith(begin) and isinstance(position, dict)
        }

    def _spans(self, bounds: Mapping[str, Span], warnings: list[str]) -> dict[str, Span]:
        """Return what is new of each part."""
        known = self._known()
        begins_at_end = self._is_unmarked()
        asked = {
            part: known[part]["next"] - 1
            for part, there in bounds.items()
            if part in known and "sum" in known[part] and there.first < known[part]["next"] <= there.end
        }
        found = self._feed.sums(asked) if asked else {}
        spans: dict[str, Span] = {}
        for part, there in bounds.items():
            mark = known.get(part)
            if mark is None:
                spans[part] = Span(there.end if begins_at_end else there.first, there.end)
                continue
            behind = mark["next"]
            where = f"{self._what} {part} of {self._name}"
            if there.end < behind or (part in found and found[part] != mark["sum"]):
                spans[part] = there
                warnings.append(
                    f"{where} was made anew since it was read up to {behind - 1}: it is read from its oldest record, "
                    f"{there.first}."
                )
            elif there.first > behind:
                spans[part] = there
                warnings.append(
                    f"{where}: the records {behind} to {there.first - 1} were removed before they were read; "
                    f"{there.first - behind} are missing."
                )
            else:
                spans[part] = Span(behind, there.end)
        return spans

    def _within(self, spans: Mapping[str, Span]) -> dict[str, Span]:
        """Cut the spans so that they hold no more than one ingest takes; short parts leave room for long ones."""
        left = self._limits.max_records
        cut: dict[str, Span] = {}
        by_length = sorted(spans.items(), key=lambda item: item[1].count)
        for index, (part, span) in enumerate(by_length):
            share = min(span.count, -(-left // (len(by_length) - index)))
            cut[part] = Span(span.first, span.first + share)
            left -= share
        return {part: cut[part] for part in spans}

    def _note(self, piece: Records, left_bytes: int) -> int:
        """Note how far the piece goes, cut behind the record that takes the last of the bytes; return its bytes."""
        size = piece.size_bytes
        if size > left_bytes:
            size = 0
            for index, value in enumerate(piece.values):
                size += len(value or b"")
                if size >= left_bytes:
                    piece.cut(index + 1)
                    break
        last = dict(zip(piece.parts, range(len(piece)), strict=True))
        for part, index in last.items():
            self._next[part] = piece.offsets[index] + 1
            self._sums[part] = checksum(piece.keys[index], piece.values[index], piece.times_ms[index])
        return size

    def _marks(self) -> dict[str, object]:
        known = self._known()
        marks: dict[str, object] = {}
        for part, position in self._next.items():
            mark: dict[str, int] = {"next": position}
            if part in self._sums:
                mark["sum"] = self._sums[part]
            elif known.get(part, {}).get("next") == position:
                continue
            marks[f"{self._name}/{part}"] = mark
        return marks

    def _settled(self) -> None:
        self._feed.settle(self._next)
        self._feed.close()
