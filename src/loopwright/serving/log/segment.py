"""Append-only segment files: frames that survive a kill, and readers that never see half of one.

A frame is ``length (4 bytes, little endian) | CRC-32 of the payload (4 bytes) | payload``. One frame, or several, are
written with one ``write``. A reader stops at the first frame that is short or does not match its checksum: what follows
was never acknowledged. A writer holds an exclusive lock on its file for as long as it lives (the kernel lets go when
the process dies, however it dies), which is how a reader knows a finished segment.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from loopwright.core.errors import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Payload: TypeAlias = bytes | pa.Buffer

_HEADER = struct.Struct("<II")
MAX_FRAME_BYTES = 1 << 30
_COPIED_BYTES = 1 << 16  # a small frame is one buffer, which is quicker than two
_MOST_PARTS = 512  # below the kernel's limit for one call (IOV_MAX, 1,024)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Frame:
    """One frame: its payload, and the offset just after it."""

    payload: bytes
    end: int


class SegmentWriter:
    """Write frames to one new segment file; one writer per file, guarded by the caller against threads.

    After ``append`` returns, the frame is in the file as the kernel sees it: it survives the death of the process at
    once, and the loss of power after the next ``sync``. An ``append`` that raises leaves the file as it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        unborn = path.with_name(
            f".{path.name}.new"
        )  # locked before anybody can see it: a reader takes an unlocked one for finished
        self._fd = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        unborn.rename(path)
        self.size = 0
        self.broken = False

    def append(self, payload: Payload) -> int:
        """Write one frame and return the offset after it.

        Raises:
            StoreFullError: When there is no space; nothing was written.
            StoreError: When the file cannot be written for another reason.
        """
        if isinstance(payload, bytes) and len(payload) < _COPIED_BYTES:
            frame = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
            return self._write((frame,), len(frame))
        return self.append_many((payload,))

    def append_many(self, payloads: Sequence[Payload]) -> int:
        """Write frames together, all or none of them, and return the offset after the last.

        Raises:
            StoreFullError: When there is no space; nothing was written.
            StoreError: When the file cannot be written for another reason.
        """
        parts: list[Payload] = []
        size = 0
        for payload in payloads:
            parts += (_HEADER.pack(len(payload), zlib.crc32(payload)), payload)
            size += _HEADER.size + len(payload)
        return self._write(parts if len(parts) <= _MOST_PARTS else (b"".join(parts),), size)

    def _write(self, parts: Sequence[Payload], size: int) -> int:
        try:
            written = os.write(self._fd, parts[0]) if len(parts) == 1 else os.writev(self._fd, parts)
            if written < size:  # as at a limit of the file system: the rest goes, or says why not
                rest = memoryview(b"".join(parts))
                while written < size:
                    written += os.write(self._fd, rest[written:])
        except OSError as error:
            self.cut_back(self.size)
            if error.errno in _FULL:
                raise StoreFullError(f"No space left for the segment {self.path.name} ({error.strerror}).") from error
            raise StoreError(f"The segment {self.path.name} cannot be written ({error.strerror}).") from error
        self.size += size
        return self.size

    def cut_back(self, size: int) -> None:
        """Drop what was written after an offset; a file that cannot even be cut is not written to again."""
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self.broken = True
        else:
            self.size = size

    def sync(self) -> None:
        """Wait until everything written so far would survive the loss of power."""
        os.fdatasync(self._fd)

    def close(self, *, sync: bool = True) -> None:
        """Sync, if asked to, let go of the lock and close."""
        if self._fd < 0:
            return
        try:
            if sync:
                os.fdatasync(self._fd)
        finally:
            os.close(self._fd)
            self._fd = -1


def read_frames(path: Path, *, after: int = 0) -> Iterator[Frame]:
    """Yield the whole frames of a segment that begin at offset ``after`` or later, and stop at a torn one."""
    with path.open("rb") as file:
        file.seek(after)
        end = after
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            if length > MAX_FRAME_BYTES:
                return
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            end += _HEADER.size + length
            yield Frame(payload, end)


def is_finished(path: Path) -> bool:
    """Return whether no living process writes this segment any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(fd)
