"""What a blob store promises, clause by clause."""
# ruff: noqa: S101 - assertions are what this module is made of

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from loopwright.core.errors import DeclarationError, StoreCorruptError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopwright.core.storage.blobs import BlobStore

_ABSENT = "0" * 64
_LARGE = bytes(range(256)) * (40 << 10)  # 10 MB: more than one part of an upload in parts


class BlobStoreConformance:
    """Subclasses give a fixture ``reopen``: a function that opens the same, at first empty, store once more."""

    @pytest.fixture
    def blobs(self, reopen: Callable[[], BlobStore]) -> BlobStore:
        """Open the store under test."""
        return reopen()

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)), _LARGE], ids=["empty", "one", "all", "large"])
    def test_gives_back_what_was_put(self, blobs: BlobStore, data: bytes) -> None:
        """The name is the SHA-256 of the bytes, and the bytes come back."""
        digest = blobs.put(data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert blobs.get(digest) == data
        assert blobs.size(digest) == len(data)
        assert blobs.exists(digest)

    def test_putting_twice_is_putting_once(self, blobs: BlobStore) -> None:
        """The same content has one name and lies there once."""
        assert blobs.put(b"same") == blobs.put(b"same")
        assert len(list(blobs.digests())) == 1

    def test_is_seen_by_another_opening(self, blobs: BlobStore, reopen: Callable[[], BlobStore]) -> None:
        """After ``put`` returns, whoever opens the store finds the blob."""
        assert reopen().get(blobs.put(b"shared")) == b"shared"

    @pytest.mark.parametrize("data", [b"", b"small", _LARGE], ids=["empty", "small", "large"])
    def test_files_go_in_and_come_out(self, blobs: BlobStore, tmp_path: Path, data: bytes) -> None:
        """A file put and fetched is the same file; fetching over a file replaces it."""
        source, target = tmp_path / "source", tmp_path / "deep" / "target"
        source.write_bytes(data)
        digest = blobs.put_file(source)
        assert digest == hashlib.sha256(data).hexdigest()
        assert blobs.fetch(digest, target) == target
        assert target.read_bytes() == data
        target.write_bytes(b"something else")
        blobs.fetch(digest, target)
        assert target.read_bytes() == data
        assert [path.name for path in target.parent.iterdir()] == ["target"]

    def test_reads_a_range(self, blobs: BlobStore) -> None:
        """A range is exactly its bytes, and one beyond the end is refused."""
        digest = blobs.put(b"0123456789")
        assert blobs.get_range(digest, 3, 4) == b"3456"
        assert blobs.get_range(digest, 0, 10) == b"0123456789"
        assert blobs.get_range(digest, 4, 0) == b""
        with pytest.raises(StoreCorruptError):
            blobs.get_range(digest, 8, 5)

    def test_says_what_is_not_there(self, blobs: BlobStore, tmp_path: Path) -> None:
        """An unknown digest is an error of its own, and leaves nothing behind."""
        assert not blobs.exists(_ABSENT)
        for read in (blobs.get, blobs.size):
            with pytest.raises(UnknownNameError):
                read(_ABSENT)
        with pytest.raises(UnknownNameError):
            blobs.get_range(_ABSENT, 0, 1)
        with pytest.raises(UnknownNameError):
            blobs.fetch(_ABSENT, tmp_path / "target")
        assert not (tmp_path / "target").exists()

    @pytest.mark.parametrize("name", ["", "abc", "../" * 20 + "abcd", "g" * 64, "A" * 64])
    def test_refuses_what_is_no_digest(self, blobs: BlobStore, name: str) -> None:
        """A name of another form never reaches the store."""
        with pytest.raises(DeclarationError):
            blobs.get(name)

    def test_lists_and_deletes(self, blobs: BlobStore) -> None:
        """What is listed is what is stored; deleting is final and may be repeated."""
        kept, gone = blobs.put(b"kept"), blobs.put(b"gone")
        assert set(blobs.digests()) == {kept, gone}
        blobs.delete(gone)
        blobs.delete(gone)
        assert set(blobs.digests()) == {kept}
        assert not blobs.exists(gone)

    def test_threads_put_the_same_and_other_things(self, blobs: BlobStore) -> None:
        """Several writers of one blob and of others end with every blob whole."""
        contents = [bytes([number]) * 100_000 for number in range(8)]
        running = [
            threading.Thread(target=lambda: [blobs.put(content) for content in contents], name=str(number))
            for number in range(4)
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert {blobs.get(digest) for digest in blobs.digests()} == set(contents)
