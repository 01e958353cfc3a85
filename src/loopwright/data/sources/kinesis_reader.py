"""Reads the shards of a Kinesis stream: parents before their children, each from its mark on.

The marks, by shard::

    {"begins": "4966…", "after": "4966…", "rows": 17}     read up to this sequence number
    {"begins": "4966…", "since": 1767225600.0, "rows": 0}  to be read from this moment on
    {"begins": "4966…", "after": "4966…", "rows": 17, "is_done": true}   closed, and read to its end

``begins`` is the shard's own first sequence number: where it differs, the stream was made anew. A shard that is closed
and read to its end is not asked again; its children are read once both parents are, or are gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import MissingExtraError, SourceError
from loopwright.data.sources.plan import Plan
from loopwright.data.sources.records import Records, decoder_of, rows_of
from loopwright.data.sources.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from loopwright.data.sources.kinesis import KinesisSource
    from loopwright.data.sources.reader import Reading

_LIMIT = 10_000  # GetRecords gives no more
_LOOKED = 20  # empty answers of a shard that is not at its tip, before it counts as new
_PAUSE_S = 0.25  # five reads a second and shard are allowed
_PATIENCE_S = 10
_GUESSED_BYTES = 16 << 20


@dataclass(frozen=True)
class _Shard:
    """A shard, and how far it was read."""

    id: str
    begins: str
    parents: tuple[str, ...]
    after: str | None = None
    since: float | None = None
    rows: int = 0
    is_done: bool = False

    def as_mark(self) -> dict[str, object]:
        mark: dict[str, object] = {"begins": self.begins, "after": self.after, "since": self.since, "rows": self.rows}
        if self.is_done:
            mark["is_done"] = True
        return {key: value for key, value in mark.items() if value is not None}


class _Stream:
    """The calls to Kinesis that are needed, and their errors as ours."""

    def __init__(self, source: KinesisSource, reading: Reading) -> None:
        try:
            import boto3  # noqa: PLC0415 - an extra
            from botocore.config import Config  # noqa: PLC0415 - an extra
            from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise MissingExtraError("boto3", extra="kinesis") from None
        self._source = source
        self._clock = reading.clock
        self._errors = (BotoCoreError, ClientError)
        retries: Any = {"max_attempts": 5, "mode": "standard"}
        config = Config(connect_timeout=_PATIENCE_S, read_timeout=_PATIENCE_S, retries=retries)
        try:
            self._client: Any = boto3.client(
                "kinesis", region_name=source.region, endpoint_url=source.endpoint, config=config
            )
        except (BotoCoreError, ValueError) as error:
            raise self._unreadable(error) from error

    def shards(self) -> list[Mapping[str, Any]]:
        """List the shards, closed ones that still hold records included."""
        found: list[Mapping[str, Any]] = []
        asked: dict[str, str] = {"StreamName": self._source.stream}
        while True:
            answer = self._call("list_shards", **asked)
            found += answer["Shards"]
            if not answer.get("NextToken"):
                return found
            asked = {"NextToken": answer["NextToken"]}

    def pages(self, shard: _Shard) -> Iterator[tuple[list[Mapping[str, Any]], bool, bool]]:
        """Give records from the mark on, whether the shard's tip is reached, and whether its end is."""
        place: dict[str, object] = {"ShardIteratorType": "TRIM_HORIZON"}
        if shard.after is not None:
            place = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": shard.after}
        elif shard.since is not None:
            place = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": shard.since}
        asked = {"StreamName": self._source.stream, "ShardId": shard.id, **place}
        iterator = self._call("get_shard_iterator", **asked)["ShardIterator"]
        while iterator:
            answer = self._call("get_records", ShardIterator=iterator, Limit=_LIMIT)
            iterator = answer.get("NextShardIterator")
            yield answer["Records"], not answer.get("MillisBehindLatest"), not iterator
            if iterator and not answer["Records"]:
                self._clock.sleep(_PAUSE_S)

    def _call(self, name: str, **asked: object) -> Any:  # noqa: ANN401 - JSON
        try:
            return getattr(self._client, name)(**asked)
        except self._errors as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> SourceError:
        reason = str(error).split("\n", 1)[0]
        return SourceError(
            f"The Kinesis stream '{self._source.stream}' could not be read: {reason}",
            hint="Check its name and region, the endpoint and the credentials; then run again.",
        )


class _Shards:
    """The shards of a stream as the marks and the stream tell them."""

    def __init__(self, source: KinesisSource, reading: Reading, stream: _Stream, warnings: list[str]) -> None:
        self._source = source
        self._reading = reading
        self._warnings = warnings
        begin = f"{source.name}/"
        self._marks: dict[str, Mapping[str, Any]] = {
            part.removeprefix(begin): mark
            for part, mark in reading.marks.items()
            if part.startswith(begin) and isinstance(mark, dict)
        }
        self.is_first = not self._marks
        self.all = {shard["ShardId"]: self._shard(shard) for shard in stream.shards()}
        gone = [name for name, mark in self._marks.items() if name not in self.all and not mark.get("is_done")]
        warnings += [
            f"Shard {name} of {source.name} is gone, and was not read to its end: records may be missing."
            for name in gone
        ]

    def ordered(self) -> list[_Shard]:
        """Return the shards that are not done, parents first."""
        left = {name: shard for name, shard in self.all.items() if not shard.is_done}
        ordered: list[_Shard] = []
        while left:
            ready = [shard for shard in left.values() if not any(parent in left for parent in shard.parents)]
            ordered += [left.pop(shard.id) for shard in ready or list(left.values())]
        return ordered

    def _shard(self, told: Mapping[str, Any]) -> _Shard:
        parents = tuple(told[key] for key in ("ParentShardId", "AdjacentParentShardId") if told.get(key))
        shard = _Shard(told["ShardId"], told["SequenceNumberRange"]["StartingSequenceNumber"], parents)
        mark = self._marks.get(shard.id)
        if mark is None:
            is_late = self._source.bounds.start == "latest" and self.is_first
            return replace(shard, since=self._reading.now.timestamp()) if is_late else shard
        if mark["begins"] != shard.begins:
            self._warnings.append(
                f"Shard {shard.id} of {self._source.name} was made anew since it was read: it is read from its oldest "
                "record."
            )
            return shard
        return replace(
            shard,
            after=mark.get("after"),
            since=mark.get("since"),
            rows=mark["rows"],
            is_done=bool(mark.get("is_done")),
        )


class KinesisReader:
    """Reads a stream of Kinesis."""

    def plan(self, source: KinesisSource, reading: Reading) -> Plan:
        """Return what arrived since the last ingest."""
        plan = Plan()
        stream = _Stream(source, reading)
        shards = _Shards(source, reading, stream, plan.warnings)
        is_noted = shards.is_first and source.bounds.start == "latest"
        if not is_noted and not self._any_new(stream, shards):
            return plan
        decoder = decoder_of(source.record, reading.project)
        reached: dict[str, _Shard] = {}

        def batches() -> Iterator[pa.Table]:
            reached.clear()
            reached.update({shard.id: shard for shard in shards.ordered()} if is_noted else {})
            left = [source.bounds.max_records, source.bounds.max_bytes]
            for shard in () if is_noted else shards.ordered():
                waits = [parent for parent in shard.parents if parent in shards.all]
                if any(not reached.get(parent, shards.all[parent]).is_done for parent in waits):
                    continue
                for piece in self._pieces(stream, shard, source, reading, reached, left):
                    yield rows_of(piece, decoder, source.record)
                if min(left) <= 0:
                    return

        def marks() -> dict[str, object]:
            return {f"{source.name}/{name}": shard.as_mark() for name, shard in reached.items()}

        is_text = source.record.format == "json"
        size = min(_GUESSED_BYTES, source.bounds.max_bytes)
        plan.units = [Unit(source.name, "", size, 0, batches, is_text, has_header=False, is_recorded=False)]
        plan.marks = marks
        return plan

    def has_new(self, source: KinesisSource, reading: Reading) -> bool:
        """Look for a record behind the marks."""
        stream = _Stream(source, reading)
        shards = _Shards(source, reading, stream, [])
        return (shards.is_first and source.bounds.start == "latest") or self._any_new(stream, shards)

    def _any_new(self, stream: _Stream, shards: _Shards) -> bool:
        for shard in shards.ordered():
            for looked, (records, is_tip, _) in enumerate(stream.pages(shard)):
                if records or looked >= _LOOKED:
                    return True
                if is_tip:
                    break
        return False

    def _pieces(
        self,
        stream: _Stream,
        shard: _Shard,
        source: KinesisSource,
        reading: Reading,
        reached: dict[str, _Shard],
        left: list[int],
    ) -> Iterator[Records]:
        """Read a shard up to its tip, its end, the moment of the ingest, or what the ingest may take."""
        began = reading.now.timestamp()
        reached[shard.id] = shard
        for records, is_tip, is_end in stream.pages(shard):
            piece = Records()
            for record in records:
                if min(left) <= 0 or (record["ApproximateArrivalTimestamp"].timestamp() > began and not is_end):
                    break
                _add(piece, record, f"{source.name}/{shard.id}", shard)
                shard = replace(shard, after=record["SequenceNumber"], since=None, rows=shard.rows + 1)
                left[0] -= 1
                left[1] -= len(record["Data"])
            is_cut = len(piece) < len(records)
            reached[shard.id] = shard = replace(shard, is_done=is_end and not is_cut)
            if len(piece):
                yield piece
            if is_tip or is_cut:
                return


def _add(piece: Records, record: Mapping[str, Any], source: str, shard: _Shard) -> None:
    piece.sources.append(source)
    piece.parts.append(shard.id)
    piece.offsets.append(shard.rows)
    piece.values.append(record["Data"])
    piece.keys.append(record["PartitionKey"].encode())
    piece.times_ms.append(int(record["ApproximateArrivalTimestamp"].timestamp() * 1000))
    piece.headers.append({"sequence_number": record["SequenceNumber"]})
