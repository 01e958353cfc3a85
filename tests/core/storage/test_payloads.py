from __future__ import annotations

import hashlib
import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DeclarationError, StoreCorruptError, UnknownNameError
from loopwright.core.storage.blobs import BlobStore
from loopwright.core.storage.payloads import INDEX, PayloadStore
from loopwright.core.storage.tables import TableStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _store(folder: Path | str, shard_bytes: int = 1000) -> PayloadStore:
    return PayloadStore(BlobStore(folder), TableStore(folder), shard_bytes=shard_bytes)


def _ref(payload: bytes) -> str:
    return "sha256:" + hashlib.sha256(payload).hexdigest()


@pytest.fixture
def payloads(tmp_path: Path) -> PayloadStore:
    return _store(tmp_path)


@given(
    st.lists(st.lists(st.binary(max_size=30) | st.sampled_from([b"a", b"b" * 50]), max_size=8), max_size=4), st.data()
)
@settings(max_examples=30, deadline=None)
def test_what_goes_in_comes_out(batches: list[list[bytes]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = _store(folder, shard_bytes=40)
        for batch in batches:
            assert store.put_many(batch) == [_ref(payload) for payload in batch]
        everything = sorted({payload for batch in batches for payload in batch})
        asked = data.draw(st.lists(st.sampled_from(everything), max_size=12)) if everything else []
        assert _store(folder).get_many([_ref(payload) for payload in asked]) == asked
        assert list(store.iter_many(map(_ref, asked), batch=3)) == asked
        index = TableStore(folder).read(INDEX).to_pylist() if everything else []
        assert sorted(row["digest"] for row in index) == sorted(_ref(payload)[7:] for payload in everything)
        assert all(BlobStore(folder).size(row["shard"]) <= max(40, row["length"]) for row in index)


def test_packs_many_small_ones_into_few_blobs(tmp_path: Path) -> None:
    store = _store(tmp_path, shard_bytes=100_000)
    refs = store.put_many([str(number).encode() * 10 for number in range(10_000)])
    assert len(list(BlobStore(tmp_path).digests())) == 4
    assert store.get_many(refs[::-1])[0] == b"9999" * 10


def test_stores_nothing_twice(tmp_path: Path, payloads: PayloadStore) -> None:
    payloads.put_many([b"a", b"b"])
    version = TableStore(tmp_path).version(INDEX)
    assert payloads.put_many([b"b", b"a", b"a"]) == [_ref(b"b"), _ref(b"a"), _ref(b"a")]
    assert TableStore(tmp_path).version(INDEX) == version
    payloads.put_many([b"b", b"c", b"c"])
    assert TableStore(tmp_path).count(INDEX) == 3


def test_a_stream_is_stored_in_batches(payloads: PayloadStore) -> None:
    held = 0

    def source() -> Iterator[bytes]:
        nonlocal held
        for number in range(20):
            held += 1
            yield bytes([number]) * 100

    refs = payloads.put_iter(source(), batch_bytes=500)
    first = next(refs)
    assert held == 5
    assert payloads.get_many([first, *refs]) == [bytes([number]) * 100 for number in range(20)]


def test_asks_for_few_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = BlobStore(tmp_path)
    store = PayloadStore(blobs, TableStore(tmp_path), shard_bytes=1 << 20)
    refs = store.put_many([os.urandom(1000) for _ in range(1000)])
    ranges: list[int] = []
    get_range = blobs.get_range
    monkeypatch.setattr(blobs, "get_range", lambda *asked: ranges.append(asked[2]) or get_range(*asked))
    store.get_many(refs[::2])
    assert ranges == [999_000]
    ranges.clear()
    store.get_many([refs[0], refs[999]])
    assert ranges == [1000, 1000]


def test_two_writers_of_the_same_payload_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = _store(tmp_path), _store(tmp_path)
    one.put_many([b"first"])
    monkeypatch.setattr(other, "_places", lambda _: [])  # it looked before the first one committed
    other.put_many([b"second", b"first"])
    assert _store(tmp_path).get_many([_ref(b"first"), _ref(b"second")]) == [b"first", b"second"]


def test_a_shard_without_index_is_only_an_orphan(tmp_path: Path, payloads: PayloadStore) -> None:
    BlobStore(tmp_path).put(b"ab")  # what a crash between shard and index leaves
    with pytest.raises(UnknownNameError):
        payloads.get(_ref(b"a"))
    payloads.put_many([b"a", b"b"])
    assert len(list(BlobStore(tmp_path).digests())) == 1
    assert payloads.get_many([_ref(b"b"), _ref(b"a")]) == [b"b", b"a"]


def test_says_which_are_missing(payloads: PayloadStore) -> None:
    payloads.put_many([b"a"])
    assert payloads.missing([_ref(b"b"), _ref(b"a"), _ref(b"c")]) == [_ref(b"b"), _ref(b"c")]
    with pytest.raises(UnknownNameError, match=_ref(b"b")):
        payloads.get_many([_ref(b"a"), _ref(b"b")])


@pytest.mark.parametrize("ref", ["", "abc", "sha256:abc", "md5:" + "0" * 64, "sha256:" + "0" * 63 + "\n", "0" * 64])
def test_refuses_what_is_no_reference(payloads: PayloadStore, ref: str) -> None:
    with pytest.raises(DeclarationError, match="no reference"):
        payloads.get(ref)


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_notices_damage(tmp_path: Path, payloads: PayloadStore, damage: str) -> None:
    refs = payloads.put_many([b"a" * 100, b"b" * 100])
    (shard,) = BlobStore(tmp_path).digests()
    path = tmp_path / "blobs" / shard[:2] / shard[2:]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"a" * (200 if damage == "changed" else 150))
    with pytest.raises(StoreCorruptError):
        payloads.get_many(refs)


def test_nothing_is_fine(payloads: PayloadStore) -> None:
    assert payloads.put_many([]) == []
    assert payloads.get_many([]) == []
    assert list(payloads.iter_many([])) == []
    assert payloads.get_many(payloads.put_many([b""])) == [b""]
