"""What lies where a source points, by listing only: names, sizes and times, no content.

It needs the standard library alone (and obstore for URLs), so that "is there anything new?" is answered without
importing the user's project or any engine.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopwright.core.hashing import digest_json
from loopwright.data.sources.bucket import Buckets, split_url
from loopwright.data.sources.files import is_of_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, order=True)
class Listed:
    """One file: its name (relative to the project where it lies inside, else a path or URL), size and time.

    The time of an object in a store has a fingerprint of its ETag below the second.
    """

    name: str
    size_bytes: int
    modified_ns: int


def list_source(description: Mapping[str, object], project: Path) -> list[Listed] | None:
    """List what a source describes, in the order of names; None where it cannot be listed from outside the project.

    The description is what ``Source.describe()`` gave; label tables are listed with the files that they label. Nothing
    is there: an empty list.

    Raises:
        SourceError: If an object store cannot be listed.
    """
    if description.get("kind") != "files":
        return None
    declared = description.get("format")
    found = list_files(str(description["pattern"]), project, format=None if declared is None else str(declared))
    labels = description.get("labels")
    if isinstance(labels, str):
        found += list_files(labels, project)
    return sorted(set(found), key=_name)


def state_digest(description: Mapping[str, object], project: Path) -> str | None:
    """Return a digest of the listing: while it stays the same, there is nothing new. None as in :func:`list_source`."""
    listed = list_source(description, project)
    return None if listed is None else digest_json([[one.name, one.size_bytes, one.modified_ns] for one in listed])


def list_files(
    pattern: str, project: Path, *, format: str | None = None, buckets: Buckets | None = None
) -> list[Listed]:
    """List the files that a path, a folder, a glob or a URL means, in the order of their names.

    Of a folder, ``format`` says which files are meant; any table by default.

    Raises:
        SourceError: If an object store cannot be listed.
    """
    if is_url(pattern):
        return sorted(set(_list_url(pattern, format, buckets or Buckets())), key=_name)
    root = os.path.abspath(project)  # noqa: PTH100 - a symlinked project keeps the names its user sees
    found: set[str] = set()
    anchored = os.path.join(root, pattern)  # noqa: PTH118 - as above
    is_folder_sought = not has_wildcard(pattern)
    if is_folder_sought and os.path.isdir(anchored):  # noqa: PTH112
        found.update(_walk(anchored, format))
    else:
        found.update([anchored] if is_folder_sought else glob.iglob(anchored, recursive=True))  # noqa: PTH207
    listed = []
    inside, is_plain = root + os.sep, os.path.normpath(anchored) == anchored
    for path in found:
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path object per file doubles the time of a listing
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            continue
        name = path
        if path.startswith(inside):
            name = path[len(inside) :] if is_plain else os.path.relpath(path, root)
        listed.append(Listed(name.replace(os.sep, "/"), status.st_size, status.st_mtime_ns))
    return sorted(listed, key=_name)


def _name(listed: Listed) -> str:
    return listed.name


def fixed_part(pattern: str) -> str:
    """Return the folder part of a pattern before its first wildcard, with its final slash.

    >>> fixed_part("data/images/**/*.png"), fixed_part("data/a.csv")
    ('data/images/', 'data/')
    """
    match = _WILD.search(pattern)
    head = pattern[: match.start()] if match else pattern
    return head[: head.rfind("/") + 1]


def has_wildcard(pattern: str) -> bool:
    """Tell whether a pattern has a sign that a glob expands."""
    return _WILD.search(pattern) is not None


def is_url(pattern: str) -> bool:
    """Tell whether a pattern names an object store."""
    return "://" in pattern


def _walk(folder: str, format: str | None) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            if not name.startswith((".", "_")) and is_of_folder(name, format):
                yield os.path.join(parent, name)  # noqa: PTH118


def _list_url(pattern: str, format: str | None, buckets: Buckets) -> Iterator[Listed]:
    base, path = split_url(pattern)
    is_pattern = has_wildcard(path) and not base.startswith("http")
    shape = _as_regex(path) if is_pattern else None
    prefix = path if shape is None else fixed_part(path)
    for name, size, stamp in buckets.list(base, prefix):
        if shape is not None:
            is_meant = shape.fullmatch(name) is not None
        elif name == path:
            is_meant = not path.endswith("/")
        else:
            inside = name[len(prefix.rstrip("/")) :].lstrip("/")
            hidden = any(part.startswith((".", "_")) for part in inside.split("/"))
            is_meant = not hidden and is_of_folder(name, format)
        if is_meant:
            yield Listed(f"{base}/{name}", size, stamp)


def _as_regex(pattern: str) -> re.Pattern[str]:
    parts = []
    for sign in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern):
        if sign == "**/":
            parts.append("(?:[^/]+/)*")
        elif sign == "**":
            parts.append(".*")
        elif sign == "*":
            parts.append("[^/]*")
        elif sign == "?":
            parts.append("[^/]")
        elif sign.startswith("["):
            parts.append(sign.replace("[!", "[^"))
        else:
            parts.append(re.escape(sign))
    return re.compile("".join(parts))
