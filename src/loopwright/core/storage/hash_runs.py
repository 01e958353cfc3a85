"""Which hashes a table has, kept beside it on this machine: sorted runs of 64-bit numbers, one per range of versions.

A run is a file: a header that says what it is of, and the numbers, mapped into memory when they are searched. A commit
adds a small run, and runs of about one size become one when there are many, so that a search looks at few however many
commits there were. Together they are a cache, never the truth: nothing is put on the disk for certain, every file says
with checksums whether it is whole, and the runs count only as far as they follow on one another from version 0. What
is damaged, torn or of something else is deleted, and whoever asks brings the rest up to date from the table.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]
Found = np.ndarray[tuple[int], np.dtype[np.bool_]]

_FORMAT = 1
_HEADER_BYTES = 512
_NAME = re.compile(r"\d+-\d+\.run")
_DRAFT = "draft.part"
_SMALL = 2_048  # numbers in a run of the lowest tier
_FANOUT = 8  # runs of a tier before they become one
_MOST_MERGED = 8 << 20  # numbers; larger runs stay as they are, so that a merge never takes much memory
_MOST_OPEN = 512


@dataclass(frozen=True)
class HashRun:
    """The hashes of what came to a table after one version and until another, and the mark of that commit."""

    path: Path
    after: int
    until: int
    mark: str
    hashes: Hashes


_open: dict[Path, tuple[tuple[int, int, int, str], HashRun]] = {}  # files that were found whole, by what they were then


class HashRuns:
    """The runs in a folder, as far as they follow on one another from version 0.

    One writer at a time.

    Args:
        folder: where they are.
        identity: what they are hashes of; runs of anything else are deleted.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        self._identity = identity
        self._chain = self._read()

    @property
    def until(self) -> int:
        """The version up to which everything is here; 0 is the empty table."""
        return self._chain[-1].until if self._chain else 0

    @property
    def mark(self) -> str | None:
        """What was written down of the commit of that version; None for the empty table."""
        return self._chain[-1].mark if self._chain else None

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self._chain)

    def find(self, hashes: Hashes) -> Found:
        """Tell which of some hashes are here; quick where they are sorted."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        for run in self._chain:
            if len(run.hashes):
                places = np.searchsorted(run.hashes, hashes)
                places[places == len(run.hashes)] = 0
                found |= run.hashes[places] == hashes
        return found

    def draft(self, pieces: Iterable[Hashes]) -> tuple[int, int]:
        """Write hashes down that are to be a run, ascending from piece to piece; return their number and checksum."""
        self._folder.mkdir(parents=True, exist_ok=True)
        count = crc = 0
        with (self._folder / _DRAFT).open("wb") as file:
            file.write(bytes(_HEADER_BYTES))
            for piece in pieces:
                content = np.ascontiguousarray(piece, dtype="<u8")
                file.write(content.data)
                crc = zlib.crc32(content.data, crc)
                count += len(content)
        return count, crc

    def publish(self, drafted: tuple[int, int], until: int, mark: str) -> None:
        """Make the draft the run of what came until a version, whose commit has this mark."""
        self._add(drafted, self.until, until, mark)
        while group := self._crowd():
            together = np.sort(np.concatenate([run.hashes for run in group]))
            kept = np.ones(len(together), dtype=np.bool_)
            kept[1:] = together[1:] != together[:-1]
            last = group[-1]
            drafted = self.draft([together[kept]])
            del self._chain[-len(group) :]
            self._add(drafted, group[0].after, last.until, last.mark)
            for run in group:
                if run.path != self._chain[-1].path:
                    _drop(run.path)

    def clear(self) -> None:
        """Delete everything."""
        self._chain = []
        remove_runs(self._folder)

    def _add(self, drafted: tuple[int, int], after: int, until: int, mark: str) -> None:
        count, crc = drafted
        path = self._folder / f"{after}-{until}.run"
        said = json.dumps(
            {"identity": self._identity, "after": after, "until": until, "mark": mark, "count": count, "crc": crc}
        ).encode()
        draft = self._folder / _DRAFT
        with draft.open("r+b") as file:
            file.write(_header(said))
        draft.replace(path)
        run = _opened(path, self._identity, is_known=True)
        if run is None:
            raise OSError(f"{path} is not as it was written")
        self._chain.append(run)

    def _crowd(self) -> list[HashRun]:
        """Return the runs at the end that are to become one."""
        if not self._chain:
            return []
        tier = _tier(self._chain[-1])
        group: list[HashRun] = []
        for run in reversed(self._chain):
            if _tier(run) > tier:
                break
            group.insert(0, run)
        total = sum(len(run.hashes) for run in group)
        return group if len(group) >= _FANOUT and total <= _MOST_MERGED else []

    def _read(self) -> list[HashRun]:
        try:
            paths = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return []
        there: dict[int, HashRun] = {}
        for path in paths:
            run = _opened(path, self._identity)
            if run is not None and (run.after not in there or there[run.after].until < run.until):
                there[run.after] = run
        chain: list[HashRun] = []
        while (run := there.get(chain[-1].until if chain else 0)) is not None:
            chain.append(run)
        for path in {*paths} - {run.path for run in chain}:
            _drop(path)
        return chain


def remove_runs(folder: Path) -> None:
    """Delete a folder of runs, or one of such folders."""
    for path in [path for path in _open if path.is_relative_to(folder)]:
        _open.pop(path, None)
    shutil.rmtree(folder, ignore_errors=True)


def _tier(run: HashRun) -> int:
    tier, bound = 0, _SMALL
    while len(run.hashes) > bound:
        tier, bound = tier + 1, bound * _FANOUT
    return tier


def _drop(path: Path) -> None:
    _open.pop(path, None)
    path.unlink(missing_ok=True)


def _header(said: bytes) -> bytes:
    """Write a header: format, checksum and length of what is said, then that."""
    start = b"hashrun%d %08x %03d " % (_FORMAT, zlib.crc32(said), len(said))
    if len(start) + len(said) > _HEADER_BYTES:
        raise ValueError(f"a header of {len(said)} bytes is too long")
    return (start + said).ljust(_HEADER_BYTES)


def _opened(path: Path, identity: str, *, is_known: bool = False) -> HashRun | None:
    """Open a run; None where it is not whole, or of something else. ``is_known`` leaves its numbers unread."""
    try:
        stat = path.stat()
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size, identity)
        if (kept := _open.get(path)) is not None and kept[0] == seen:
            return kept[1]
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        start, crc, length, said = header.split(b" ", 3)
        said = said[: int(length)]
        if header != _header(said) or int(crc, 16) != zlib.crc32(said) or start != b"hashrun%d" % _FORMAT:
            return None
        about = json.loads(said)
        if about["identity"] != identity or stat.st_size != _HEADER_BYTES + 8 * about["count"]:
            return None
        hashes: Hashes = np.empty(0, dtype=np.uint64)
        if about["count"]:
            hashes = np.asarray(np.memmap(path, dtype="<u8", mode="r", offset=_HEADER_BYTES))
        if not is_known and zlib.crc32(hashes.data) != about["crc"]:
            return None
    except (OSError, ValueError, KeyError):
        return None
    run = HashRun(path, int(about["after"]), int(about["until"]), str(about["mark"]), hashes)
    _open[path] = (seen, run)
    while len(_open) > _MOST_OPEN:
        _open.pop(next(iter(_open)))
    return run
