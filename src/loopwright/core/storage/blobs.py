"""Bytes under the name of their content: models, reports, shards of packed images.

A blob's name is the SHA-256 of its bytes, so that writing twice is writing once and a reader can tell a torn blob
from a whole one. It lies at ``blobs/ab/cdef…`` below the store's place: a folder on this machine or a prefix in S3,
Google Cloud Storage or Azure.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from loopwright.core.errors import DeclarationError, StoreCorruptError, StoreError, StoreFullError, UnknownNameError
from loopwright.core.storage.location import Location, made_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_CHUNK_BYTES = 4 << 20
_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_FULL = ("No space left on device", "StorageFull", "QuotaExceeded", "Disk quota exceeded")


@dataclass(frozen=True)
class StoredBlob:
    """A blob as a listing shows it."""

    digest: str
    size_bytes: int
    modified_at: datetime


class BlobStore:
    """Keep bytes by the hash of their content.

    After a ``put`` returns, any process that opens the same place can ``get`` the blob. A process killed inside a
    ``put`` leaves either the whole blob or none. Threads may share one store; a forked child must open its own (the
    client behind it has threads).

    Args:
        url: a folder, or a ``file://``, ``s3://``, ``gs://`` or ``az://`` URL. Credentials come from the environment,
            as each cloud's own tools read them.
        options: settings for the object store, by obstore's names (``endpoint``, ``region``, …).

    >>> import tempfile
    >>> blobs = BlobStore(tempfile.mkdtemp())
    >>> digest = blobs.put(b"hello")
    >>> blobs.get(digest)
    b'hello'
    """

    def __init__(self, url: str | Path, *, options: Mapping[str, str] | None = None) -> None:
        self.location = Location.parse(url)
        if self.location.folder is not None:
            made_folder(self.location.folder, "[store] url")
            with _translated("open the store"):
                self._store: LocalStore = LocalStore(prefix=self.location.folder, mkdir=True)
        else:
            with _translated("open the store"):
                self._store = from_url(self.location.url, **dict(options or {}))  # type: ignore[call-overload]

    def put(self, data: bytes) -> str:
        """Store the bytes and return their digest; storing them again changes nothing.

        Raises:
            StoreFullError: no space is left; nothing of the blob is visible.
        """
        digest = hashlib.sha256(data).hexdigest()
        if self._size_or_none(digest) != len(data):
            with _translated(f"write blob {digest}"):
                obstore.put(self._store, _path(digest), data)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's content, streamed, and return its digest.

        Raises:
            StoreError: the file changed while it was read.
            StoreFullError: no space is left; nothing of the blob is visible.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if self._size_or_none(digest) == size:
            return digest
        if size <= _CHUNK_BYTES:
            if self.put(path.read_bytes()) != digest:
                raise _changed(path)
            return digest
        with _translated(f"write blob {digest}"):
            obstore.put(self._store, _path(digest), _chunks(path, digest))
        return digest

    def get(self, digest: str) -> bytes:
        """Return a blob's bytes, checked against its digest.

        Raises:
            UnknownNameError: there is no such blob.
            StoreCorruptError: what is stored is not what was put.
        """
        with _translated(f"read blob {digest}", digest):
            data = bytes(obstore.get(self._store, _path(digest)).bytes())
        if hashlib.sha256(data).hexdigest() != digest:
            raise _corrupt(digest)
        return data

    def get_range(self, digest: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start``; part of a blob cannot be checked against its digest.

        Raises:
            UnknownNameError: there is no such blob.
            StoreCorruptError: the blob ends before the range does.
        """
        if length == 0:
            return b""
        with _translated(f"read blob {digest}", digest):
            data = bytes(obstore.get_range(self._store, _path(digest), start=start, length=length))
        if len(data) != length:
            raise _corrupt(digest)
        return data

    def fetch(self, digest: str, path: Path) -> Path:
        """Write a blob to a local file, checked and all at once: the file is whole or absent.

        Raises:
            UnknownNameError: there is no such blob.
            StoreCorruptError: what is stored is not what was put.
            StoreFullError: no space is left beside ``path``.
        """
        found = hashlib.sha256()
        with _translated(f"fetch blob {digest}", digest):
            stream = obstore.get(self._store, _path(digest)).stream(min_chunk_size=_CHUNK_BYTES)
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".fetch-")
            temporary = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    for chunk in stream:
                        found.update(chunk)
                        file.write(chunk)
                if found.hexdigest() != digest:
                    raise _corrupt(digest)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        return path

    def exists(self, digest: str) -> bool:
        """Tell whether the blob is stored."""
        return self._size_or_none(digest) is not None

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes.

        Raises:
            UnknownNameError: there is no such blob.
        """
        size = self._size_or_none(digest)
        if size is None:
            raise _unknown(digest)
        return size

    def delete(self, digest: str) -> None:
        """Remove a blob; removing one that is not there is fine."""
        with _translated(f"delete blob {digest}"):
            try:
                obstore.delete(self._store, _path(digest))
            except FileNotFoundError:
                return

    def digests(self) -> Iterator[str]:
        """Give the digest of every stored blob, in no particular order."""
        return (blob.digest for blob in self.listed())

    def listed(self) -> Iterator[StoredBlob]:
        """Give every stored blob with its size and when it was written, in no particular order."""
        with _translated("list the blobs"):
            for batch in obstore.list(self._store, prefix="blobs"):
                for meta in batch:
                    digest = meta["path"].removeprefix("blobs/").replace("/", "")
                    if _DIGEST.match(digest):
                        yield StoredBlob(digest, meta["size"], meta["last_modified"])

    def _size_or_none(self, digest: str) -> int | None:
        with _translated(f"look up blob {digest}"):
            try:
                return int(obstore.head(self._store, _path(digest))["size"])
            except FileNotFoundError:
                return None


def _path(digest: str) -> str:
    if not _DIGEST.match(digest):
        raise DeclarationError(f"'{digest[:80]}' is no blob digest: 64 hexadecimal digits are needed.")
    return f"blobs/{digest[:2]}/{digest[2:]}"


def _chunks(path: Path, digest: str) -> Iterator[bytes]:
    """Give the file in pieces; fail at its end if it is not what was hashed, and the upload is dropped."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found.update(chunk)
            yield chunk
    if found.hexdigest() != digest:
        raise _changed(path)


def _changed(path: Path) -> StoreError:
    return StoreError(
        f"The file '{path}' changed while it was being stored.", hint="Store it again when it is at rest."
    )


def _unknown(digest: str) -> UnknownNameError:
    return UnknownNameError("blob", digest)


def _corrupt(digest: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"Blob {digest} does not match its digest.",
        hint="Delete it and store it again, or restore a backup.",
    )


@contextmanager
def _translated(doing: str, digest: str | None = None) -> Iterator[None]:
    """Turn the object store's exceptions into ours."""
    try:
        yield
    except FileNotFoundError as error:
        if digest is None:
            raise StoreError(f"Could not {doing}: {_first_line(error)}") from error
        raise _unknown(digest) from None
    except (BaseError, OSError) as error:
        if any(mark in str(error) for mark in _FULL):
            raise StoreFullError(
                f"No space is left to {doing}.", hint="Free some space, or run: loopwright gc --dry-run"
            ) from error
        raise StoreError(f"Could not {doing}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
