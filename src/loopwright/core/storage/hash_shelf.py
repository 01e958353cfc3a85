"""Hashes of rows in their order, given back sorted, piece by piece: in memory, and beyond a bound in a file."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from loopwright.core.storage.hash_runs import Found, Hashes

_IN_MEMORY = 4 << 20  # hashes
_PIECE = 8 << 20
_CHUNK = 1 << 20


class HashShelf:
    """Keep hashes until the block ends.

    Args:
        folder: where a temporary file is made when they are many.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[tuple[Hashes, Found]] = []
        self._file: IO[bytes] | None = None
        self._count = self._held = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget everything."""
        if self._file is not None:
            self._file.close()

    def add(self, hashes: Hashes, counts: Found) -> None:
        """Take hashes of the next rows, with which of them count."""
        self._kept.append((hashes, counts))
        self._count += len(hashes)
        self._held += len(hashes)
        if self._held > _IN_MEMORY:
            self._write()

    def ascending(self) -> Iterator[Hashes]:
        """Give the hashes that count in ascending order; equal ones are in one piece."""
        if self._file is not None and self._held:
            self._write()
        parts = -(-self._count // _PIECE)
        if parts <= 1:
            yield np.sort(np.concatenate([hashes[counts] for hashes, counts in self._chunks()] or [_NONE]))
            return
        bounds = [int(part * (1 << 64) // parts) for part in range(parts)] + [(1 << 64) - 1]
        for part in range(parts):
            low, high, is_last = np.uint64(bounds[part]), np.uint64(bounds[part + 1]), part == parts - 1
            chosen = []
            for hashes, counts in self._chunks():
                above = hashes <= high if is_last else hashes < high
                chosen.append(hashes[counts & (hashes >= low) & above])
            piece = np.concatenate(chosen)
            chosen.clear()
            piece.sort()
            yield piece

    def positions(self, hashes: Hashes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return where the rows are that count and have one of some hashes, which are ascending."""
        found = [np.empty(0, dtype=np.int64)]
        first = 0
        for some, counts in self._chunks():
            places = np.searchsorted(hashes, some)
            places[places == len(hashes)] = 0
            found.append(first + np.flatnonzero(counts & (hashes[places] == some)))
            first += len(some)
        return np.concatenate(found)

    def _write(self) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix="hashes-")  # noqa: SIM115 - closed with the block
        for hashes, counts in self._kept:
            rows = np.empty(len(hashes), dtype=_ROW)
            rows["hash"], rows["counts"] = hashes, counts
            self._file.write(rows.tobytes())
        self._kept.clear()
        self._held = 0

    def _chunks(self) -> Iterator[tuple[Hashes, Found]]:
        if self._file is not None:
            self._file.seek(0)
            while content := self._file.read(_CHUNK * _ROW.itemsize):
                rows = np.frombuffer(content, dtype=_ROW)
                yield np.ascontiguousarray(rows["hash"]), np.ascontiguousarray(rows["counts"])
        yield from self._kept


_ROW = np.dtype([("hash", "<u8"), ("counts", "?")])
_NONE: Hashes = np.empty(0, dtype=np.uint64)
