"""A table's Delta log, read commit by commit: which files each version has, and what it says about them.

delta-rs gives one version at a time; what is asked here is about all of them at once: which files any version needs,
which versions have a file. The log is plain JSON, one file a commit, and is never cleaned.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import obstore
from obstore.store import LocalStore, from_url

from loopwright.core.errors import StoreError
from loopwright.core.storage.table_errors import committing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from loopwright.core.storage.location import Location

_LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_NOTE = "loopwright"


@dataclass(frozen=True)
class LoggedCommit:
    """One commit: its version, its moment, the files that it added and took away, by name below the table."""

    version: int
    committed_at: datetime
    added: Mapping[str, int]  # name -> bytes
    removed: tuple[str, ...]


@dataclass(frozen=True)
class StoredFile:
    """One Parquet file that lies below the table, named by the log or not."""

    name: str
    size_bytes: int
    modified_at: datetime


def commit_mark(place: Location, version: int) -> str | None:
    """Return what tells one commit of a table from any other, also of a table that took its place; None without one."""
    name = f"{_LOG}/{version:020d}.json"
    try:
        if place.folder is not None:
            content = (place.folder / name).read_bytes()
        else:
            content = bytes(obstore.get(from_url(place.url), name).bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return hashlib.sha256(content).hexdigest()


class TableLog:
    """The log and the files of one table.

    Args:
        place: where the table is.
    """

    def __init__(self, place: Location) -> None:
        self.place = place
        with committing("open a table's log"):
            self.store = LocalStore(prefix=place.folder) if place.folder is not None else from_url(place.url)

    def commits(self) -> Iterator[LoggedCommit]:
        """Give every commit, oldest first.

        Raises:
            StoreError: commits are missing, as after another writer cleaned the log.
        """
        names = self._commit_names()
        if names and names != list(range(len(names))):
            raise StoreError(f"The log of {self.place.url} does not begin at version 0 or has gaps.")
        for version in names:
            yield _commit(version, self._actions(version))

    def files(self) -> dict[str, StoredFile]:
        """Return the Parquet files below the table, whether a version has them or not."""
        found: dict[str, StoredFile] = {}
        with committing("list a table's files"):
            for batch in obstore.list(self.store):
                for meta in batch:
                    name = str(meta["path"])
                    if name.endswith(".parquet") and not name.startswith(_LOG):
                        found[name] = StoredFile(name, int(meta["size"]), meta["last_modified"])
        return found

    def current(self) -> list[str]:
        """Return the files of the newest version."""
        return [name for name, spans in self.lifespans().items() if spans and spans[-1][1] is None]

    def lifespans(self) -> dict[str, list[tuple[int, int | None]]]:
        """Return, by file, the versions that have it: from the first to before the second, None while it is there."""
        found: dict[str, list[tuple[int, int | None]]] = {}
        for commit in self.commits():
            for name in commit.removed:
                spans = found.get(name)
                if spans and spans[-1][1] is None:
                    spans[-1] = (spans[-1][0], commit.version)
            for name in commit.added:
                spans = found.setdefault(name, [])
                if not spans or spans[-1][1] is not None:
                    spans.append((commit.version, None))
        return found

    def statistics(self) -> dict[str, set[str]]:
        """Return, by file, what the commits say about its rows and values, as the JSON texts that they have."""
        found: dict[str, set[str]] = {}
        for version in self._commit_names():
            for action in self._actions(version):
                for said in (action.get("add"), action.get("remove")):
                    if isinstance(said, dict) and isinstance(stats := said.get("stats"), str):
                        found.setdefault(unquote(str(said["path"])), set()).add(stats)
        return found

    def restate(self, rows: Mapping[str, int], sizes: Mapping[str, int]) -> int:
        """Let every commit say of these files how many rows they have, and nothing about the values in them.

        The smallest and largest value of a column, which the log keeps for each file, may be one that was erased.
        Checkpoints repeat the log; they are removed and made again by the caller. Each commit is replaced as a whole.

        Args:
            rows: by file, its rows.
            sizes: by file, its bytes, where they changed.

        Returns:
            How many commits were rewritten.
        """
        changed = 0
        if rows:  # first: nothing would tell that they are still to go, once the commits are as they should be
            self._forget_checkpoints()
        for version in self._commit_names() if rows else ():
            actions, touched = [], False
            for action in self._actions(version):
                for kind in ("add", "remove"):
                    said = action.get(kind)
                    if not isinstance(said, dict) or unquote(str(said.get("path"))) not in rows:
                        continue
                    touched |= _restated(said, rows, sizes)
                actions.append(action)
            if touched:
                changed += 1
                text = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)
                with committing("rewrite a commit"):
                    obstore.put(self.store, _name(version), text.encode())
        if changed:
            self._forget_checkpoints()
        return changed

    def _forget_checkpoints(self) -> None:
        with committing("remove checkpoints"):
            names = [str(meta["path"]) for batch in obstore.list(self.store, prefix=_LOG) for meta in batch]
            stale = [name for name in names if ".checkpoint." in name or name.endswith("_last_checkpoint")]
            for name in sorted(stale, reverse=True):  # the pointer sorts behind the digits, and goes first
                obstore.delete(self.store, name)

    def _commit_names(self) -> list[int]:
        with committing("list a table's log"):
            names = [str(meta["path"]) for batch in obstore.list(self.store, prefix=_LOG) for meta in batch]
        found = (_COMMIT.fullmatch(name.removeprefix(f"{_LOG}/")) for name in names)
        return sorted(int(one[1]) for one in found if one)

    def _actions(self, version: int) -> list[dict[str, object]]:
        with committing("read a commit"):
            data = bytes(obstore.get(self.store, _name(version)).bytes())
        return [json.loads(line) for line in data.splitlines() if line.strip()]


def needed_files(
    lifespans: Mapping[str, list[tuple[int, int | None]]], versions: Collection[int], newest: int
) -> set[str]:
    """Return the files that any of some versions has; ``newest`` counts among them."""
    wanted = sorted({*versions, newest})
    return {
        name
        for name, spans in lifespans.items()
        if any(_any_between(wanted, start, newest + 1 if end is None else end) for start, end in spans)
    }


def _any_between(wanted: list[int], start: int, end: int) -> bool:

    place = bisect_left(wanted, start)
    return place < len(wanted) and wanted[place] < end


def rows_only(rows: int) -> str:
    """Write what a commit says of a file whose values it shall not tell."""
    return json.dumps({"numRecords": rows}, separators=(",", ":"))


def _restated(said: dict[str, object], rows: Mapping[str, int], sizes: Mapping[str, int]) -> bool:
    name = unquote(str(said["path"]))
    stats = rows_only(rows[name])
    changed = False
    if said.get("stats") not in (None, stats):
        said["stats"], changed = stats, True
    if name in sizes and said.get("size") not in (None, sizes[name]):
        said["size"], changed = sizes[name], True
    return changed


def _commit(version: int, actions: list[dict[str, object]]) -> LoggedCommit:
    added: dict[str, int] = {}
    removed: list[str] = []
    at = 0.0
    noted: str | None = None
    for action in actions:
        add, remove, info = action.get("add"), action.get("remove"), action.get("commitInfo")
        if isinstance(add, dict):
            added[unquote(str(add["path"]))] = int(add.get("size") or 0)
        if isinstance(remove, dict):
            removed.append(unquote(str(remove["path"])))
        if isinstance(info, dict):
            at = float(info.get("timestamp") or 0) / 1000
            note = info.get(_NOTE)
            noted = json.loads(note).get("committed_at") if isinstance(note, str) else None
    moment = datetime.fromisoformat(noted) if noted else datetime.fromtimestamp(at, UTC)
    return LoggedCommit(version, moment, added, tuple(removed))


def _name(version: int) -> str:
    return f"{_LOG}/{version:020}.json"
