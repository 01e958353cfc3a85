"""Images, audio and text by content: stored once, packed into shards, found through one index.

A payload's name is ``sha256:`` and the digest of its bytes. Payloads lie end to end in blobs of at most 128 MB, so that
a million small images are a few objects; the table ``payloads/index`` says which blob, from where, how long. A crash
between shard and index leaves a blob that nothing names, and the same ``put`` again makes the same shard.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from loopwright.core.errors import DeclarationError, StoreCorruptError, UnknownNameError
from loopwright.core.storage.duck import borrowed, to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from loopwright.core.storage.blobs import BlobStore
    from loopwright.core.storage.tables import TableStore

INDEX = "payloads/index"
SHARD_BYTES = 128 << 20  # large enough for full read speed from an object store, small enough to hold in memory

_PREFIX = "sha256:"
_REF = re.compile(r"^sha256:[0-9a-f]{64}$")
_INDEX_SCHEMA = pa.schema(
    [("digest", pa.string()), ("shard", pa.string()), ("offset", pa.int64()), ("length", pa.int64())]
)
_GAP_BYTES = 256 << 10  # reading this many unwanted bytes costs less than one more request
_BATCH = 4096  # payloads held at once while iterating


@dataclass(frozen=True)
class _Place:
    """Where a payload lies."""

    digest: str
    shard: str
    offset: int
    length: int


class PayloadStore:
    """Keep many small payloads, each once.

    Several processes may put the same payload at once: it is then stored more than once, and read from any of them.
    """

    def __init__(self, blobs: BlobStore, tables: TableStore, *, shard_bytes: int = SHARD_BYTES) -> None:
        self._blobs = blobs
        self._tables = tables
        self._shard_bytes = shard_bytes

    def put_many(self, payloads: Sequence[bytes]) -> list[str]:
        """Store the payloads and return a reference for each, in their order.

        A payload that is stored already, or comes twice, is not stored again. After return all of them are readable
        by every process; after a crash inside, none, some or all are, and putting them again completes them.

        Raises:
            StoreFullError: no space is left.
        """
        digests = [hashlib.sha256(payload).hexdigest() for payload in payloads]
        new: dict[str, bytes] = dict(zip(digests, payloads, strict=True))
        for place in self._places(list(new)):
            new.pop(place.digest, None)
        places: list[_Place] = []
        for shard in _packed(new, self._shard_bytes):
            name = self._blobs.put(b"".join(new[digest] for digest in shard))
            offset = 0
            for digest in shard:
                places.append(_Place(digest, name, offset, len(new[digest])))
                offset += len(new[digest])
        if places:
            self._tables.append(INDEX, _index_rows(places))
        return [_PREFIX + digest for digest in digests]

    def put_iter(self, payloads: Iterable[bytes], *, batch_bytes: int = SHARD_BYTES) -> Iterator[str]:
        """Store a stream of payloads, at most about ``batch_bytes`` in memory at once, and give their references."""
        batch: list[bytes] = []
        size = 0
        for payload in payloads:
            batch.append(payload)
            size += len(payload)
            if size >= batch_bytes:
                yield from self.put_many(batch)
                batch, size = [], 0
        if batch:
            yield from self.put_many(batch)

    def get(self, ref: str) -> bytes:
        """Return one payload; see ``get_many``."""
        return self.get_many([ref])[0]

    def get_many(self, refs: Sequence[str]) -> list[bytes]:
        """Return the payloads in the order of their references, each checked against its digest.

        Raises:
            DeclarationError: a reference has the wrong form.
            UnknownNameError: there is no such payload.
            StoreCorruptError: what is stored is not what was put.
        """
        digests = [_digest(ref) for ref in refs]
        wanted = set(digests)
        found = self._load(self._places(sorted(wanted)))
        for digest in wanted:
            if digest not in found:
                raise UnknownNameError("payload", _PREFIX + digest)
        return [found[digest] for digest in digests]

    def iter_many(self, refs: Iterable[str], *, batch: int = _BATCH) -> Iterator[bytes]:
        """Give the payloads one after the other, in order, with ``batch`` of them in memory at once."""
        held: list[str] = []
        for ref in refs:
            held.append(ref)
            if len(held) == batch:
                yield from self.get_many(held)
                held = []
        yield from self.get_many(held)

    def missing(self, refs: Sequence[str]) -> list[str]:
        """Return the references that no payload is stored under, without reading any payload."""
        digests = [_digest(ref) for ref in refs]
        found = {place.digest for place in self._places(sorted(set(digests)))}
        return [ref for ref, digest in zip(refs, digests, strict=True) if digest not in found]

    def shards(self) -> dict[str, dict[str, int]]:
        """Return, by shard, the payloads that the index finds in it, with their length in bytes."""
        found: dict[str, dict[str, int]] = {}
        if not self._tables.exists(INDEX):
            return found
        with borrowed() as con:
            self._tables.attach(con, "entries", INDEX)
            rows = con.execute("SELECT DISTINCT shard, digest, length FROM entries").fetchall()
        for shard, digest, length in rows:
            found.setdefault(str(shard), {})[_PREFIX + str(digest)] = int(length)
        return found

    def drop(self, refs: Collection[str], *, on_stage: Callable[[str], None] = lambda _: None) -> list[str]:
        """Take payloads out of the index and pack what else lies in their shards anew; the caller removes the shards.

        A payload that is packed anew is found throughout: its new place is in the index before the old one goes.
        Dropping the same payloads again, as after a kill, completes it. Nobody may put one of them meanwhile.

        Args:
            refs: The payloads that nobody refers to.
            on_stage: Told ``packed`` and ``indexed``.

        Returns:
            The shards that hold nothing any more, by their blobs' digests.
        """
        gone = {_digest(ref) for ref in refs}
        if not gone or not self._tables.exists(INDEX):
            return []
        with borrowed() as con:
            self._tables.attach(con, "entries", INDEX)
            con.register("gone", pa.table({"digest": pa.array(sorted(gone), pa.string())}))
            rows = con.execute(
                'SELECT DISTINCT digest, shard, "offset", length FROM entries WHERE shard IN '
                '(SELECT shard FROM entries WHERE digest IN (SELECT digest FROM gone)) ORDER BY shard, "offset"'
            ).fetchall()
        places = [_Place(str(row[0]), str(row[1]), int(row[2]), int(row[3])) for row in rows]
        emptied = list(dict.fromkeys(place.shard for place in places))
        kept = [place for place in places if place.digest not in gone]
        elsewhere = {place.digest for place in self._places([one.digest for one in kept], outside=emptied)}
        kept = [place for place in kept if place.digest not in elsewhere]
        for some in _by_size(kept, self._shard_bytes):
            data = self._load(some)
            new: list[_Place] = []
            for shard in _packed(data, self._shard_bytes):
                name, offset = self._blobs.put(b"".join(data[digest] for digest in shard)), 0
                for digest in shard:
                    new.append(_Place(digest, name, offset, len(data[digest])))
                    offset += len(data[digest])
            self._tables.append(INDEX, _index_rows(new))
        on_stage("packed")
        if emptied:
            listed = ", ".join(f"'{shard}'" for shard in emptied)
            self._tables.delete(INDEX, f"shard IN ({listed})")
        on_stage("indexed")
        return emptied

    def _places(self, digests: Sequence[str], *, outside: Sequence[str] = ()) -> list[_Place]:
        """Look the digests up in the index, in one query; one place each, in the order of the bytes."""
        if not digests or not self._tables.exists(INDEX):
            return []
        with borrowed() as con:
            self._tables.attach(con, "entries", INDEX)
            con.register("wanted", pa.table({"digest": pa.array(digests, pa.string())}))
            con.register("unwanted", pa.table({"shard": pa.array(outside, pa.string())}))
            rows = to_arrow(
                con.sql(
                    'SELECT digest, min((shard, "offset", length)) AS place FROM entries '
                    "WHERE digest IN (SELECT digest FROM wanted) AND shard NOT IN (FROM unwanted) GROUP BY digest"
                )
            )
        digest_column, place_column = rows["digest"].to_pylist(), rows["place"].combine_chunks().flatten()
        shards, offsets, lengths = (column.to_pylist() for column in place_column)
        places = [_Place(*entry) for entry in zip(digest_column, shards, offsets, lengths, strict=True)]
        return sorted(places, key=lambda place: (place.shard, place.offset, place.length))

    def _load(self, places: Sequence[_Place]) -> dict[str, bytes]:
        """Read the places, in as few ranges as pays, and check each payload."""
        found: dict[str, bytes] = {}
        for run in _coalesced(places):
            start = run[0].offset
            length = run[-1].offset + run[-1].length - start
            try:
                data = memoryview(self._blobs.get_range(run[0].shard, start, length))
            except UnknownNameError as error:
                raise _lost(run[0]) from error
            for place in run:
                payload = bytes(data[place.offset - start : place.offset - start + place.length])
                if hashlib.sha256(payload).hexdigest() != place.digest:
                    raise _lost(place)
                found[place.digest] = payload
        return found


def _digest(ref: str) -> str:
    if not _REF.match(ref):
        raise DeclarationError(
            f"'{ref[:80]}' is no reference to a payload.", hint="A reference is 'sha256:' and 64 hexadecimal digits."
        )
    return ref.removeprefix(_PREFIX)


def _lost(place: _Place) -> StoreCorruptError:
    return StoreCorruptError(
        f"Payload {_PREFIX}{place.digest} is not what blob {place.shard} holds at {place.offset}.",
        hint="Restore the blob from a backup, or delete it and ingest its source again.",
    )


def _packed(payloads: dict[str, bytes], shard_bytes: int) -> Iterator[list[str]]:
    """Split the payloads, in order, into shards; a payload larger than a shard has one for itself."""
    shard: list[str] = []
    size = 0
    for digest, payload in payloads.items():
        if shard and size + len(payload) > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(digest)
        size += len(payload)
    if shard:
        yield shard


def _by_size(places: Sequence[_Place], size_bytes: int) -> Iterator[list[_Place]]:
    """Split places into pieces that are read into memory at once."""
    piece: list[_Place] = []
    size = 0
    for place in places:
        if piece and size + place.length > size_bytes:
            yield piece
            piece, size = [], 0
        piece.append(place)
        size += place.length
    if piece:
        yield piece


def _coalesced(places: Sequence[_Place]) -> Iterator[list[_Place]]:
    """Join neighbours of one shard into runs that are read at once."""
    run: list[_Place] = []
    for place in places:
        if run:
            end = run[-1].offset + run[-1].length
            if place.shard != run[0].shard or place.offset - end > _GAP_BYTES:
                yield run
                run = []
        run.append(place)
    if run:
        yield run


def _index_rows(places: Sequence[_Place]) -> pa.Table:
    columns = [
        [place.digest for place in places],
        [place.shard for place in places],
        [place.offset for place in places],
        [place.length for place in places],
    ]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, _INDEX_SCHEMA.types, strict=True)]
    return pa.table(arrays, schema=_INDEX_SCHEMA)
