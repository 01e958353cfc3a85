"""What happened to a Delta table between two versions, from its log (Delta protocol, "Actions").

Each commit lists files that were added and removed. ``dataChange`` is false where a file holds rows that were there
before, as after ``OPTIMIZE``: such files are no news, and the ones they replace stay readable at the version before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from pyarrow import fs


@dataclass(frozen=True)
class Changes:
    """The commits after one version up to another.

    Attributes:
        added: Files with new rows, by their path: the last version at which each can be read.
        size_bytes: Their size.
        rewrites: Commits that removed or changed rows: version and operation.
        missing: The first version whose commit is no longer in the log, if any.
    """

    added: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    rewrites: list[tuple[int, str]] = field(default_factory=list)
    missing: int | None = None


def plain_path(path: str) -> str:
    """Return a file's path without any encoding.

    The log encodes a path that may hold encoded partition values already, and readers undo that once or not at all.

    >>> plain_path("city=Oslo%2520x/a.parquet"), plain_path("city=Oslo%20x/a.parquet")
    ('city=Oslo x/a.parquet', 'city=Oslo x/a.parquet')
    """
    decoded = unquote(path)
    while decoded != path:
        path, decoded = decoded, unquote(decoded)
    return path


def changes_between(files: fs.FileSystem, first: int, last: int) -> Changes:
    """Read the commits after version ``first`` up to ``last``.

    Args:
        files: The table's folder.
        first: The version that is known.
        last: The newest version.
    """
    added: dict[str, int] = {}
    rewrites: list[tuple[int, str]] = []
    size = 0
    for version in range(first + 1, last + 1):
        try:
            with files.open_input_stream(f"_delta_log/{version:020}.json") as stream:
                lines = stream.read().decode().splitlines()
        except FileNotFoundError:
            return Changes(added, size, rewrites, missing=version)
        actions = [json.loads(line) for line in lines if line.strip()]
        operation = next((one["commitInfo"].get("operation") for one in actions if "commitInfo" in one), None)
        for action in actions:
            removed, add = action.get("remove"), action.get("add")
            if removed is not None:
                path = plain_path(removed["path"])
                if removed.get("dataChange", True):
                    rewrites.append((version, str(operation or "a commit without a name")))
                elif path in added:
                    added[path] = version - 1
            if add is not None and add.get("dataChange", True):
                added[plain_path(add["path"])] = last
                size += int(add.get("size") or 0)
    return Changes(added, size, list(dict.fromkeys(rewrites)))
