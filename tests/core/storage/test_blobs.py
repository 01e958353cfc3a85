from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import StoreCorruptError, StoreError
from loopwright.core.storage.blobs import BlobStore

if TYPE_CHECKING:
    from pathlib import Path


def _file(blobs: BlobStore, digest: str) -> Path:
    assert blobs.location.folder is not None
    return blobs.location.folder / "blobs" / digest[:2] / digest[2:]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def test_lies_under_its_digest(blobs: BlobStore) -> None:
    digest = blobs.put(b"content")
    assert _file(blobs, digest).read_bytes() == b"content"


@pytest.mark.parametrize("damage", [b"c0ntent", b"cont", b"", b"content and more"])
def test_notices_damage(blobs: BlobStore, tmp_path: Path, damage: bytes) -> None:
    digest = blobs.put(b"content")
    _file(blobs, digest).write_bytes(damage)
    with pytest.raises(StoreCorruptError, match=digest):
        blobs.get(digest)
    target = tmp_path / "target"
    with pytest.raises(StoreCorruptError):
        blobs.fetch(digest, target)
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]


def test_putting_again_mends_a_blob_cut_short(blobs: BlobStore) -> None:
    digest = blobs.put(b"content")
    _file(blobs, digest).write_bytes(b"cont")
    blobs.put(b"content")
    assert blobs.get(digest) == b"content"


def test_what_a_killed_writer_left_is_no_blob(blobs: BlobStore) -> None:
    digest = blobs.put(b"content")
    path = _file(blobs, digest)
    path.with_name(path.name + "#1").write_bytes(b"con")
    assert list(blobs.digests()) == [digest]


@pytest.mark.parametrize("size", [100, 9 << 20])
def test_refuses_a_file_that_changes_meanwhile(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"a" * size)

    def change_it(digest: str) -> None:
        source.write_bytes(b"b" * size)

    monkeypatch.setattr(blobs, "_size_or_none", change_it)  # called between hashing and reading
    with pytest.raises(StoreError, match="changed while"):
        blobs.put_file(source)
    monkeypatch.undo()
    for digest in blobs.digests():
        blobs.get(digest)
    assert len(list(blobs.digests())) == (1 if size == 100 else 0)  # a small file is stored under what it had become


def test_a_listing_says_how_large_and_how_old(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    digest = blobs.put(b"four")
    written = datetime.fromtimestamp((tmp_path / "blobs" / digest[:2] / digest[2:]).stat().st_mtime, UTC)
    (blob,) = blobs.listed()
    assert (blob.digest, blob.size_bytes) == (digest, 4)
    assert abs(blob.modified_at - written) < timedelta(seconds=1)
